"""Stages -> the multiplier of every rule at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..compiler.plan import Plan, RampPlan, StagePlan
from ..dsl.codes.runtime import RAMP, TIME
from ..dsl.diagnostics import Failure


@dataclass(frozen=True, slots=True)
class Multipliers:
    """What the token loss and every rule (by id) are multiplied by."""

    token: float
    rules: dict[str, float]


def multipliers(plan: Plan, time: float) -> Multipliers:
    """The multipliers at `time`, a share of the optimiser steps from 0 to 1. Without stages all are 1.

    Fails with MCD707 where `time` lies outside 0..1.
    """
    if not 0 <= time <= 1:
        raise Failure(TIME.at(None, f"training time is a share from 0 to 1, found {time}", help="pass step / steps"))
    if not plan.stages:
        return Multipliers(1.0, {rule.id: 1.0 for rule in plan.rules})
    stage = _stage(plan.stages, time)
    share = min(max((time - stage.start) / (stage.end - stage.start), 0.0), 1.0)
    return Multipliers(ramp(stage.token_loss, share), {rule.id: _factor(stage, rule.id, share) for rule in plan.rules})


def ramp(ramp: RampPlan, share: float) -> float:
    """The value of a ramp where `share` (0..1) of its stage is over: a line, half a cosine, or a geometric path."""
    start, end = ramp.start, ramp.end
    if start == end:
        return start
    match ramp.shape:
        case "linear":
            return start + (end - start) * share
        case "cosine":
            return start + (end - start) * (1 - math.cos(math.pi * share)) / 2
        case "exponential":
            return float(start * (end / start) ** share)


def check_ramps(plan: Plan) -> None:
    """Fails with MCD708 where an exponential ramp has an end that is not positive: no geometric path leads there."""
    found = [
        RAMP.at(
            None,
            f"stage `{stage.name}`: an exponential ramp of {name} needs two positive ends, found {r.start} to {r.end}",
        )
        for stage in plan.stages
        for name, r in [("the token loss", stage.token_loss), *((f"`{rule}`", r) for rule, r in stage.factors.items())]
        if r.shape == "exponential" and r.start != r.end and min(r.start, r.end) <= 0
    ]
    if found:
        raise Failure(*found)


def _stage(stages: tuple[StagePlan, ...], time: float) -> StagePlan:
    return next((stage for stage in stages if time < stage.end), stages[-1])


def _factor(stage: StagePlan, rule: str, share: float) -> float:
    if rule in stage.factors:
        return ramp(stage.factors[rule], share)
    return 1.0 if stage.only is None or rule in stage.only else 0.0
