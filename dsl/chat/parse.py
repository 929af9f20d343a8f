"""Jinja text -> jinja2's tree, of which every node is known to be rendered here.

jinja2 parses and does nothing else: what it would compile a template to is Python, which may run without end. Takes the text
of a template; establishes that the tree has no statement, filter, test, function or method beyond `words.py`, that no name
begins with an underscore, and that the tree is no deeper than a recursion over it may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from ..diagnostics import did_you_mean
from .words import FILTERS, FUNCTIONS, GIVEN, METHODS, TESTS

MAX_DEPTH = 100
"""How deep the tree of a template may be."""

_STATEMENTS: dict[type[nodes.Node], str] = {
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from",
    nodes.CallBlock: "call",
    nodes.ScopedEvalContextModifier: "autoescape",
    nodes.EvalContextModifier: "autoescape",
}
_REFUSED: dict[type[nodes.Node], str] = {nodes.Pow: "the operator `**`"}


class Broken(Exception):
    """A text is no template: what is wrong, and in which line, from 1."""

    def __init__(self, fact: str, line: int) -> None:
        super().__init__(fact)
        self.fact, self.line = fact, line


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a template that is not rendered here, as the object of a sentence; `line` counts from 1."""

    line: int
    fact: str
    help: str | None = None


class _Generation(Extension):
    """`{% generation %}`, which marks what a model writes: a scope of its own, which no other tag gives."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


@cache
def _environment() -> Environment:
    return Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])


def parse_template(text: str) -> nodes.Template:
    """The tree of a template. Raises Broken."""
    try:
        tree = _environment().parse(text)
    except TemplateSyntaxError as error:
        raise Broken((error.message or "broken syntax").rstrip("."), error.lineno) from None
    except RecursionError:
        raise Broken("brackets or blocks are nested too deep", 1) from None
    except (TemplateError, ValueError, OverflowError) as error:  # a number of thousands of digits, a lone surrogate
        raise Broken(str(error).splitlines()[0], 1) from None
    if _depth(tree) > MAX_DEPTH:
        raise Broken(f"it is nested more than {MAX_DEPTH} deep", 1)
    return tree


def faults(tree: nodes.Template) -> Iterator[Fault]:
    """Everything in a tree that is not rendered here."""
    macros = {macro.name for macro in tree.find_all(nodes.Macro)}
    for node in _walk(tree):
        yield from _faults(node, macros)


def _faults(node: nodes.Node, macros: set[str]) -> Iterator[Fault]:
    line = node.lineno
    match node:
        case nodes.Filter(name=name):
            if name not in FILTERS:
                yield Fault(line, f"the filter `{name}`", did_you_mean(name, FILTERS))
        case nodes.Test(name=name):
            if name not in TESTS:
                yield Fault(line, f"the test `{name}`", did_you_mean(name, TESTS))
        case nodes.Call():
            yield from _call(node, macros)
        case nodes.Getattr(attr=name) | nodes.Name(name=name) | nodes.NSRef(attr=name) if name.startswith("__"):
            yield Fault(line, f"the name `{name}`")
        case nodes.For(recursive=True):
            yield Fault(line, "a `recursive` loop")
        case nodes.Name(name="caller" | "varargs" | "kwargs" | "self" as name, ctx="load"):
            yield Fault(line, f"the variable `{name}`")
        case _ if type(node) in _STATEMENTS:
            yield Fault(line, f"the statement `{_STATEMENTS[type(node)]}`")
        case _ if type(node) in _REFUSED:
            yield Fault(line, _REFUSED[type(node)])
    if isinstance(node, nodes.Filter | nodes.Test | nodes.Call) and (node.dyn_args or node.dyn_kwargs):
        yield Fault(line, "arguments given by `*` or `**`")


def _call(node: nodes.Call, macros: set[str]) -> Iterator[Fault]:
    match node.node:
        case nodes.Name(name=name):
            if name not in FUNCTIONS and name not in macros:
                known = [*FUNCTIONS, *macros]
                yield Fault(node.lineno, f"the function `{name}`", did_you_mean(name, known))
        case nodes.Getattr(attr=name):
            if name not in METHODS:
                yield Fault(node.lineno, f"the method `{name}`", did_you_mean(name, METHODS))
        case _:
            yield Fault(node.lineno, "a call of something without a name")


def free_names(tree: nodes.Template) -> tuple[str, ...]:
    """The variables that a template may read before it sets them, sorted, without those that every template has."""
    bound = {*FUNCTIONS, *GIVEN}
    found: set[str] = set()
    for node in _walk(tree):
        match node:
            case nodes.Name(name=name, ctx="load"):
                if name not in bound:
                    found.add(name)
            case nodes.Name(name=name) | nodes.Macro(name=name):
                bound.add(name)
    return tuple(sorted(found))


def _walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Every node, in the order in which it acts: the value of a `set` before its name, the list of a loop before its target."""
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(_children(node)))


def _children(node: nodes.Node) -> list[nodes.Node]:
    match node:
        case nodes.Assign(target=target, node=value):
            return [value, target]
        case nodes.AssignBlock(target=target, filter=last, body=body):
            return [*body, *([last] if last else []), target]
        case nodes.For(target=target, iter=source, test=test, body=body, else_=other):
            return [source, target, *([test] if test else []), *body, *other]
        case nodes.With(targets=targets, values=values, body=body):
            return [*values, *targets, *body]
    return list(node.iter_child_nodes())


def _depth(tree: nodes.Node) -> int:
    deepest, stack = 0, [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        deepest = max(deepest, depth)
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())
    return deepest
