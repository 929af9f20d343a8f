"""What the checks of all kinds of rule share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypedDict

from .. import ast
from .. import checked as c
from ..codes import model as model_codes
from ..codes import values as codes
from ..diagnostics import Related
from ..source import Place
from ..vocabulary import Entry, Type
from .blocks import Given
from .declare import keyword_place, rule_id
from .env import Declaration, Env, Reported, uses
from .values import describe, reads


def attempt(read: Callable[[], Any]) -> Any:
    """What `read` gives, or None after a report: for a part of a rule that others do not depend on."""
    with suppress(Reported):
        return read()


class Common(TypedDict):
    """What every rule has."""

    id: str
    name: str | None
    lost: c.Lost
    place: Place
    uses: tuple[Related, ...]


def common(env: Env, item: ast.Rule, given: Given) -> Common:
    """What the rule `item` has as every rule."""
    name = env.file.prefix + item.label.name if item.label else None
    if env.state.model is None:
        raise Reported
    return {
        "id": rule_id(env.file, item),
        "name": name,
        "lost": given["lost"] or env.state.model.lost,
        "place": head(item),
        "uses": uses(env.file),
    }


def head(item: ast.Rule) -> Place:
    """Where a rule is pointed at: its name, or its keyword."""
    return item.label.place if item.label else keyword_place(item)


def clash(env: Env, place: Place, message: str) -> Reported:
    """Fail because attributes of one block exclude or require each other."""
    return env.fail(codes.ATTRIBUTES_CLASH.at(place, message))


def concept(env: Env, expr: ast.Expr) -> c.Concept:
    """The concept that `expr` names."""
    env, expr = env.unwrap(expr)
    if not isinstance(expr, ast.Name | ast.Member):
        raise env.fail(codes.WRONG_TYPE.at(expr.place, f"expected a concept, found {describe(env, expr)}"))
    found: Declaration = env.find(expr, "concept")
    known = env.state.concepts.get(found)
    if known is None:
        raise Reported
    return known


@reads(Type.CONCEPT)
def _concept(env: Env, expr: ast.Expr, entry: Entry) -> c.Concept:
    return concept(env, expr)


def anchored(env: Env, expr: ast.Expr) -> c.Concept:
    """The concept that `expr` names; fails on one without an anchor."""
    found = concept(env, expr)
    if found.anchor is None:
        raise env.fail(model_codes.NO_ANCHOR.at(expr.place, f"concept `{found.name}` has no anchor"))
    return found
