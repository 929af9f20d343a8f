"""Reading a value where its type is known: numbers, words, strings, paths, fields.

`read` takes an expression and the table entry of its place, and gives the value, or reports why it is none, with the reason for
which the type was expected, and raises `Reported`. Each type has one reader, registered here or in the module of its subject.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from .. import ast
from .. import checked as c
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import did_you_mean
from ..vocabulary import BUILT_INS, STEPS, Bounds, Entry, Type
from .env import Env, Reported, one_line, shown

Reader: TypeAlias = Callable[[Env, ast.Expr, Entry], Any]
R = TypeVar("R", bound=Reader)

READERS: dict[Type, Reader] = {}

LARGEST = 1e300

OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def reads(kind: Type) -> Callable[[R], R]:
    """Registers the reader of a type. It gets an expression without parentheses and constants."""

    def register(reader: R) -> R:
        READERS[kind] = reader
        return reader

    return register


def read(env: Env, expr: ast.Expr, entry: Entry) -> Any:
    """The value of `expr` as `entry` takes it."""
    if entry.type is Type.SPAN and (known := env.known(expr, Type.SPAN)) is not None:
        return known
    env, expr = env.unwrap(expr)
    return READERS[entry.type](env, expr, entry)


def mismatch(env: Env, expr: ast.Expr, entry: Entry, help: str | None = None) -> Reported:
    """Fail because `expr` is not what `entry` takes."""
    refuse_measures(env, expr)
    message = f"expected {entry.type.one} because `{entry.name}` takes {entry.type.many}, found {describe(env, expr)}"
    return env.fail(codes.WRONG_TYPE.at(expr.place, message, help=help))


def describe(env: Env, expr: ast.Expr) -> str:
    """What `expr` is, in the words of a message."""
    text = f"`{one_line(expr.place.text, 40)}`"
    match expr:
        case ast.Number():
            return f"the number {text}"
        case ast.Percent():
            return f"the percentage {text}"
        case ast.String():
            return f"the string {text}"
        case ast.Field():
            return f"the field {text}"
        case ast.List():
            return f"the list {text}"
        case ast.Map():
            return f"the map {text}"
        case ast.Name() | ast.Member(ast.Name()):
            if field_path(expr) is None and (found := env.lookup(expr)) is not None:
                return f"{text}, a {found.noun}"
    return f"the field {text}" if field_path(expr) else text


def is_measure(env: Env, expr: ast.Expr) -> bool:
    """Whether `expr` is `measure(...)` or `live.NAME`, and no name of the file's own."""
    match expr:
        case ast.Call(ast.Name("measure") as head) | ast.Member(ast.Name("live") as head):
            return env.lookup(head) is None
    return False


def refuse_measures(env: Env, expr: ast.Expr) -> None:
    """Fail on what stands in `factor`, `score` and `order` alone."""
    if is_measure(env, expr):
        where = "`factor`, `score` and `order`" if isinstance(expr, ast.Call) else "`factor` and `score`"
        message = f"`{shown(expr)}` stands where no model has run: {where} alone read it"
        raise env.fail(codes.MEASURE_MISPLACED.at(expr.place, message))


def field_path(expr: ast.Expr) -> c.FieldPath | None:
    """`.a.b` as a path; None for anything else."""
    steps: list[str] = []
    while isinstance(expr, ast.Member):
        steps.append(expr.name)
        expr = expr.base
    return (expr.name, *reversed(steps)) if isinstance(expr, ast.Field) else None


def number(env: Env, expr: ast.Expr, entry: Entry) -> float:
    """The number that constant arithmetic over numbers gives."""
    known: float | None = env.known(expr, Type.NUMBER)
    if known is not None:
        return known
    env, expr = env.unwrap(expr)
    match expr:
        case ast.Number(value):
            return value
        case ast.Unary("-", operand):
            return -number(env, operand, entry)
        case ast.Binary(op, left, right) if op in OPERATORS:
            first, second = number(env, left, entry), number(env, right, entry)
            if op == "/" and second == 0:
                raise env.fail(codes.DIVISION_BY_ZERO.at(expr.place, f"`{shown(expr)}` divides by zero"))
            try:
                return OPERATORS[op](first, second)
            except OverflowError:
                return math.inf
    raise mismatch(env, expr, entry)


def within(env: Env, expr: ast.Expr, entry: Entry, value: float) -> None:
    """Fail where `value` is not finite, or out of the entry's bounds."""
    if not -LARGEST < value < LARGEST:
        raise env.fail(codes.OUT_OF_BOUNDS.at(expr.place, f"`{entry.name}` is too large"))
    if entry.bounds is not None and not entry.bounds.hold(value):
        raise env.fail(
            codes.OUT_OF_BOUNDS.at(expr.place, f"`{entry.name}` must be {entry.bounds}, found `{shown(expr)}`")
        )


@reads(Type.NUMBER)
def _number(env: Env, expr: ast.Expr, entry: Entry) -> float:
    value = number(env, expr, entry)
    within(env, expr, entry, value)
    return float(value)


@reads(Type.COUNT)
def _count(env: Env, expr: ast.Expr, entry: Entry) -> int:
    value = number(env, expr, entry)
    within(env, expr, entry, value)
    if value != int(value):
        raise mismatch(env, expr, entry)
    return int(value)


@reads(Type.SHARE)
def _share(env: Env, expr: ast.Expr, entry: Entry) -> float:
    """A percentage, as the number before `%`."""
    if not isinstance(expr, ast.Percent):
        raise mismatch(env, expr, entry)
    within(env, expr, replace(entry, bounds=Bounds(low=0, high=100)), expr.value)
    return float(expr.value)


@reads(Type.BOOL)
def _bool(env: Env, expr: ast.Expr, entry: Entry) -> bool:
    if isinstance(expr, ast.Name) and expr.name in ("true", "false"):
        return expr.name == "true"
    raise mismatch(env, expr, entry)


@reads(Type.WORD)
def _word(env: Env, expr: ast.Expr, entry: Entry) -> str:
    """One of the entry's words; any name, where it has none."""
    if not isinstance(expr, ast.Name):
        raise mismatch(env, expr, entry, help=f"`{entry.name}` is {choice(entry.words)}" if entry.words else None)
    if entry.words:
        known_word(env, expr, entry.name, entry.words)
    return expr.name


def known_word(env: Env, word: ast.Name, owner: str, words: tuple[str, ...]) -> None:
    """Fail where `word` is not one of `words`."""
    if word.name not in words:
        message = f"`{owner}` is {choice(words)}, found `{word.name}`"
        raise env.fail(codes.UNKNOWN_WORD.at(word.place, message, help=did_you_mean(word.name, words)))


def choice(words: Sequence[str]) -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


@reads(Type.STRING)
def _string(env: Env, expr: ast.Expr, entry: Entry) -> ast.String:
    """The node itself, since whoever reads it may point into it."""
    if not isinstance(expr, ast.String):
        raise mismatch(env, expr, entry)
    return expr


@reads(Type.PATH)
def _path(env: Env, expr: ast.Expr, entry: Entry) -> Path:
    """An existing file below the root, resolved."""
    if not isinstance(expr, ast.String):
        raise mismatch(env, expr, entry)
    return env.locate(expr.value, expr.place)


@reads(Type.FIELD)
def _field(env: Env, expr: ast.Expr, entry: Entry) -> c.FieldPath:
    path = field_path(expr)
    if path is None:
        raise mismatch(env, expr, entry, help="a field starts with a dot: `.name`")
    return path


@reads(Type.ATTRIBUTE)
def _attribute(env: Env, expr: ast.Expr, entry: Entry) -> str:
    """The name of an attribute. Which spans have it is seen where it is used."""
    if not isinstance(expr, ast.Name) or expr.name in STEPS:
        raise mismatch(env, expr, entry, help="an attribute is a bare name")
    return expr.name


@reads(Type.LIST)
def _list(env: Env, expr: ast.Expr, entry: Entry) -> ast.List:
    """Any list: what it may hold is seen where it is used."""
    if not isinstance(expr, ast.List):
        raise mismatch(env, expr, entry)
    return expr


@reads(Type.RENAMES)
def _renames(env: Env, expr: ast.Expr, entry: Entry) -> tuple[tuple[str, str], ...]:
    """`{key: "name"}` as sorted pairs."""
    if not isinstance(expr, ast.Map):
        raise mismatch(env, expr, entry)
    pairs: dict[str, str] = {}
    for key, value in expr.entries:
        old, new = text_of(key), text_of(value)
        if old is None or new is None:
            raise mismatch(env, key if old is None else value, entry, help='write `rename: {text: "surface"}`')
        if new in (*BUILT_INS, *STEPS):
            message = f"`{new}` is a built-in attribute, so `{old}` cannot be renamed to it"
            raise env.fail(codes.BUILT_IN_ATTRIBUTE.at(value.place, message))
        listed_once(env, key, old, pairs)
        pairs[old] = new
    return tuple(sorted(pairs.items()))


def text_of(expr: ast.Expr) -> str | None:
    """What a bare name or a string says."""
    match expr:
        case ast.Name(name):
            return name
        case ast.String(value):
            return value
    return None


def listed_once(env: Env, expr: ast.Expr, what: object, seen: Container[object]) -> None:
    """Fail where `what` was `seen` before."""
    if what in seen:
        raise env.fail(codes.LISTED_TWICE.at(expr.place, f"`{what}` is listed twice"))


def check_field(env: Env, path: c.FieldPath, expr: ast.Expr) -> None:
    """Fail on a field that no source has, where every source's records are inline and so known."""
    state = env.state
    if state.sources_failed or set(state.fields) != set(state.sources):
        return
    known = frozenset().union(*state.fields.values())
    if path[0] not in known:
        near = did_you_mean(path[0], known)
        raise env.fail(name_codes.UNKNOWN_FIELD.at(expr.place, f"no source has a field `{shown(expr)}`", help=near))
