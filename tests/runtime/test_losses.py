"""Each loss on numbers worked out by hand, and how rows, records, layers and heads are averaged."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mcd.runtime.attention import Observed
from mcd.runtime.batch import AttendRows, Batch
from mcd.runtime.capture import Captured
from mcd.runtime.groups import AttendGroup, group_rules
from mcd.runtime.losses import ATTENTION, RELATE, TOWARD
from mcd.runtime.losses.classify import classify
from mcd.runtime.losses.contrast import contrast
from mcd.runtime.losses.distil import distil
from mcd.runtime.losses.like import like
from mcd.runtime.losses.predict import predict
from mcd.runtime.losses.rows import KeyRows
from mcd.runtime.losses.token import token_losses
from mcd.runtime.probes import Probes
from mcd.runtime.supervise import supervise
from mcd.runtime.terms import AttendTerm, by_rule, hidden_term, pool

from .builders import (
    make_anchors,
    make_attend,
    make_batch,
    make_contrast,
    make_like,
    make_model,
    make_plan,
    make_toward,
)

P = [0.5, 0.25, 0.125, 0.125]
KL = ATTENTION["kl"]


def make_rows(p: list[float], keys: list[int], mass: float = 1.0) -> KeyRows:
    wanted = torch.zeros(1, 1, 1, len(p), dtype=torch.bool)
    wanted[..., keys] = True
    allowed = torch.tensor(p) > 0
    return KeyRows(
        torch.tensor(p).clamp(min=1e-30).log().view(1, 1, 1, -1),
        wanted & allowed,
        ~wanted & allowed,
        torch.full((1, 1, 1), mass),
    )


@pytest.mark.parametrize(
    ("name", "keys", "mass", "expected"),
    [
        ("nll", [1, 2], 1.0, 0.980829),
        ("hinge", [1, 2], 0.6, 0.470004),
        ("hinge", [1, 2], 0.3, 0.0),
        ("avoid", [1, 2], 0.2, 0.246860),
        ("avoid", [1, 2], 0.4, 0.0),
        ("avoid", [1, 2], 0.0, 0.470004),
        ("kl", [1, 2], 1.0, 1.039721),
        ("kl", [0], 1.0, 0.693147),
    ],
)
def test_attention_loss_of_one_row(name: str, keys: list[int], mass: float, expected: float) -> None:
    """Attention 1/2, 1/4, 1/8, 1/8; keys 1 and 2 hold p = 3/8.

    nll: -ln 3/8 = 0.980829. hinge: ln(0.6 / 0.375) = ln 1.6 = 0.470004; with mass 0.3 the bound holds: 0.
    avoid: ln(0.8 / 0.625) = ln 1.28 = 0.246860; with mass 0.4 it holds; with none allowed, -ln 5/8 = 0.470004.
    kl: 1/2 ln(1/2 : 1/4) + 1/2 ln(1/2 : 1/8) = 1.5 ln 2 = 1.039721; of one key it is its nll, ln 2.
    """
    assert ATTENTION[name](make_rows(P, keys, mass)).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e37])
def test_kl_takes_its_target_from_weights(scale: float) -> None:
    """Attention 1/2, 1/4, 1/8, 1/8; keys 1 and 2 with weights 3 and 1: t = (3/4, 1/4), whatever the scale of the weights.

    3/4 ln(3/4 : 1/4) + 1/4 ln(1/4 : 1/8) = 3/4 ln 3 + 1/4 ln 2 = 0.823959 + 0.173287 = 0.997246. Key 3 is masked: what is left of
    weights 3, 1 and 9 is the same. Equal weights are uniform: 1.5 ln 2.
    """
    rows = make_rows(P, [1, 2])
    for weights, expected in (([7, 3, 1, 9], 0.997246), ([1, 2, 2, 2], 1.039721)):
        weight = torch.tensor(weights).view(1, 1, 1, -1) * scale
        found = KL(KeyRows(rows.log_p, rows.keys, rows.rest, rows.mass, weight))
        assert found.item() == pytest.approx(expected, abs=1e-6)


def test_avoid_is_exact_where_almost_all_attention_is_on_the_keys() -> None:
    """1 - p = 1e-12 is lost in float32 when p is subtracted from 1; summed over the other keys it is not: -ln 1e-12 = 27.631."""
    assert ATTENTION["avoid"](make_rows([1.0, 1e-12], [0], 0.0)).item() == pytest.approx(27.631021, rel=1e-6)


@pytest.mark.parametrize("name", ["nll", "hinge", "kl", "avoid"])
def test_bound_that_no_attention_can_meet_costs_nothing_and_has_no_gradient(name: str) -> None:
    """The key is masked, or (avoid) it is all that can be seen."""
    rows = make_rows([1.0, 0.0], [0] if name == "avoid" else [1], 0.5)
    log_p = rows.log_p.clone().requires_grad_()
    loss = ATTENTION[name](KeyRows(log_p, rows.keys, rows.rest, rows.mass)).sum()
    loss.backward()
    assert loss.item() == 0
    assert log_p.grad is not None and not log_p.grad.any()


def make_observed(*heads: list[float]) -> Observed:
    """A layer whose last row attends as given: the keys are unit vectors, the query the logarithms of the probabilities."""
    p = torch.tensor(heads)
    length = p.shape[1]
    query = p.log()[None, :, None].expand(1, -1, length, -1).clone().requires_grad_()
    return Observed(query, torch.eye(length).expand(1, len(heads), -1, -1), 1.0, None, True)


def make_last_row(length: int, keys: list[int]) -> AttendRows:
    one = torch.ones(1, 1)
    zeros = torch.zeros(len(keys), dtype=torch.int64)
    return AttendRows(one.long() * (length - 1), one.bool(), one.long() * 0, one, zeros, zeros, torch.tensor(keys))


def attend(observed: dict[int, Observed], keys: list[int], **rule: Any) -> Tensor:
    term = AttendTerm(AttendGroup((make_attend(layers=tuple(observed), **rule),)))
    length = observed[1].query.shape[2]
    return term(make_last_row(length, keys), Captured(observed, {}), torch.ones(1, length))


@pytest.mark.parametrize(
    ("heads", "expected"), [("all", 1.039721), ("any", 0.693147), ("mean", 0.980829), ((1,), 1.386294)]
)
def test_heads(heads: Any, expected: float) -> None:
    """Head 0 places 1/2 on the key, head 1 places 1/4. all: (ln 2 + ln 4) / 2 = 1.039721; any: ln 2; mean: -ln 3/8; [1]: ln 4."""
    seen = make_observed([0.5, 0.5], [0.25, 0.75])
    assert attend({1: seen}, [0], heads=heads).item() == pytest.approx(expected, abs=1e-6)


def test_pairs_are_averaged_one_by_one() -> None:
    """Head 1 of layer 1 places 1/4, the heads of layer 2 place 1/2 and 1/8: (ln 4 + ln 2 + ln 8) / 3 = 2 ln 2 = 1.386294.

    Head 0 of layer 1 is not read. A mean of layers would give (ln 4 + (ln 2 + ln 8) / 2) / 2, which is the same here; with the
    pairs (1, 0), (1, 1), (2, 1) it is (ln 1 + ln 4 + ln 8) / 3 = 1.155245, and the mean of layers would be 1.386294.
    """
    seen = {1: make_observed([1.0, 1e-30], [0.25, 0.75]), 2: make_observed([0.5, 0.5], [0.125, 0.875])}
    assert attend(seen, [0], pairs=((1, 1), (2, 0), (2, 1))).item() == pytest.approx(1.386294, abs=1e-6)
    assert attend(seen, [0], pairs=((1, 0), (1, 1), (2, 1))).item() == pytest.approx(1.155245, abs=1e-6)


def test_any_picks_over_all_layers_and_has_no_gradient_elsewhere() -> None:
    """Layer 2, head 1 places most (0.75): -ln 0.75 = 0.287682; its gradient alone is not zero."""
    seen = {1: make_observed([0.5, 0.5], [0.25, 0.75]), 2: make_observed([0.1, 0.9], [0.75, 0.25])}
    loss = attend(seen, [0], heads="any")
    loss.sum().backward()
    assert loss.item() == pytest.approx(0.287682, abs=1e-6)
    assert [[bool(head.any()) for head in layer.query.grad[0]] for layer in seen.values()] == [
        [False, False],
        [False, True],
    ]


def test_any_takes_the_lowest_on_a_tie() -> None:
    seen = {1: make_observed([0.75, 0.25], [0.5, 0.5]), 2: make_observed([0.25, 0.75], [0.25, 0.75])}
    attend(seen, [1], heads="any").sum().backward()
    assert [bool(head.any()) for head in seen[2].query.grad[0]] == [True, False]


def test_hinge_of_each_head_and_of_their_mean_differ() -> None:
    """mass 0.5. Heads place 1/2 and 1/8: all: (0 + ln 4) / 2 = 0.693147; mean: p = 5/16, ln(0.5 / 0.3125) = ln 1.6 = 0.470004."""
    seen = {1: make_observed([0.5, 0.5], [0.125, 0.875])}
    assert attend(seen, [0], loss="hinge", mass=0.5).item() == pytest.approx(0.693147, abs=1e-6)
    assert attend(seen, [0], loss="hinge", mass=0.5, heads="mean").item() == pytest.approx(0.470004, abs=1e-6)


def test_more_layers_or_heads_do_not_change_a_rules_strength() -> None:
    """The same attention in 1, 2 or 3 layers and 1 or 4 heads gives the same loss, ln 2, under each choice of heads."""
    for layers in (1, 2, 3):
        for count in (1, 4):
            for heads in ("all", "any", "mean"):
                seen = {k + 1: make_observed(*[[0.5, 0.5]] * count) for k in range(layers)}
                assert attend(seen, [0], heads=heads).item() == pytest.approx(math.log(2), abs=1e-6)


def test_keys_of_a_query_are_one_set_unless_each_is_a_row() -> None:
    """Attention 1/4 and 1/8 on two keys. One set: -ln 3/8 = 0.980829. Each: (ln 4 + ln 8) / 2 = 1.732868."""
    seen = {1: make_observed([0.25, 0.125, 0.625])}
    assert attend(seen, [0, 1]).item() == pytest.approx(0.980829, abs=1e-6)
    each = [attend(seen, [key]).item() for key in (0, 1)]
    assert sum(each) / 2 == pytest.approx(1.732868, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "margin", "expected"),
    [("is_a", 0.9, 0.3), ("is_a", 0.5, 0.0), ("opposes", 0.3, 0.9), ("distinct", 0.2, 0.4), ("distinct", 0.7, 0.0)],
)
def test_relation_at_cosine_of_three_fifths(name: str, margin: float, expected: float) -> None:
    """cos = 0.6. is_a: 0.9 - 0.6; opposes: 0.6 + 0.3; distinct: 0.6 - 0.2; the others hold."""
    assert RELATE[name](torch.tensor([0.6]), torch.tensor([margin])).item() == pytest.approx(expected, abs=1e-6)


def test_distinct_counts_a_negative_cosine_as_well() -> None:
    """|-0.6| - 0.2 = 0.4; opposes is content: -0.6 + 0.3 < 0."""
    cos, margin = torch.tensor([-0.6]), torch.tensor([0.2])
    assert RELATE["distinct"](cos, margin).item() == pytest.approx(0.4)
    assert RELATE["opposes"](cos, torch.tensor([0.3])).item() == 0


@pytest.mark.parametrize(("margin", "expected"), [(1.0, 0.4), (0.8, 0.2), (0.5, 0.0)])
def test_like_compares_directions_of_offsets(margin: float, expected: float) -> None:
    """Offset (3, 4) and target (2, 0): cos = 6 / (5 x 2) = 0.6. 1 - 0.6 = 0.4; 0.8 - 0.6 = 0.2; 0.5 is met."""
    offset, target = torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0]])
    assert like(offset, target, torch.tensor([margin])).item() == pytest.approx(expected, abs=1e-6)


def test_like_of_states_and_anchors() -> None:
    """From states (1, 1) and (3, 1), mean (2, 1), to (2, 5): offset (0, 4). Anchors (1, 0) and (0, 1): target (-1, 1).

    cos = 4 / (4 sqrt 2) = 0.707107; the loss with margin 1 is 0.292893, and 0.592893 under the rule with margin 1.3; with the
    anchors the other way round 1 + 0.707107.
    """
    rules = [make_like("a"), make_like("b", margin=1.3), make_like("c", anchor="east", anchor_to="north")]
    plan = make_plan(*rules, hidden=2)
    rows = make_batch(plan, [4], {rule.id: [(0, [0, 1], [3])] for rule in rules}).hidden[0]
    vectors = {"north": torch.tensor([1.0, 0.0]), "east": torch.tensor([0.0, 1.0])}
    term = hidden_term(0, group_rules(plan).hidden[0], vectors, Probes((), 2), None)
    states = torch.tensor([[1.0, 1.0], [3.0, 1.0], [2.0, 5.0]] * 3)
    losses = term.loss(*term.at(1, rows, pool(rows, states))).tolist()
    assert losses == pytest.approx([0.292893, 0.592893, 1.707107], abs=1e-6)


def test_cosine_takes_raw_vectors_and_mse_the_mean_over_dimensions() -> None:
    """(3, 4) and (5, 0): cos = 15 / (5 x 5) = 0.6, loss 0.4; mse = ((3-5)^2 + 4^2) / 2 = 10. A zero vector has cosine 0."""
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[5.0, 0.0]])
    assert TOWARD["cosine"](a, b).item() == pytest.approx(0.4)
    assert TOWARD["mse"](a, b).item() == pytest.approx(10.0)
    assert TOWARD["cosine"](a * 0, b).item() == 1


def test_classify_is_cross_entropy_in_nats() -> None:
    """Logits (0, ln 3): the classes have 1/4 and 3/4; label 0 costs ln 4 = 1.386294."""
    assert classify(torch.tensor([[0.0, math.log(3)]]), torch.tensor([0])).item() == pytest.approx(1.386294, abs=1e-6)


def test_contrast_takes_the_mean_outside_of_the_logarithm() -> None:
    """exp(s) of the anchor is 4, 1 and 5 for the others, 10 in all; the first two are positives: -(ln 4/10 + ln 1/10) / 2 = ln 5
    = 1.609438. Inside of the logarithm it would be -ln((4 + 1) / 2 / 10) = ln 4."""
    s = torch.tensor([[9.0, math.log(4), 0.0, math.log(5)]])
    positive, others = torch.tensor([[False, True, True, False]]), torch.tensor([[False, True, True, True]])
    assert contrast(s, positive, others).item() == pytest.approx(1.609438, abs=1e-6)


def test_contrast_of_three_spans_of_which_two_are_equal() -> None:
    """cos ab = 0.6, ac = 0, bc = 0.8 at temperature 0.5, a and b equal: ln(1 + e^-1.2) = 0.263282 for a, ln(1 + e^0.4) = 0.913015
    for b. c has no positive, costs nothing, and is a negative of both. As 3 vectors of lengths 1, 2, 3 in the plane of a."""
    states = torch.tensor([[1.0, 0.0], [1.2, 1.6], [0.0, 3.0]], requires_grad=True)
    plan = make_plan(make_contrast(temperature=0.5))
    rows = make_batch(plan, [4], {"group": [(0, [1]), (0, [2]), (0, [3])]}, labels={"group": [7, 7, 8]}).hidden[0]
    term = supervise(make_model("gpt2"), plan).terms[0]
    losses = term.by_row(rows, term.loss(*term.at(2, rows, states)))
    assert losses.tolist() == pytest.approx([0.263282, 0.913015, 0.0], abs=1e-6)
    assert rows.share.tolist() == [1, 1, 0]


def test_contrast_without_a_positive_has_a_gradient_of_zero() -> None:
    states = torch.randn(2, 2, requires_grad=True)
    nobody = torch.zeros(2, 2, dtype=torch.bool)
    for others in (nobody, ~torch.eye(2, dtype=torch.bool)):
        loss = contrast(states @ states.T, nobody, others)
        assert loss.tolist() == [0, 0]
        assert not torch.autograd.grad(loss.sum(), states)[0].any()


def test_predict_is_cross_entropy_in_nats_in_float32() -> None:
    """Logits (0, ln 3, 0) in half precision: the tokens have 1/5, 3/5, 1/5; token 1 costs ln 5/3 = 0.510826."""
    loss = predict(torch.tensor([[0.0, math.log(3), 0.0]]).bfloat16(), torch.tensor([1]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.510826, abs=2e-3)


def test_distil_is_the_divergence_from_the_teacher_at_a_temperature() -> None:
    """p = (3/4, 1/4) at T = 1 and q = (1/2, 1/2): KL = 3/4 log(3/2) + 1/4 log(1/2) = 0.130812. At T = 2 the teacher's logits
    (2 log 3, 0) are p again, and the loss is 4 times that; the teacher itself is 0 away."""
    teacher = torch.tensor([[math.log(3), 0.0], [2 * math.log(3), 0.0], [5.0, 1.0]])
    logits = torch.tensor([[0.0, 0.0], [7.0, 7.0], [4.0, 0.0]])
    loss = distil(logits, teacher, torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(loss, torch.tensor([0.130812, 4 * 0.130812, 0.0]), rtol=1e-4, atol=1e-6)
    assert distil(logits.bfloat16(), teacher.bfloat16(), torch.ones(3)).dtype == torch.float32


def test_token_loss_predicts_from_the_row_before() -> None:
    """Rows give (1/4, 3/4), then (1/2, 1/2). Tokens 0, 1, 0: token 1 has p = 3/4, token 2 p = 1/2, the first has no loss.

    Weights 5 (ignored), 1, 3: -ln 3/4 + 3 ln 2 = 0.287682 + 2.079442 = 2.367124.
    """
    logits = torch.tensor([[[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]]]).log()
    losses = token_losses(logits, torch.tensor([[0, 1, 0]]))
    assert losses[0].tolist() == pytest.approx([0, 0.287682, 0.693147], abs=1e-6)
    assert (losses * torch.tensor([[5.0, 1.0, 3.0]])).sum().item() == pytest.approx(2.367124, abs=1e-6)


def test_token_loss_of_half_precision_logits_is_in_float32() -> None:
    logits = torch.randn(1, 5, 7).bfloat16()
    ids = torch.tensor([[1, 2, 3, 4, 5]])
    losses = token_losses(logits, ids)
    assert losses.dtype == torch.float32
    assert losses[0].tolist() == pytest.approx(token_losses(logits.double(), ids)[0].tolist(), rel=1e-6)


def make_two_records(per: str) -> tuple[Any, Batch]:
    plan = make_plan(make_toward(per=per))
    return plan, make_batch(plan, [4, 4], {"axis": [(0, [1]), (0, [2]), (0, [3]), (1, [2])]})


@pytest.mark.parametrize(("per", "expected"), [("row", 3.0), ("record", 4.0)])
def test_mean_over_rows_or_over_records_first(per: str, expected: float) -> None:
    """Rows of record 0 cost 1, 2, 3, the row of record 1 costs 6. Rows: 12 / 4 = 3; records first: (2 + 6) / 2 = 4."""
    plan, batch = make_two_records(per)
    term, rows = supervise(make_model("gpt2"), plan, anchors=make_anchors()).terms[0], batch.hidden[0]
    losses = torch.tensor([1.0, 2.0, 3.0, 6.0])
    mean = by_rule(term, rows, losses * rows.share) / by_rule(term, rows, rows.share)
    assert mean.item() == pytest.approx(expected)


def test_rules_of_a_group_are_averaged_apart() -> None:
    """Two rules in one group: rows 1, 3 of the first, 10 of the second: means 2 and 10."""
    plan = make_plan(make_toward("a"), make_toward("b", anchor="east"))
    rows = make_batch(plan, [4], {"a": [(0, [1]), (0, [3])], "b": [(0, [2])]}).hidden[0]
    term = supervise(make_model("gpt2"), plan, anchors=make_anchors()).terms[0]
    sums = by_rule(term, rows, torch.tensor([1.0, 3.0, 10.0]))
    assert (sums / by_rule(term, rows, rows.share)).tolist() == [2.0, 10.0]
