"""The order in which definitions are checked: whatever a definition names comes before it.

Constants among themselves, frames among themselves, then spans and concepts with the constants that state such a type. A circle
is reported once, with its chain, and its members fail. References are found by a walk over the tree that follows constants and
leaves conditions out, since a bare name there is an attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from .. import ast
from ..codes import names as codes
from ..vocabulary import DEFINED_TYPES, LET_TYPES, PARAMETER_TYPES, Type
from .env import Declaration, Env, State, walk


def definitions(state: State) -> Iterator[Declaration]:
    """Spans, concepts and constants that stand for them, each after those that it names."""
    found = [found for found in declared(state) if _is_definition(state, found)]
    return sorted_definitions(state, found, lambda one: _named(state, one))


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
            message = f"a definition leads back to itself: {names}"
            Env(state, chain[0].file).report(codes.NAME_CYCLE.at(state.place(chain[0]), message))


def declared(state: State) -> Iterator[Declaration]:
    """Every declaration that has a name, in order, duplicates left out."""
    for names in state.names.values():
        yield from names.values()


def stated_type(constant: Declaration) -> Type | None:
    """The type that a constant or a parameter states, if it is one."""
    match constant.item:
        case ast.Let(type=ast.Ident(name)):
            return LET_TYPES.get(name)
        case ast.Parameter(type=ast.Ident(name)):
            return PARAMETER_TYPES.get(name)
    return None


# --- references ------------------------------------------------------------------------------------------------------


def _is_definition(state: State, found: Declaration) -> bool:
    if isinstance(found.item, ast.SpanDecl | ast.Concept):
        return True
    return state.lets.get(found, False) and stated_type(found) in DEFINED_TYPES


def _named(state: State, definition: Declaration) -> Iterator[Declaration]:
    """The definitions that one names, directly or through constants."""
    value = state.value(definition)
    start = (definition.file, definition.item) if value is None else (value.file, value.expr)
    pending, followed = [(Env(state, start[0]), start[1])], set[Declaration]()
    while pending:
        env, root = pending.pop()
        for node, _ in walk(root, without="condition"):
            if not isinstance(node, ast.Name | ast.Param | ast.Member):
                continue
            found = env.lookup(node)
            if found is None:
                continue
            if _is_definition(state, found):
                yield found
            elif (value := state.value(found)) is not None and found not in followed:
                followed.add(found)
                pending.append((replace(env, file=value.file), value.expr))
