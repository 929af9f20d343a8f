"""Statements of a template -> closures over a frame, which write what they give to `frame.out`.

A body is paid for before it runs: by the number of nodes in it, without those of bodies inside, which pay for themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

from jinja2 import nodes

from .expressions import Expression, applied, expression
from .traced import joined
from .values import Frame, Loop, Macro, Namespace, Refused, Run, Undefined, elements, kind, written

Statement = Callable[[Frame], None]
Target = Callable[[Frame, Any], None]


class _Break(Exception):
    """`break`."""


class _Continue(Exception):
    """`continue`."""


def body(parts: Sequence[nodes.Node]) -> Statement:
    """The closure of statements, one after another."""
    made = [(statement(part), part.lineno) for part in parts]
    cost = sum(map(_cost, parts)) + 1

    def enter(frame: Frame) -> None:
        run = frame.run
        run.spend(cost)
        for each, line in made:
            run.line = line
            each(frame)

    return enter


def _cost(node: nodes.Node) -> int:
    """The nodes of a statement, without its bodies."""
    count, stack = 0, [node]
    while stack:
        found = stack.pop()
        count += 1
        stack += [child for child in found.iter_child_nodes(exclude=("body", "else_")) if child is not node]
    return count


@singledispatch
def statement(node: Any) -> Statement:
    """The closure of a node."""
    raise AssertionError(f"the check lets no {type(node).__name__} through")


@statement.register
def _(node: nodes.Output) -> Statement:
    parts = [(expression(part), part.lineno) for part in node.nodes]

    def write(frame: Frame) -> None:
        out, run = frame.out, frame.run
        for part, line in parts:
            run.line = line
            text = written(part(frame))
            run.wrote(len(text))
            out.append(text)

    return write


@statement.register
def _(node: nodes.If) -> Statement:
    branches = [(expression(each.test), body(each.body)) for each in (node, *node.elif_)]
    other = body(node.else_)

    def choose(frame: Frame) -> None:
        for test, then in branches:
            if test(frame):
                then(frame)
                return
        other(frame)

    return choose


@statement.register
def _(node: nodes.For) -> Statement:
    source, target = expression(node.iter), _target(node.target)
    test = expression(node.test) if node.test is not None else None
    inside, other = body(node.body), body(node.else_)

    def loop(frame: Frame) -> None:
        run = frame.run
        items = elements(source(frame), run)
        run.spend(len(items))
        if test is not None:
            items = [item for item in items if test(_with(frame, target, item))]
        state, ended = Loop(items), False
        for index, item in enumerate(items):
            state.index0 = index
            scope = _with(frame, target, item)
            scope.values["loop"] = state
            try:
                inside(scope)
                ended = True
            except _Continue:
                continue
            except _Break:
                break
        if not ended:  # as Jinja has it: no round came to the end of the body
            other(frame.inner())

    return loop


def _with(frame: Frame, target: Target, value: Any) -> Frame:
    scope = frame.inner()
    target(scope, value)
    return scope


@statement.register
def _(node: nodes.Assign) -> Statement:
    target, value = _target(node.target), expression(node.node)
    return lambda frame: target(frame, value(frame))


@statement.register
def _(node: nodes.AssignBlock) -> Statement:
    target, inside, last = _target(node.target), body(node.body), _filters(node.filter)

    def assign(frame: Frame) -> None:
        target(frame, last(frame, _captured(frame.inner([]), inside)))

    return assign


@statement.register
def _(node: nodes.FilterBlock) -> Statement:
    inside, last = body(node.body), _filters(node.filter)
    return lambda frame: frame.out.append(written(last(frame, _captured(frame.inner([]), inside))))


def _filters(node: Any) -> Callable[[Frame, Any], Any]:
    """The filters of a block, which are applied to what it writes: the innermost has no expression of its own."""
    if node is None:
        return lambda frame, value: value
    before, apply = _filters(node.node), applied(node)
    return lambda frame, value: apply(frame, before(frame, value))


def _captured(frame: Frame, inside: Statement) -> str:
    """What a body writes into a frame of its own."""
    inside(frame)
    frame.run.pay(sum(map(len, frame.out)))
    return joined(frame.out)


@statement.register
def _(node: nodes.With) -> Statement:
    pairs = [(_target(target), expression(value)) for target, value in zip(node.targets, node.values, strict=True)]
    inside = body(node.body)

    def enter(frame: Frame) -> None:
        scope = frame.inner()
        for target, value in pairs:
            target(scope, value(frame))
        inside(scope)

    return enter


@statement.register
def _(node: nodes.Scope) -> Statement:
    """`generation`: a scope, which says nothing about the text."""
    inside = body(node.body)
    return lambda frame: inside(frame.inner())


@statement.register
def _(node: nodes.ExprStmt) -> Statement:
    value = expression(node.node)

    def evaluate(frame: Frame) -> None:
        value(frame)

    return evaluate


@statement.register
def _(node: nodes.Break) -> Statement:
    def leave(frame: Frame) -> None:
        raise _Break

    return leave


@statement.register
def _(node: nodes.Continue) -> Statement:
    def next_one(frame: Frame) -> None:
        raise _Continue

    return next_one


@statement.register
def _(node: nodes.Macro) -> Statement:
    name, names, inside = node.name, [argument.name for argument in node.args], body(node.body)
    defaults: list[Expression | None] = [None] * (len(names) - len(node.defaults))
    defaults += [expression(default) for default in node.defaults]

    def define(frame: Frame) -> None:
        def call(run: Run, given: list[Any], named: dict[str, Any]) -> str:
            if len(given) > len(names) or not named.keys() <= set(names):
                raise Refused(f"the macro `{name}` takes {', '.join(names) or 'no argument'}")
            scope = Frame({}, frame, [], run)
            scope.values.update(zip(names, given, strict=False))
            scope.values.update(named)
            for parameter, default in zip(names, defaults, strict=True):
                if parameter not in scope.values:
                    scope.values[parameter] = Undefined(parameter) if default is None else default(scope)
            return _captured(scope, inside)

        frame.values[name] = Macro(name, call)

    return define


def _target(node: nodes.Node) -> Target:
    """What a value is given to: a name, several, or a value of a namespace."""
    if isinstance(node, nodes.Tuple):
        parts = [_target(part) for part in node.items]

        def unpack(frame: Frame, value: Any) -> None:
            values = elements(value, frame.run)
            if len(values) != len(parts):
                raise Refused(f"{len(values)} values stand for {len(parts)} names")
            for part, each in zip(parts, values, strict=True):
                part(frame, each)

        return unpack
    if isinstance(node, nodes.NSRef):
        space, attribute = node.name, node.attr

        def put(frame: Frame, value: Any) -> None:
            found = frame.find(space)
            if not isinstance(found, Namespace):
                raise Refused(f"`{space}` is {kind(found)}, and no namespace")
            found.values[attribute] = value

        return put
    assert isinstance(node, nodes.Name), "the parser gives no other target"
    name = node.name

    def assign(frame: Frame, value: Any) -> None:
        frame.values[name] = value

    return assign
