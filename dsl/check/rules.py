"""Rules: `attend`, `signal`, `relate`, `weigh`, `keep` -> `checked.Rule`. One walk over the rules of each file."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

from .. import ast
from .. import checked as c
from ..canonical import digest
from ..codes import model as model_codes
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import did_you_mean
from ..vocabulary import LIKE, RELATIONS, Bounds
from .blocks import Given, read_block
from .common import anchored, attempt, clash, common, concept, head
from .conditions import Roles, condition
from .declare import RULES
from .env import Env, Reported, State, on_trial, one_line, shown
from .signals import signal
from .spans import shape, subject
from .values import choice


def check_rules(state: State) -> dict[str, c.Rule]:
    """The rules of every file, by id."""
    found: dict[str, c.Rule] = {}
    for file in state.files:
        env = Env(state, file)
        for item in file.spec.items:
            if isinstance(item, RULES):
                with suppress(Reported):
                    rule = _rule(env, item)
                    if not on_trial(file):
                        found[rule.id] = rule
    return found


def _rule(env: Env, item: ast.Rule) -> c.Rule:
    match item:
        case ast.Attend():
            return _attend(env, item)
        case ast.Signal():
            return signal(env, item)
        case ast.Relate():
            return _relate(env, item)
        case ast.Weigh():
            return _weigh(env, item)
        case ast.Keep():
            return _keep(env, item)


# --- attend ----------------------------------------------------------------------------------------------------------


def _attend(env: Env, item: ast.Attend) -> c.Attend:
    given = read_block(env, "attend", item.block.attributes, head(item))
    join = attempt(lambda: _join(env, item, given))
    where = attempt(lambda: _where(env, given))
    loss, mass = _bound_loss(env, given)
    if join is None or where is None:
        raise Reported
    layers, heads, pairs = where
    return c.Attend(
        **common(env, item, given),
        join=join,
        layers=layers,
        heads=heads,
        pairs=pairs,
        loss=loss,
        mass=mass,
        avoid=given["avoid"],
        each=given["each"],
        weight=given["weight"],
        per=given["per"],
    )


def _join(env: Env, item: ast.Attend, given: Given) -> c.Join:
    query = attempt(lambda: subject(env, item.query, "attend"))
    key = attempt(lambda: subject(env, item.key, "attend"))
    if query is None or key is None:
        raise Reported
    where, place = None, None
    if item.where is not None:
        place = item.where.place
        roles: Roles = {"query": (query, shape(env, query)), "key": (key, shape(env, key))}
        where = condition(env, item.where, roles)
    return c.Join(query, key, where, given["pick"], given["max_edges"], place)


def _where(env: Env, given: Given) -> tuple[c.Layers, c.Heads, c.Pairs]:
    """Layers and heads, or the pairs of both that `at` names."""
    if "at" not in given:
        return _attention_layers(env, given), given["heads"], ()
    pairs: c.Pairs = given["at"]
    return c.Layers(tuple(sorted({layer for layer, _ in pairs})), one_line(given.place("at").text)), "all", pairs


def _attention_layers(env: Env, given: Given) -> c.Layers:
    layers: c.Layers = given["layers"]
    odd = next((layer for layer in layers.resolved if layer in (0, "final")), None)
    if odd is not None:
        top = env.state.contract.layers if env.state.contract else 0
        message = f"attention has layers 1..{top} of the model `{env.state.model_name}`, found {odd}"
        raise env.fail(model_codes.NO_SUCH_LAYER.at(given.place("layers"), message))
    return layers


def _bound_loss(env: Env, given: Given) -> tuple[Any, float | None]:
    """The loss and the mass of an attention rule: each has its default from the other."""
    mass, loss, avoid = given["mass"], given["loss"], given["avoid"]
    if avoid and "heads" in given and given["heads"] == "any":
        reason = "`heads = any` cannot stand with `avoid`: which head to turn away is not said"
        raise clash(env, given.place("heads"), reason)
    if loss == "hinge" and mass is None and not avoid:
        raise clash(env, given.place("loss"), "`loss = hinge` needs `mass`, the probability to reach")
    if loss in ("nll", "kl") and (avoid or mass is not None):
        other = "avoid" if avoid else "mass"
        raise clash(
            env, given.place("loss"), f"`loss = {loss}` cannot stand with `{other}`, which is a bound (`hinge`)"
        )
    bounds = Bounds(low=0, high=1, low_open=not avoid, high_open=avoid)
    if mass is not None and not bounds.hold(mass):
        limits = f"{bounds} with `avoid`" if avoid else bounds
        message = f"`mass` must be {limits}, found `{shown(given.written['mass'].value)}`"
        raise env.fail(codes.OUT_OF_BOUNDS.at(given.place("mass"), message))
    if avoid:
        return "hinge", mass or 0.0
    return loss or ("nll" if mass is None else "hinge"), mass


# --- relate ----------------------------------------------------------------------------------------------------------


def _relate(env: Env, item: ast.Relate) -> c.Relate | c.Like:
    if item.subject_to is not None and item.object_to is not None:
        return _like(env, item, item.subject_to, item.object_to)
    relation = item.relation
    given = read_block(env, "relate", item.block.attributes, head(item))
    source = attempt(lambda: expressed(env, item.subject))
    target = attempt(lambda: anchored(env, item.object))
    match relation.name:
        case "is_a" | "opposes" | "distinct" as kind:
            pass
        case _:
            near = did_you_mean(relation.name, RELATIONS)
            raise env.fail(codes.UNKNOWN_WORD.at(relation.place, f"no relation `{relation.name}`", help=near))
    if source is None or target is None:
        raise Reported
    return c.Relate(**common(env, item, given), subject=source, relation=kind, object=target, **_shared(given))


def _like(env: Env, item: ast.Relate, subject_to: ast.Expr, object_to: ast.Expr) -> c.Like:
    given = read_block(env, "relate", item.block.attributes, head(item), LIKE)
    ends = [
        attempt(lambda: expressed(env, item.subject)),
        attempt(lambda: expressed(env, subject_to)),
        attempt(lambda: anchored(env, item.object)),
        attempt(lambda: anchored(env, object_to)),
    ]
    if None in ends:
        raise Reported
    subject, to, target, target_to = ends
    same = target.name == target_to.name
    if same or digest(subject.spans) == digest(to.spans):
        start, end = (target, target_to) if same else (subject, to)
        message = f"`{start.name}` and `{end.name}` are one place, and between them is no offset"
        raise env.fail(codes.RELATIONS_CLASH.at((object_to if same else subject_to).place, message))
    return c.Like(
        **common(env, item, given),
        subject=subject,
        subject_to=to,
        object=target,
        object_to=target_to,
        **_shared(given),
    )


def _shared(given: Given) -> dict[str, Any]:
    """What every relation has."""
    return {
        "layers": given["layers"],
        "pool": given["pool"] or "mean",
        "margin": given["margin"],
        "weight": given["weight"],
        "per": given["per"],
    }


def expressed(env: Env, expr: ast.Expr) -> c.Concept:
    """The concept that `expr` names; fails on one without spans."""
    found = concept(env, expr)
    if found.spans is None:
        raise env.fail(model_codes.NO_ANCHOR.at(expr.place, f"concept `{found.name}` has no spans"))
    return found


# --- weigh and keep --------------------------------------------------------------------------------------------------


def _weigh(env: Env, item: ast.Weigh) -> c.Weigh:
    given = read_block(env, "weigh", item.block.attributes, head(item))
    spans = attempt(lambda: subject(env, item.subject, "weigh"))
    if "factor" not in given and not given["only"]:
        message = "this `weigh` lacks `factor`, a number, a field or a score (or `only = true`)"
        raise env.fail(name_codes.MISSING_ATTRIBUTE.at(head(item), message))
    if spans is None:
        raise Reported
    factor = given["factor"]
    return c.Weigh(
        **common(env, item, given), subject=spans, factor=1.0 if factor is None else factor, only=given["only"]
    )


def _keep(env: Env, item: ast.Keep) -> c.Keep:
    given = read_block(env, "keep", item.block.attributes, head(item))
    spans = attempt(lambda: subject(env, item.subject, "keep"))
    ends: list[Literal["top", "bottom"]] = [end for end in ENDS if end in given]
    if not ends:
        message = f"this `keep` lacks the share of tokens to keep, {choice([f'{end} = 60%' for end in ENDS])}"
        raise env.fail(name_codes.MISSING_ATTRIBUTE.at(head(item), message))
    if len(ends) > 1:
        raise clash(env, given.written["bottom"].name_place, "`top` and `bottom` are two rules, not one")
    end, share = ends[0], given[ends[0]]
    if share == 0:
        message = f"`{end}` must be above 0%, found `{shown(given.written[end].value)}`"
        raise env.fail(codes.OUT_OF_BOUNDS.at(given.place(end), message))
    score: c.Score = given["score"]
    if spans is None:
        raise Reported
    found = {"subject": spans, "score": score, "end": end, "share": share / 100, "within": given["per"]}
    return c.Keep(**common(env, item, given), **found)


ENDS: tuple[Literal["top"], Literal["bottom"]] = ("top", "bottom")
