"""Constants: `let`, and the parameters of frames, which are constants whose values stand in the `use`.

A constant is written out wherever it is named. So it must end and keep to the limits first; then its value is read once by the
type that it states, and one that is of another type fails. What the command line sets has, without such a type, that of the
value it replaces.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress

from .. import ast
from ..codes import names as codes
from ..codes import values as value_codes
from ..diagnostics import Related, did_you_mean
from ..vocabulary import HEAD_WORDS, LET_TYPES, Entry, Type
from .env import Declaration, Env, Reported, State, Value, walk
from .order import declared, sorted_definitions, stated_type
from .spans import bound
from .values import OPERATORS, choice, field_path, read

MAX_NESTING = 100
MAX_SIZE = 200_000
"""Depth and nodes of a constant once the constants in it are written out. The passes recurse over an expression, at most twice a
level, and the parser bounds its own depth: with its constants it stays well below what Python allows."""


def check_lets(state: State) -> None:
    """Establish for each constant that it ends and keeps to the limits; the rest fail."""
    found = [found for found in declared(state) if isinstance(found.item, ast.Let | ast.Parameter)]
    state.lets.update(dict.fromkeys(found, False))
    valued = [constant for constant in found if state.value(constant) is not None]
    shapes: dict[Declaration, tuple[int, int]] = {}
    beyond: set[Declaration] = set()
    for constant in sorted_definitions(state, valued, lambda one: _constants(state, _value(state, one))):
        value = _value(state, constant)
        depth, size = _written_out(state, value, shapes)
        if not beyond.isdisjoint(_constants(state, value)):
            beyond.add(constant)
            continue
        if depth > MAX_NESTING or size > MAX_SIZE:
            beyond.add(constant)
            message = (
                f"{constant.noun} `{constant.ident.name}` grows beyond the limit once its constants are written out"
            )
            Env(state, constant.file).report(value_codes.TOO_LARGE.at(state.place(constant), message))
            continue
        shapes[constant] = (depth, size)
        state.lets[constant] = True
        if isinstance(constant.item, ast.Let) and constant.item.type is not None:
            check_type_name(Env(state, constant.file), constant.item.type, "constant", LET_TYPES)


def check_type_name(env: Env, kind: ast.Ident, noun: str, types: Collection[str]) -> None:
    """Report a word that is no type of a constant or a parameter."""
    if kind.name not in types:
        help = did_you_mean(kind.name, types) or f"a {noun} is of type {choice(list(types))}"
        env.report(codes.UNKNOWN_NAME.at(kind.place, f"no type `{kind.name}` of a {noun}", help=help))


def check_types(state: State, kinds: Collection[Type]) -> None:
    """Check constants of some types against them."""
    for constant in [constant for constant, good in state.lets.items() if good]:
        with suppress(Reported):
            if (stated_type(constant) or _inferred(state, constant)) in kinds:
                check_constant(state, constant)


def check_constant(state: State, constant: Declaration) -> None:
    """Read a constant by its type. It fails where it is of another."""
    kind = stated_type(constant) or _inferred(state, constant)
    assert kind is not None
    value, name = _value(state, constant), constant.ident.name
    elsewhere = [Related(constant.ident.place, f"{constant.noun} `{name}` takes {kind.many}")]
    match constant.item:
        case ast.Let(type=ast.Ident() as stated) if constant not in state.given:
            elsewhere, name = [], stated.name
        case ast.Parameter(default=default) if value.expr is default:
            elsewhere = []
    state.lets[constant] = False
    env = Env(state, value.file, related=tuple(elsewhere))
    found = read(env, value.expr, Entry(name, kind))
    if kind is Type.SPAN:
        bound(env, found, value.expr.place)
    state.known[constant, kind] = found
    state.lets[constant] = True


# --- written out -----------------------------------------------------------------------------------------------------


def _value(state: State, constant: Declaration) -> Value:
    value = state.value(constant)
    assert value is not None
    return value


def _constants(state: State, value: Value) -> Iterator[Declaration]:
    """The constants that a value names."""
    env = Env(state, value.file)
    for node, _ in walk(value.expr):
        if env.constant(node):
            found = env.lookup(node)
            if found is not None and isinstance(found.item, ast.Let | ast.Parameter):
                yield found


def _written_out(state: State, value: Value, shapes: dict[Declaration, tuple[int, int]]) -> tuple[int, int]:
    """Depth and number of nodes of a value once its constants, whose `shapes` are known, are written out."""
    env = Env(state, value.file)
    deepest, size = 0, 0
    for node, depth in walk(value.expr):
        inner = (0, 1)
        if env.constant(node) and (found := env.lookup(node)) is not None:
            inner = shapes.get(found, inner)
        deepest, size = max(deepest, depth + inner[0]), size + inner[1]
    return deepest, size


# --- what the command line sets --------------------------------------------------------------------------------------


def _inferred(state: State, constant: Declaration) -> Type | None:
    """The type of the value that the command line replaces, where that value alone tells it."""
    if constant not in state.given or not isinstance(constant.item, ast.Let) or constant.item.type is not None:
        return None
    env, expr = Env(state, constant.file).unwrap(constant.item.value)
    match expr:
        case _ if _is_number(env, expr):
            return Type.NUMBER
        case ast.Percent():
            return Type.SHARE
        case ast.String():
            return Type.STRING
        case ast.Binary("..") | ast.Name("final"):
            return Type.LAYERS
        case ast.Name(name) if name in HEAD_WORDS:
            return Type.HEADS
        case ast.List():
            return Type.LIST
    return Type.FIELD if field_path(expr) else None


def _is_number(env: Env, expr: ast.Expr) -> bool:
    env, expr = env.unwrap(expr)
    match expr:
        case ast.Number():
            return True
        case ast.Unary("-", operand):
            return _is_number(env, operand)
        case ast.Binary(op, left, right) if op in OPERATORS:
            return _is_number(env, left) and _is_number(env, right)
    return False
