"""The order in which definitions are checked: whatever a definition names comes before it.

Constants, then spans and concepts. A circle is reported once, with its chain, and its members fail. References are found by a
walk over the tree that follows constants and leaves conditions out, since a bare name there is an attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from .. import ast
from ..codes import names as codes
from ..codes import values as value_codes
from ..diagnostics import did_you_mean
from ..vocabulary import LATER_LET_TYPES, LET_TYPES, Entry
from .env import Declaration, Env, Reported, State, walk
from .values import read

MAX_NESTING = 100
MAX_SIZE = 200_000
"""Depth and nodes of a constant once the constants in it are written out. The passes recurse over an expression, at most twice a
level, and the parser bounds its own depth: with its constants it stays well below what Python allows."""


def check_lets(state: State) -> None:
    """Establish for each constant that it ends, keeps to the limits and has the type it states; the rest fail.

    A constant of a type that needs the model or other definitions is read by `check_let_types`, after those.
    """
    lets = [found for found in _declared(state) if isinstance(found.item, ast.Let)]
    state.lets.update(dict.fromkeys(lets, False))
    shapes: dict[Declaration, tuple[int, int]] = {}
    for found in sorted_definitions(state, lets, lambda let: _constants(Env(state, let.file), _value(let))):
        depth, size = _written_out(Env(state, found.file), _value(found), shapes)
        if depth > MAX_NESTING or size > MAX_SIZE:
            message = f"constant `{found.ident.name}` grows beyond the limit once its constants are written out"
            state.findings.add(value_codes.TOO_LARGE.at(found.ident.place, message))
            continue
        shapes[found] = (depth, size)
        state.lets[found] = True


def check_let_types(state: State) -> None:
    """Check constants against the types they state."""
    for found in [found for found, good in state.lets.items() if good]:
        assert isinstance(found.item, ast.Let)
        env, kind = Env(state, found.file), found.item.type
        if kind is None:
            continue
        with suppress(Reported):
            if kind.name in LATER_LET_TYPES:
                env.later(kind.place, f"a constant of type `{kind.name}`")
            elif kind.name not in LET_TYPES:
                near = did_you_mean(kind.name, LET_TYPES)
                env.report(codes.UNKNOWN_NAME.at(kind.place, f"no type `{kind.name}`", help=near))
            else:
                state.lets[found] = False
                read(env, found.item.value, Entry(kind.name, LET_TYPES[kind.name]))
                state.lets[found] = True


def definitions(state: State) -> Iterator[Declaration]:
    """Spans and concepts, each after those that it names."""
    found = [found for found in _declared(state) if isinstance(found.item, ast.SpanDecl | ast.Concept)]
    return sorted_definitions(state, found, lambda one: _named(Env(state, one.file), one.item))


def sorted_definitions(
    state: State, declared: Iterable[Declaration], references: Callable[[Declaration], Iterable[Declaration]]
) -> Iterator[Declaration]:
    """`declared`, each after its `references`; circles are reported and left out, one after another."""
    graph = {found: dict.fromkeys(references(found)) for found in declared}
    while True:
        try:
            return iter([found for found in TopologicalSorter(graph).static_order() if found in graph])
        except CycleError as error:
            # graphlib lists a circle from what is named to who names it.
            circle: list[Declaration] = error.args[1][:0:-1]
            for found in circle:
                del graph[found]
            first = min(range(len(circle)), key=lambda i: circle[i].ident.place.start)
            chain = [*circle[first:], *circle[:first], circle[first]]
            names = " -> ".join(f"`{found.ident.name}`" for found in chain)
            state.findings.add(codes.NAME_CYCLE.at(chain[0].ident.place, f"a definition leads back to itself: {names}"))


def _declared(state: State) -> Iterator[Declaration]:
    """Every declaration that has a name, in order, duplicates left out."""
    for names in state.names.values():
        yield from names.values()


# --- references ------------------------------------------------------------------------------------------------------


def _value(let: Declaration) -> ast.Expr:
    assert isinstance(let.item, ast.Let)
    return let.item.value


def _constants(env: Env, expr: ast.Expr) -> Iterator[Declaration]:
    """The constants that an expression names."""
    for node, _ in walk(expr):
        if env.constant(node):
            found = env.lookup(node)
            if found is not None and isinstance(found.item, ast.Let):
                yield found


def _named(env: Env, item: object) -> Iterator[Declaration]:
    """The spans and concepts that a definition names, directly or through constants."""
    pending, followed = [(env, item)], set[Declaration]()
    while pending:
        env, root = pending.pop()
        for node in _outside_conditions(root):
            if not isinstance(node, ast.Name | ast.Param | ast.Member):
                continue
            found = env.lookup(node)
            if found is None:
                continue
            if isinstance(found.item, ast.SpanDecl | ast.Concept):
                yield found
            elif isinstance(found.item, ast.Let) and found not in followed:
                followed.add(found)
                pending.append((replace(env, file=found.file), found.item.value))


def _outside_conditions(root: object) -> Iterator[object]:
    """The nodes of a definition without those of its conditions."""
    skipped: set[int] = set()
    for node, _ in walk(root):
        if isinstance(node, ast.Where):
            skipped.update(id(inside) for inside, _ in walk(node.condition))
        if id(node) not in skipped:
            yield node


def _written_out(env: Env, expr: ast.Expr, shapes: dict[Declaration, tuple[int, int]]) -> tuple[int, int]:
    """Depth and number of nodes of an expression once its constants, whose `shapes` are known, are written out."""
    deepest, size = 0, 0
    for node, depth in walk(expr):
        inner = (0, 1)
        if env.constant(node) and (found := env.lookup(node)) is not None:
            inner = shapes.get(found, inner)
        deepest, size = max(deepest, depth + inner[0]), size + inner[1]
    return deepest, size
