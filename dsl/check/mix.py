"""Which records training meets, and in which order: the `mix` and the `order` of the curriculum. In the root file alone."""

from __future__ import annotations

from fractions import Fraction

from .. import ast
from .. import checked as c
from ..codes import values as codes
from ..vocabulary import Entry, Type
from .blocks import read_block
from .common import attempt
from .declare import curriculum_of, keyword_place
from .env import Env, Reported, shown
from .values import describe, listed_once, mismatch, reads

Mix = tuple[tuple[str, float], ...]
"""Shares of 1 by source."""


def check_mix(env: Env) -> tuple[Mix, c.Score | None]:
    """The mix and the order that the curriculum states; nothing and None without one."""
    item = curriculum_of(env)
    if item is None:
        return (), None
    given = read_block(env, "curriculum", item.attributes, keyword_place(item))
    return attempt(lambda: given["mix"]) or (), attempt(lambda: given["order"])


@reads(Type.MIX)
def _mix(env: Env, expr: ast.Expr, entry: Entry) -> Mix:
    """`{stories: 70%, wiki: 30%}`, in the order of the names. What is left out has no share."""
    if not isinstance(expr, ast.Map):
        raise mismatch(env, expr, entry, help="write `mix = {NAME: 70%, OTHER: 30%}`")
    shares: dict[str, Fraction] = {}
    failed = False
    for key, value in expr.entries:
        source = attempt(lambda key=key: _source(env, key, entry))  # type: ignore[misc]
        share = attempt(lambda value=value: _share(env, value))  # type: ignore[misc]
        if source is None or share is None:
            failed = True
            continue
        listed_once(env, key, source, shares)
        shares[source] = share
    if failed:
        raise Reported
    total = sum(shares.values())
    if total != 1:
        message = f"the shares of `mix` add up to {float(total * 100):g}%, expected 100%"
        raise env.fail(codes.BAD_SHARES.at(expr.place, message))
    return tuple((source, float(share)) for source, share in sorted(shares.items()))


def _source(env: Env, expr: ast.Expr, entry: Entry) -> str:
    if not isinstance(expr, ast.Name):
        raise mismatch(env, expr, entry)
    return env.find(expr, "source").ident.name


def _share(env: Env, expr: ast.Expr) -> Fraction:
    env, expr = env.unwrap(expr)
    if not isinstance(expr, ast.Percent):
        message = f"expected a percentage because `mix` takes shares of the tokens, found {describe(env, expr)}"
        raise env.fail(codes.WRONG_TYPE.at(expr.place, message))
    if expr.value <= 0:
        help = "a source that is left out has no share"
        raise env.fail(
            codes.OUT_OF_BOUNDS.at(expr.place, f"a share must be above 0%, found `{shown(expr)}`", help=help)
        )
    return Fraction(str(expr.value)) / 100
