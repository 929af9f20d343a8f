"""Stages -> the multiplier of every rule at a time."""

from __future__ import annotations

from dataclasses import dataclass

from ..compiler.plan import Plan
from ..compiler.ramps import factor_at, ramp, stage_at
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
    stage, share = stage_at(plan.stages, time)
    return Multipliers(
        ramp(stage.token_loss, share), {rule.id: factor_at(stage, rule.id, share) for rule in plan.rules}
    )


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
