"""Expressions of a template -> closures over a frame. Made once per template; each node of the tree is one closure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any

from jinja2 import nodes

from .filters import FILTERS
from .methods import FUNCTIONS, UNDEFINED, call_method
from .predicates import TESTS, compared, contains
from .traced import joined, sliced
from .values import (
    MAX_CALLS,
    Bound,
    Exhausted,
    Frame,
    Macro,
    Refused,
    Run,
    Undefined,
    attribute,
    item,
    kind,
    number,
    written,
)

Expression = Callable[[Frame], Any]


@singledispatch
def expression(node: Any) -> Expression:
    """The closure of a node."""
    raise AssertionError(f"the check lets no {type(node).__name__} through")


@expression.register
def _(node: nodes.Const) -> Expression:
    value = node.value
    return lambda frame: value


@expression.register
def _(node: nodes.TemplateData) -> Expression:
    value = node.data
    return lambda frame: value


@expression.register
def _(node: nodes.Name) -> Expression:
    name = node.name
    return lambda frame: frame.find(name)


@expression.register
def _(node: nodes.List) -> Expression:
    parts = _all(node.items)
    return lambda frame: [part(frame) for part in parts]


@expression.register
def _(node: nodes.Tuple) -> Expression:
    parts = _all(node.items)
    return lambda frame: tuple([part(frame) for part in parts])


@expression.register
def _(node: nodes.Dict) -> Expression:
    pairs = [(expression(pair.key), expression(pair.value)) for pair in node.items]
    return lambda frame: {_key(key(frame)): value(frame) for key, value in pairs}


def _key(value: Any) -> Any:
    if not isinstance(value, str | int | float | None):
        raise Refused(f"{kind(value)} is no key")
    return value


@expression.register
def _(node: nodes.CondExpr) -> Expression:
    test, then = expression(node.test), expression(node.expr1)
    other: Expression = expression(node.expr2) if node.expr2 is not None else lambda frame: Undefined("the other value")
    return lambda frame: then(frame) if test(frame) else other(frame)


@expression.register
def _(node: nodes.And) -> Expression:
    left, right = expression(node.left), expression(node.right)
    return lambda frame: left(frame) and right(frame)


@expression.register
def _(node: nodes.Or) -> Expression:
    left, right = expression(node.left), expression(node.right)
    return lambda frame: left(frame) or right(frame)


@expression.register
def _(node: nodes.Not) -> Expression:
    operand = expression(node.node)
    return lambda frame: not operand(frame)


@expression.register
def _(node: nodes.Neg) -> Expression:
    operand = expression(node.node)
    return lambda frame: number(-_number(operand(frame)))


@expression.register
def _(node: nodes.Pos) -> Expression:
    operand = expression(node.node)
    return lambda frame: +_number(operand(frame))


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise Refused(f"{kind(value)} stands where a number is expected")
    return value


@expression.register
def _(node: nodes.Concat) -> Expression:
    parts = _all(node.nodes)

    def concatenate(frame: Frame) -> str:
        found = [written(part(frame)) for part in parts]
        frame.run.pay(sum(map(len, found)))
        return joined(found)

    return concatenate


@expression.register
def _(node: nodes.Add) -> Expression:
    left, right = expression(node.left), expression(node.right)

    def add(frame: Frame) -> Any:
        a, b = left(frame), right(frame)
        if isinstance(a, str) and isinstance(b, str):
            frame.run.pay(len(a) + len(b))
            return joined((a, b))
        if (isinstance(a, list) and isinstance(b, list)) or (isinstance(a, tuple) and isinstance(b, tuple)):
            frame.run.pay(len(a) + len(b))
            return operator.add(a, b)
        if isinstance(a, int | float) and isinstance(b, int | float):
            return number(a + b)
        raise Refused(f"{kind(b)} cannot be added to {kind(a)}")

    return add


@expression.register
def _(node: nodes.Mul) -> Expression:
    left, right = expression(node.left), expression(node.right)

    def multiply(frame: Frame) -> Any:
        a, b = left(frame), right(frame)
        if isinstance(a, int) and isinstance(b, str | list | tuple):
            a, b = b, a
        if isinstance(b, int) and isinstance(a, str | list | tuple):
            frame.run.pay(len(a) * max(b, 0))
            return joined([a] * b) if isinstance(a, str) else a * b
        return number(_number(a) * _number(b))

    return multiply


_ARITHMETIC: Mapping[type[nodes.BinExpr], Callable[[Any, Any], Any]] = {
    nodes.Sub: operator.sub,
    nodes.Div: operator.truediv,
    nodes.FloorDiv: operator.floordiv,
    nodes.Mod: operator.mod,
}


@expression.register(nodes.Sub)
@expression.register(nodes.Div)
@expression.register(nodes.FloorDiv)
@expression.register(nodes.Mod)
def _(node: nodes.BinExpr) -> Expression:
    left, right, compute = expression(node.left), expression(node.right), _ARITHMETIC[type(node)]

    def calculate(frame: Frame) -> Any:
        a, b = _number(left(frame)), _number(right(frame))
        if b == 0 and compute is not operator.sub:
            raise Refused("a number is divided by zero")
        return number(compute(a, b))

    return calculate


_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}


@expression.register
def _(node: nodes.Compare) -> Expression:
    first = expression(node.expr)
    rest = [(operand.op, expression(operand.expr)) for operand in node.ops]

    def compare(frame: Frame) -> bool:
        left = first(frame)
        for op, operand in rest:
            right = operand(frame)
            if op in _COMPARE:
                holds = compared(frame.run, _COMPARE[op], left, right)
            else:
                holds = contains(frame.run, left, right) is (op == "in")
            if not holds:
                return False
            left = right
        return True

    return compare


@expression.register
def _(node: nodes.Getattr) -> Expression:
    base, name = expression(node.node), node.attr
    return lambda frame: attribute(base(frame), name)


@expression.register
def _(node: nodes.Getitem) -> Expression:
    base = expression(node.node)
    if not isinstance(node.arg, nodes.Slice):
        key = expression(node.arg)
        return lambda frame: item(base(frame), key(frame))
    ends = [None if end is None else expression(end) for end in (node.arg.start, node.arg.stop, node.arg.step)]

    def part(frame: Frame) -> Any:
        value = base(frame)
        where = slice(*(None if end is None else end(frame) for end in ends))
        if isinstance(value, Undefined) or where.step == 0:
            raise Refused(f"{kind(value)} cannot be sliced so")
        if not isinstance(value, str | list | tuple):
            return Undefined("a part")
        frame.run.pay(len(value))
        return sliced(value, where) if isinstance(value, str) else value[where]

    return part


@expression.register
def _(node: nodes.Filter) -> Expression:
    base, apply = expression(node.node), applied(node)
    return lambda frame: apply(frame, base(frame))


def applied(node: nodes.Filter) -> Callable[[Frame, Any], Any]:
    """What a filter makes of a value, with its arguments."""
    apply, arguments, named = FILTERS[node.name], _all(node.args), _named(node.kwargs)
    if not arguments and not named:
        return lambda frame, value: apply(frame.run, value)
    return lambda frame, value: apply(
        frame.run,
        value,
        *[argument(frame) for argument in arguments],
        **{name: given(frame) for name, given in named.items()},
    )


@expression.register
def _(node: nodes.Test) -> Expression:
    test = TESTS[node.name]
    if isinstance(node.node, nodes.Name) and node.node.name in FUNCTIONS and node.name in ("defined", "undefined"):
        name, wanted = node.node.name, node.name == "defined"
        return lambda frame: (name not in UNDEFINED or not isinstance(frame.find(name), Undefined)) is wanted
    base, arguments = expression(node.node), _all(node.args)
    if not arguments:
        return lambda frame: test(frame.run, base(frame))
    return lambda frame: test(frame.run, base(frame), *[argument(frame) for argument in arguments])


@expression.register
def _(node: nodes.Call) -> Expression:
    arguments, named = _all(node.args), _named(node.kwargs)
    callee = expression(node.node)
    function = FUNCTIONS.get(node.node.name) if isinstance(node.node, nodes.Name) else None

    def call(frame: Frame) -> Any:
        found = callee(frame)
        given = [argument(frame) for argument in arguments]
        by_name = {name: value(frame) for name, value in named.items()}
        if isinstance(found, Bound):
            return call_method(frame.run, found, given, by_name)
        if isinstance(found, Macro):
            return _entered(frame.run, found, given, by_name)
        if isinstance(found, Undefined) and function is not None:
            return function(frame.run, *given, **by_name)
        raise Refused(f"{kind(found)} cannot be called")

    return call


def _entered(run: Run, macro: Macro, given: list[Any], named: dict[str, Any]) -> Any:
    if run.calls >= MAX_CALLS:
        raise Exhausted(f"macros call each other more than {MAX_CALLS} deep")
    run.calls += 1
    try:
        return macro.call(run, given, named)
    finally:
        run.calls -= 1


def _named(pairs: Sequence[Any]) -> dict[str, Expression]:
    return {str(pair.key): expression(pair.value) for pair in pairs}


def _all(parts: Sequence[nodes.Node]) -> list[Expression]:
    return [expression(part) for part in parts]
