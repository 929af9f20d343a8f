"""What a spec says over training time: stages and ramps. In the root file alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction

from .. import ast
from .. import checked as c
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import Related, did_you_mean
from ..vocabulary import RAMP, STAGE_FACTOR, Entry, Type
from .blocks import once, read_block, read_call
from .declare import RULES, curriculum_of, keyword_place, rule_id
from .env import Env, Reported, shown
from .values import mismatch, number, read, reads, within

ALWAYS = c.Ramp(1.0, 1.0)


# --- curriculum ------------------------------------------------------------------------------------------------------


def check_stages(env: Env) -> tuple[c.Stage, ...]:
    """The stages of the curriculum, which fill training time; none without a curriculum."""
    item = curriculum_of(env)
    if item is None:
        return ()
    _check_shares(env, item)
    stages: list[c.Stage] = []
    names: dict[str, ast.Ident] = {}
    start = Fraction(0)
    for stage in item.stages:
        first = names.setdefault(stage.name.name, stage.name)
        if first is not stage.name:
            related = Related(first.place, "first declared here")
            message = f"two stages are called `{stage.name.name}`"
            env.report(name_codes.DUPLICATE_NAME.at(stage.name.place, message, related=[related]))
        end = start + Fraction(str(stage.share.value)) / 100
        with suppress(Reported):
            stages.append(_stage(env, stage, float(start), float(end)))
        start = end
    return tuple(stages)


def _check_shares(env: Env, item: ast.Curriculum) -> None:
    for stage in item.stages:
        if stage.share.value <= 0:
            message = f"a stage must last above 0%, found `{shown(stage.share)}`"
            env.report(codes.OUT_OF_BOUNDS.at(stage.share.place, message))
    total = sum(Fraction(str(stage.share.value)) for stage in item.stages)
    if item.stages and total != 100:
        place = item.stages[0].share.place if len(item.stages) == 1 else keyword_place(item)
        message = f"the stages add up to {float(total):g}%, expected 100%"
        env.report(codes.BAD_SHARES.at(place, message))


@dataclass(slots=True)
class _Factors:
    """Scheduled rules of a stage, by id, and where each was written."""

    ramps: dict[str, c.Ramp] = field(default_factory=dict)
    written: dict[str, ast.Attribute] = field(default_factory=dict)


def _stage(env: Env, stage: ast.Stage, start: float, end: float) -> c.Stage:
    own = tuple(attribute for attribute in stage.block.attributes if len(attribute.path) == 1)
    factors = _Factors()
    for attribute in stage.block.attributes:
        if len(attribute.path) > 1:
            with suppress(Reported):
                _factor(env, attribute, factors)
    given = read_block(env, "stage", own, stage.name.place)
    only: tuple[str, ...] | None = given["only"]
    for rule, attribute in factors.written.items():
        if only is not None and rule not in only:
            message = f"`{rule}` is scheduled in a stage whose `only` leaves it out"
            env.report(codes.ATTRIBUTES_CLASH.at(attribute.name_place, message))
    ramps = tuple(sorted(factors.ramps.items()))
    train: c.Layers | None = given["train"]
    return c.Stage(
        name=stage.name.name,
        start=start,
        end=end,
        factors=ramps,
        only=only,
        token_loss=given["token_loss"] or ALWAYS,
        place=stage.name.place,
        depth=given["depth"],
        train=None if train is None else train.resolved,
        depth_place=given.place("depth") if "depth" in given else None,
        train_place=given.place("train") if "train" in given else None,
    )


def _factor(env: Env, attribute: ast.Attribute, found: _Factors) -> None:
    """`NAME.factor = ...` or `alias.NAME.factor = ...`."""
    *path, what = attribute.path
    place = attribute.name_place
    name: ast.Name | ast.Member = ast.Name(path[0], place)
    for step in path[1:]:
        name = ast.Member(name, step, place)
    if what != STAGE_FACTOR.name:
        near = did_you_mean(what, [STAGE_FACTOR.name])
        message = f"a stage schedules the `factor` of a rule, found `{'.'.join(attribute.path)}`"
        raise env.fail(name_codes.UNKNOWN_ATTRIBUTE.at(place, message, help=near))
    rule = _rule_named(env, name, ".".join(path))
    once(env, rule, attribute, found.written)
    found.written[rule] = attribute
    found.ramps[rule] = read(env, attribute.value, STAGE_FACTOR)


def _rule_named(env: Env, expr: ast.Name | ast.Member, written: str) -> str:
    """The id of the rule that `expr` names."""
    found = env.lookup(expr)
    if found is None and not env.silent(expr):
        near = did_you_mean(written, (name for name, _ in env.declarations("rule")))
        near = near or "a rule without a name cannot be referred to"
        raise env.fail(name_codes.UNKNOWN_NAME.at(expr.place, f"no rule `{written}`", help=near))
    found = env.find(expr, "rule")
    assert isinstance(found.item, RULES)
    return rule_id(found.file, found.item)


@reads(Type.RULE)
def _rule(env: Env, expr: ast.Expr, entry: Entry) -> str:
    """The id of a rule."""
    if not isinstance(expr, ast.Name | ast.Member):
        raise mismatch(env, expr, entry)
    return _rule_named(env, expr, shown(expr))


@reads(Type.RULES)
def _rules(env: Env, expr: ast.Expr, entry: Entry) -> tuple[str, ...]:
    """`[axis, logic.carry]` as sorted ids."""
    if not isinstance(expr, ast.List):
        raise mismatch(env, expr, entry)
    found: set[str] = set()
    failed = False
    for item in expr.items:
        view, name = env.unwrap(item)
        if not isinstance(name, ast.Name | ast.Member):
            raise mismatch(view, name, entry)
        try:
            found.add(_rule_named(view, name, shown(name)))
        except Reported:
            failed = True
    if failed:
        raise Reported
    return tuple(sorted(found))


@reads(Type.RAMP)
def _ramp(env: Env, expr: ast.Expr, entry: Entry) -> c.Ramp:
    """A number, or `ramp(from, to, shape)`."""
    if not isinstance(expr, ast.Call):
        value = number(env, expr, entry)
        within(env, expr, entry, value)
        return c.Ramp(float(value), float(value))
    if not isinstance(expr.callee, ast.Name) or expr.callee.name != "ramp":
        raise mismatch(env, expr, entry, help="write `ramp(1, 0.3, cosine)`")
    given = read_call(env, expr, "ramp", RAMP)
    if given["shape"] == "exponential" and 0 in (given["start"], given["end"]):
        raise env.fail(codes.OUT_OF_BOUNDS.at(expr.place, "an exponential ramp neither starts nor ends at 0"))
    return c.Ramp(**given)
