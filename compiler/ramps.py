"""The value of the plan's ramps over training time.

From a to b over a share u of a stage: linear a + (b - a) u, cosine a + (b - a) (1 - cos(pi u)) / 2 (Loshchilov and Hutter 2016,
"SGDR: Stochastic Gradient Descent with Warm Restarts", https://arxiv.org/abs/1608.03983, equation 5), exponential a (b / a)^u.
"""

from __future__ import annotations

import math

from .plan import RampPlan, StagePlan


def stage_at(stages: tuple[StagePlan, ...], time: float) -> tuple[StagePlan, float]:
    """The stage at `time` (0..1), of at least one, and the share of it that is over."""
    stage = next((stage for stage in stages if time < stage.end), stages[-1])
    return stage, min(max((time - stage.start) / (stage.end - stage.start), 0.0), 1.0)


def factor_at(stage: StagePlan, rule: str, share: float) -> float:
    """The multiplier of a rule, by id, where `share` of the stage is over."""
    if rule in stage.factors:
        return ramp(stage.factors[rule], share)
    return 1.0 if stage.only is None or rule in stage.only else 0.0


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
