"""Scores -> `checked.Score`: arithmetic in `factor`, `score` and `order`, and what it may name in each.

Numbers are folded while they are read, so that a score holds operators only where a token or a record decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import cast

from .. import ast
from .. import checked as c
from ..codes import values as codes
from ..vocabulary import LIVE, MEASURE, Entry, Type, names_measure
from .blocks import read_call
from .env import Env, one_line, shown
from .values import LARGEST, OPERATORS, check_field, field_path, is_measure, known_word, mismatch, reads, within

Leaf = Callable[[Env, ast.Expr, Entry], c.Term | None]
"""Reads a name, a call or a field as a term; None where it is none."""


@reads(Type.SCORE)
def _score(env: Env, expr: ast.Expr, entry: Entry) -> c.Score:
    """What `keep` ranks tokens by."""
    found = score(env, expr, entry, _of_token)
    return _varying(env, found, expr, "every token has the same score, so that nothing is ranked")


@reads(Type.ORDER)
def _order(env: Env, expr: ast.Expr, entry: Entry) -> c.Score:
    """What records are ordered by."""
    found = score(env, expr, entry, _of_record)
    return _varying(env, found, expr, "every record has the same value, so that nothing is ordered")


@reads(Type.FACTOR)
def _factor(env: Env, expr: ast.Expr, entry: Entry) -> float | c.FieldPath | c.Score:
    """A number of at least 0, a field, or a score of each token."""
    path = field_path(expr)
    if path is not None:
        check_field(env, path, expr)
        return path
    found = score(env, expr, entry, _of_token)
    match found.terms:
        case (float() as value,):
            within(env, expr, entry, value)
            return value
    return found


def score(env: Env, expr: ast.Expr, entry: Entry, leaf: Leaf) -> c.Score:
    """The score that `expr` states, of numbers and what `leaf` reads."""
    return c.Score(_terms(env, expr, entry, leaf), one_line(expr.place.text, 200), expr.place)


def _varying(env: Env, found: c.Score, expr: ast.Expr, message: str) -> c.Score:
    if len(found.terms) == 1 and isinstance(found.terms[0], float):
        raise env.fail(codes.CONSTANT_SCORE.at(expr.place, message))
    return found


def _terms(env: Env, expr: ast.Expr, entry: Entry, leaf: Leaf) -> tuple[c.Term, ...]:
    env, expr = env.unwrap(expr)
    match expr:
        case ast.Number(value):
            return (_finite(env, expr, entry, value),)
        case ast.Unary("-", operand):
            return _combined(env, expr, entry, "-", (0.0,), _terms(env, operand, entry, leaf))
        case ast.Binary(op, left, right) if op in OPERATORS:
            first, second = _terms(env, left, entry, leaf), _terms(env, right, entry, leaf)
            if op == "/" and second == (0.0,):
                raise env.fail(codes.DIVISION_BY_ZERO.at(expr.place, f"`{shown(expr)}` divides by zero"))
            return _combined(env, expr, entry, op, first, second)
    found = leaf(env, expr, entry)
    if found is None:
        raise mismatch(env, expr, entry)
    return (found,)


def _combined(
    env: Env, expr: ast.Expr, entry: Entry, op: str, first: tuple[c.Term, ...], second: tuple[c.Term, ...]
) -> tuple[c.Term, ...]:
    match first, second:
        case (float() as a,), (float() as b,):
            try:
                return (_finite(env, expr, entry, OPERATORS[op](a, b)),)
            except OverflowError:
                return (_finite(env, expr, entry, math.inf),)
    return (*first, *second, cast(c.Operator, op))


def _finite(env: Env, expr: ast.Expr, entry: Entry, value: float) -> float:
    if not -LARGEST < value < LARGEST:
        raise env.fail(codes.OUT_OF_BOUNDS.at(expr.place, f"`{entry.name}` is too large"))
    return float(value)


# --- what stands in a score ------------------------------------------------------------------------------------------


def _of_token(env: Env, expr: ast.Expr, entry: Entry) -> c.Term | None:
    if field_path(expr) is not None:
        reason = "a field stands alone in `factor`" if entry.type is Type.FACTOR else "a field has no number per token"
        raise mismatch(env, expr, entry, help=reason)
    if not is_measure(env, expr):
        return None
    match expr:
        case ast.Call():
            return _measured(env, expr)
        case ast.Member(_, name):
            word = ast.Name(name, expr.place)
            known_word(env, word, "live", LIVE)
            return c.Live("loss")
    return None


def _of_record(env: Env, expr: ast.Expr, entry: Entry) -> c.Term | None:
    path = field_path(expr)
    if path is not None:
        check_field(env, path, expr)
        return c.Number_(path)
    match expr:
        case ast.Name("length") if env.lookup(expr) is None:
            return c.Tokens_()
        case ast.Call() if is_measure(env, expr):
            return _measured(env, expr)
        case ast.Member() if is_measure(env, expr):
            message = f"`{shown(expr)}` is known to a pass alone, and `{entry.name}` decides which records come to it"
            raise env.fail(codes.LIVE_ORDER.at(expr.place, message, help='read a measure: `measure("NAME", loss)`'))
    return None


def _measured(env: Env, call: ast.Call) -> c.Measured:
    """`measure("file", column)`."""
    given: Mapping[str, object] = read_call(env, call, "measure", MEASURE)
    file, column = given["file"], given["column"]
    assert isinstance(file, ast.String) and isinstance(column, str)
    if not names_measure(file.value):
        message = f"`{file.value}` cannot name a measure: letters, digits, `_`, `-` and `.` can"
        raise env.fail(codes.OUT_OF_BOUNDS.at(file.place, message))
    return c.Measured(file.value, column)
