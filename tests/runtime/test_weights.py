"""Token weights and what they do to the token loss."""

from __future__ import annotations

import pytest
import torch

from mcd.runtime.supervise import supervise
from mcd.runtime.weights import token_weights

from .builders import make_batch, make_model, make_plan, make_ramp, make_stage, make_weigh

PLAN = make_plan(make_weigh("boost"), make_weigh("rest"))
BATCH = make_batch(
    PLAN, [4, 3], weigh={"boost": [(0, 1, 4.0), (0, 2, 4.0), (1, 1, 0.0)], "rest": [(0, 2, 0.5), (1, 2, 0.5)]}
)


def test_overlapping_rules_multiply_and_unscored_tokens_weigh_nothing() -> None:
    """4, 4 x 0.5, 1 in record 0, 0 and 0.5 in record 1; first tokens and padding have no loss."""
    assert token_weights(BATCH, torch.ones(2)).tolist() == [[0, 4, 2, 1], [0, 0, 0.5, 0]]


def test_multiplier_scales_the_distance_of_a_factor_from_1() -> None:
    """boost at 0.5: 1 + 0.5 x 3 = 2.5 and 1 + 0.5 x (0 - 1) = 0.5; rest at 0: 1."""
    assert token_weights(BATCH, torch.tensor([0.5, 0.0])).tolist() == [[0, 2.5, 2.5, 1], [0, 0.5, 1, 0]]


def test_weight_never_falls_below_zero() -> None:
    """Factor 0 at multiplier 2: 1 - 2 = -1, held at 0."""
    assert token_weights(BATCH, torch.tensor([2.0, 0.0]))[1, 1] == 0


def test_no_weigh_rows_leave_the_scored_tokens() -> None:
    plan = make_plan()
    batch = make_batch(plan, [3, 2])
    assert token_weights(batch, torch.ones(0)).tolist() == [[0, 1, 1], [0, 1, 0]]


def test_token_loss_is_the_weighted_mean() -> None:
    """Two tokens with losses x and y and weights 4 and 1: (4 x + y) / 5."""
    plan = make_plan(make_weigh())
    supervised = supervise(make_model("gpt2"), plan)
    plain = [
        supervised(make_batch(plan, [3], weigh={"boost": w}), time=0).token for w in ([(0, 2, 0.0)], [(0, 1, 0.0)])
    ]
    both = supervised(make_batch(plan, [3], weigh={"boost": [(0, 1, 4.0)]}), time=0).token
    assert both.item() == pytest.approx((4 * plain[0].item() + plain[1].item()) / 5, rel=1e-5)


def test_stage_moves_the_token_loss_and_the_weigh_rules() -> None:
    """At half of the ramp 0 -> 1 the token loss counts half; the factor 4 acts as 1 + 0.5 x 3 = 2.5."""
    ramps = {"token_loss": make_ramp(0.0, 1.0), "factors": {"boost": make_ramp(0.0, 1.0)}}
    plan = make_plan(make_weigh(), stages=(make_stage("a", 0.0, 1.0, **ramps),))
    supervised = supervise(make_model("gpt2"), plan)
    out = supervised(make_batch(plan, [3], weigh={"boost": [(0, 1, 4.0)]}), time=0.5)
    same = supervised(make_batch(plan, [3], weigh={"boost": [(0, 1, 2.5)]}), time=1.0)
    assert out.loss.item() == pytest.approx(out.token.item() / 2)
    assert out.token.item() == pytest.approx(same.token.item(), rel=1e-5)


def test_no_token_with_weight_gives_a_zero() -> None:
    plan = make_plan(make_weigh())
    out = supervise(make_model("gpt2"), plan)(make_batch(plan, [2], weigh={"boost": [(0, 1, 0.0)]}), time=0)
    out.loss.backward()
    assert out.loss.item() == 0
