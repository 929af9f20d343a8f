"""Layers and heads, counted against the model.

Without a contract (its own failure is reported) types are checked and nothing is counted: the result is empty.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from .. import ast
from .. import checked as c
from ..codes import model as model_codes
from ..codes import values as codes
from ..vocabulary import HEAD_WORDS, Entry, Type
from .env import Env, Reported, one_line, shown
from .values import known_word, listed_once, mismatch, reads


@reads(Type.LAYERS)
def layers(env: Env, expr: ast.Expr, entry: Entry) -> c.Layers:
    """`50%`, `4..6`, `-1`, `final` or a list of them: in order, each once."""
    found: set[c.Layer] = set()
    for item in _items(env, expr, entry):
        found.update(_run(*env.unwrap(item), entry))
    numbers = sorted(layer for layer in found if isinstance(layer, int))
    final: tuple[c.Layer, ...] = ("final",) if "final" in found else ()
    return c.Layers((*numbers, *final), one_line(expr.place.text))


def _items(env: Env, expr: ast.Expr, entry: Entry) -> tuple[ast.Expr, ...]:
    if not isinstance(expr, ast.List):
        return (expr,)
    if not expr.items:
        raise mismatch(env, expr, entry)
    return expr.items


def _run(env: Env, expr: ast.Expr, entry: Entry) -> list[c.Layer]:
    match expr:
        case ast.Name("final") if env.lookup(expr) is None:
            return ["final"]
        case ast.Binary("..", left, right):
            low, high = layer_number(*env.unwrap(left), entry), layer_number(*env.unwrap(right), entry)
            if env.state.contract is None:
                return []
            if low > high:
                message = f"`{shown(expr)}` runs backwards: from layer {low} to layer {high}"
                raise env.fail(codes.OUT_OF_BOUNDS.at(expr.place, message))
            return list(range(low, high + 1))
    layer = layer_number(env, expr, entry)
    return [] if env.state.contract is None else [layer]


def layer_number(env: Env, expr: ast.Expr, entry: Entry) -> int:
    """`4`, `-1` or `50%` as a layer from 0."""
    contract = env.state.contract
    top = contract.layers if contract else 0
    match expr:
        case ast.Number(int(value)):
            layer = value
        case ast.Unary("-", ast.Number(int(value))) if value > 0:
            layer = top + 1 - value
            if contract and layer < 1:
                raise _no_such_layer(env, expr, f"{top} blocks, so that the first is `-{top}`")
        case ast.Percent(value):
            if value > 100:
                raise env.fail(codes.OUT_OF_BOUNDS.at(expr.place, f"a depth is at most 100%, found `{shown(expr)}`"))
            layer = _at_share(value, top)
        case _:
            raise mismatch(
                env, expr, entry, help="a layer is `4`, `-1`, `50%` or `final`; several are `4..6` or `[2, 4]`"
            )
    if contract and layer > top:
        raise _no_such_layer(env, expr, f"layers 0..{top}")
    return layer


@lru_cache(maxsize=1024)
def _at_share(share: float, top: int) -> int:
    """The layer at `share` percent of `top` layers, rounded half up."""
    layer = math.floor(Fraction(str(share)) * top / 100 + Fraction(1, 2))
    return max(layer, 1) if share > 0 else 0


@reads(Type.DEPTH)
def _depth(env: Env, expr: ast.Expr, entry: Entry) -> int:
    """`6`, `-1` or `50%` as a number of blocks from 1."""
    if not isinstance(expr, ast.Number | ast.Unary | ast.Percent):
        raise mismatch(env, expr, entry, help="write `depth = 6` or `depth = 50%`")
    depth = layer_number(env, expr, entry)
    if env.state.contract and depth < 1:
        raise env.fail(codes.OUT_OF_BOUNDS.at(expr.place, f"`{entry.name}` must be at least 1, found `{shown(expr)}`"))
    return depth


def _no_such_layer(env: Env, expr: ast.Expr, has: str) -> Reported:
    assert env.state.model_name is not None
    message = f"no layer {shown(expr)}: the model `{env.state.model_name}` has {has}"
    return env.fail(model_codes.NO_SUCH_LAYER.at(expr.place, message))


@reads(Type.HEADS)
def _heads(env: Env, expr: ast.Expr, entry: Entry) -> c.Heads:
    """`any`, `all`, `mean`, or a list of head numbers, sorted."""
    if isinstance(expr, ast.Name):
        known_word(env, expr, entry.name, HEAD_WORDS)
        return expr.name  # type: ignore[return-value]
    if not isinstance(expr, ast.List) or not expr.items:
        raise mismatch(env, expr, entry, help="heads are `any`, `all`, `mean` or a list: `[0, 3]`")
    found: set[int] = set()
    for item in expr.items:
        view, head = env.unwrap(item)
        number = head_number(view, head, entry)
        listed_once(env, head, number, found)
        found.add(number)
    return tuple(sorted(found))


def head_number(env: Env, expr: ast.Expr, entry: Entry) -> int:
    """The number of a head from 0."""
    if not isinstance(expr, ast.Number) or not isinstance(expr.value, int):
        raise mismatch(env, expr, entry, help="heads are numbered from 0 within a layer")
    contract = env.state.contract
    if contract and expr.value >= contract.heads:
        message = f"no head {expr.value}: the model `{env.state.model_name}` has heads 0..{contract.heads - 1}"
        raise env.fail(model_codes.NO_SUCH_HEAD.at(expr.place, message))
    return expr.value
