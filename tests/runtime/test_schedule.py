"""Multipliers over training time."""

from __future__ import annotations

import pytest

from mcd.dsl.diagnostics import Failure
from mcd.runtime.schedule import check_ramps, multipliers, ramp

from .builders import make_attend, make_plan, make_ramp, make_stage, make_toward, make_weigh

RULES = (make_attend("look"), make_toward("axis"), make_weigh("boost"))
STAGES = (
    make_stage("imprint", 0.0, 0.2, only=("axis",), token_loss=make_ramp(0.0)),
    make_stage("relate", 0.2, 0.7, factors={"look": make_ramp(1.0, 0.5)}),
    make_stage("speak", 0.7, 1.0, factors={"axis": make_ramp(0.0)}, token_loss=make_ramp(1.0, 3.0)),
)


def at(time: float) -> tuple[float, float, float, float]:
    found = multipliers(make_plan(*RULES, stages=STAGES), time)
    return found.token, found.rules["look"], found.rules["axis"], found.rules["boost"]


def test_without_stages_all_are_one() -> None:
    found = multipliers(make_plan(*RULES), 0.3)
    assert (found.token, set(found.rules.values())) == (1.0, {1.0})


def test_only_silences_other_rules_and_never_the_token_loss() -> None:
    """`only = [axis]` leaves look and boost at 0; the token loss is 0 here because the stage says so."""
    assert at(0.1) == (0.0, 0.0, 1.0, 0.0)
    plan = make_plan(*RULES, stages=(make_stage("a", 0.0, 1.0, only=("axis",)),))
    assert multipliers(plan, 0.1).token == 1.0


def test_stage_holds_from_its_start_up_to_its_end() -> None:
    """At 20% the second stage begins, and its ramp with it; at 45% half of it is over: 1 - 0.5 x 0.5 = 0.75."""
    assert at(0.2) == pytest.approx((1.0, 1.0, 1.0, 1.0))
    assert at(0.45) == pytest.approx((1.0, 0.75, 1.0, 1.0))


def test_last_stage_holds_at_the_end_of_training() -> None:
    assert at(1.0) == pytest.approx((3.0, 1.0, 0.0, 1.0))
    assert at(0.85) == pytest.approx((2.0, 1.0, 0.0, 1.0))


@pytest.mark.parametrize(
    ("shape", "quarter", "half"),
    [("linear", 0.775, 0.55), ("cosine", 0.868198, 0.55), ("exponential", 0.562341, 0.316228)],
)
def test_shapes_from_1_to_a_tenth(shape: str, quarter: float, half: float) -> None:
    """linear: 1 - 0.9 u. cosine: 1 - 0.9 (1 - cos(pi u)) / 2; at 1/4: 1 - 0.45 (1 - 0.707107). exponential: 10 ^ -u."""
    path = make_ramp(1.0, 0.1, shape)
    assert [ramp(path, u) for u in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([1.0, quarter, half, 0.1], abs=1e-6)


def test_constant_is_constant_in_every_shape() -> None:
    assert ramp(make_ramp(0.0, 0.0, "exponential"), 0.5) == 0.0


@pytest.mark.parametrize("time", [-0.1, 1.01, float("nan")])
def test_time_outside_0_to_1_is_refused(time: float) -> None:
    with pytest.raises(Failure, match="MCD707 training time is a share from 0 to 1"):
        multipliers(make_plan(*RULES), time)


def test_exponential_ramp_to_zero_is_refused() -> None:
    stage = make_stage("fade", 0.0, 1.0, factors={"look": make_ramp(1.0, 0.0, "exponential")})
    with pytest.raises(
        Failure, match=r"MCD708 stage `fade`: an exponential ramp of `look` needs two positive ends, found 1\.0 to 0\.0"
    ):
        check_ramps(make_plan(*RULES, stages=(stage,)))
