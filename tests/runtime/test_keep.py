"""`keep`, scores in `factor`, and the sum of weights that only a pass knows: numbers by hand, and the float64 reference."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mcd.compiler.plan import LiveTerm, MeasureTerm
from mcd.dsl.diagnostics import Failure
from mcd.runtime.batch import Batch
from mcd.runtime.groups import group_rules
from mcd.runtime.keep import how_many, kept_tokens
from mcd.runtime.losses.token import token_losses
from mcd.runtime.schedule import Multipliers, multipliers
from mcd.runtime.scores import evaluate, token_measures
from mcd.runtime.supervise import supervise
from mcd.runtime.supervised import Supervised
from mcd.runtime.totals import Reduction
from mcd.runtime.train import Sums
from mcd.runtime.weights import TokenWeights, Weighed

from .builders import (
    LIVE,
    make_anchors,
    make_batch,
    make_keep,
    make_model,
    make_plan,
    make_ramp,
    make_stage,
    make_toward,
    make_weigh,
)
from .reference import in_float64

REFERENCE = MeasureTerm(file="ref", column="loss")
NAN = math.nan


def kept(score: Any, ranked: Any = None, **values: Any) -> list[list[bool]]:
    score = torch.tensor(score)
    mask = torch.ones_like(score, dtype=torch.bool) if ranked is None else torch.tensor(ranked).bool()
    return kept_tokens(make_keep(**values), score, mask).int().tolist()


# --- ranks -----------------------------------------------------------------------------------------------------------


def test_top_and_bottom_keep_a_share_of_each_record() -> None:
    """Half of 4 is 2: the scores 3 and 2 from the top, 0 and 1 from the bottom."""
    score = [[3.0, 0.0, 1.0, 2.0], [0.0, 9.0, 8.0, 7.0]]
    assert kept(score) == [[1, 0, 0, 1], [0, 1, 1, 0]]
    assert kept(score, end="bottom") == [[0, 1, 1, 0], [1, 0, 0, 1]]


def test_a_batch_is_ranked_as_one() -> None:
    """Half of 8 tokens: 9, 8, 7 and 3."""
    assert kept([[3.0, 0.0, 1.0, 2.0], [0.0, 9.0, 8.0, 7.0]], per="batch") == [[1, 0, 0, 0], [0, 1, 1, 1]]


def test_of_equal_scores_the_earlier_token_goes_first() -> None:
    """Of 1, 1, 1, 0 and then 1 from either end; in a batch the earlier record goes first."""
    assert kept([[1.0, 1.0, 1.0, 0.0]]) == [[1, 1, 0, 0]]
    assert kept([[1.0, 1.0, 1.0, 2.0]], end="bottom") == [[1, 1, 0, 0]]
    assert kept([[0.0, 1.0], [1.0, 1.0]], per="batch") == [[0, 1], [1, 0]]


def test_only_ranked_tokens_count_and_are_kept() -> None:
    """Two tokens are ranked, half of them is one: the score 1, however high the others are."""
    assert kept([[9.0, 1.0, 0.0, 8.0]], [[0, 1, 1, 0]]) == [[0, 1, 0, 0]]
    assert kept([[9.0, 8.0]], [[0, 0]]) == [[0, 0]]
    assert kept([[-math.inf, 1.0, 2.0]], [[1, 0, 0]]) == [[1, 0, 0]]


def test_what_is_no_number_ranks_last_from_either_end() -> None:
    for end in ("top", "bottom"):
        assert kept([[NAN, 1.0, NAN, 2.0]], end=end) == [[0, 1, 0, 1]]
    assert kept([[NAN, NAN]]) == [[1, 0]]


@pytest.mark.parametrize(
    ("share", "count", "expected"),
    [(0.6, 5, 3), (0.5, 5, 3), (0.5, 1, 1), (0.01, 3, 1), (0.29, 50, 15), (0.29, 49, 14), (1.0, 7, 7), (0.5, 0, 1)],
)
def test_a_share_is_rounded_half_up_and_never_to_none(share: float, count: int, expected: int) -> None:
    """0.6 x 5 = 3; 0.5 x 5 = 2.5, so 3; 0.29 x 50 = 14.5, so 15, which floating point would make 14; 0.29 x 49 = 14.21."""
    assert how_many(share, torch.tensor(count)).item() == expected


def test_ranking_agrees_with_sorting_in_python() -> None:
    generator = torch.Generator().manual_seed(0)
    for per in ("record", "batch"):
        for end in ("top", "bottom"):
            score = torch.randint(0, 4, (5, 9), generator=generator).float()
            ranked = torch.rand(5, 9, generator=generator) < 0.7
            rule = make_keep(per=per, end=end, share=0.37)
            found = kept_tokens(rule, score, ranked)
            together = 5 if per == "batch" else 1
            groups = [[(b + i, t) for i in range(together) for t in range(9)] for b in range(0, 5, together)]
            for group in groups:
                mine = [(b, t) for b, t in group if ranked[b, t]]
                mine.sort(key=lambda at: score[at].item() * (-1 if end == "top" else 1))  # stable
                keep = mine[: max(1, math.floor(0.37 * len(mine) + 0.5))]
                assert {at for at in group if found[at]} == set(keep)


# --- weights ---------------------------------------------------------------------------------------------------------

ALL = [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]
LOSSES = torch.tensor([[0.0, 3.0, 1.0, 2.0], [0.0, 5.0, 4.0, 0.0]])


def weighed(*rules: Any, time: float = 0.0, losses: Tensor | None = LOSSES, stages: Any = (), **values: Any) -> Weighed:
    """The weights in records of 4 and 3 tokens whose losses are LOSSES; every `keep` ranks all of them."""
    plan = make_plan(*rules, stages=stages)
    keep = {rule.id: ALL for rule in plan.rules if rule.kind == "keep"} | values.pop("keep", {})
    batch = make_batch(plan, [4, 3], keep=keep, **values)
    return TokenWeights(group_rules(plan), token_measures(plan))(batch, multipliers(plan, time), losses)


def test_keep_gives_0_to_what_it_leaves_out() -> None:
    """Of 3, 1, 2 it keeps floor(1.5 + 1/2) = 2; of 5, 4 one."""
    found = weighed(make_keep())
    assert found.weights.tolist() == [[0, 1, 0, 1], [0, 1, 0, 0]]
    assert (found.ranked.tolist(), found.kept.tolist()) == ([5], [3])


def test_keep_ranks_what_weigh_left_a_weight() -> None:
    """The loss 3 weighs 0: of 1 and 2 the half is 2. The loss 5 weighs 4 and stays so."""
    found = weighed(make_weigh(), make_keep(), weigh={"boost": [(0, 1, 0.0), (1, 1, 4.0)]})
    assert found.weights.tolist() == [[0, 0, 0, 1], [0, 4, 0, 0]]
    assert (found.ranked.tolist(), found.kept.tolist()) == ([4], [2])


def test_two_keep_rules_rank_the_same_tokens_and_both_must_keep_one() -> None:
    """The highest two of 3, 1, 2 are 3 and 2, the lowest two 1 and 2: 2 is left. Of 5 and 4 each keeps another."""
    found = weighed(make_keep("a"), make_keep("b", end="bottom"))
    assert found.weights.tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    assert found.weights.equal(weighed(make_keep("b", end="bottom"), make_keep("a")).weights)


def test_the_multiplier_of_a_keep_scales_what_it_takes_away() -> None:
    """At 1/4 a token that is left out weighs 1 + (0 - 1) / 4 = 3/4; at 2 it would weigh -1, and weighs 0."""
    for ramp, left in ((0.25, 0.75), (0.0, 1.0), (2.0, 0.0)):
        stage = make_stage("a", 0.0, 1.0, factors={"hard": make_ramp(ramp)})
        found = weighed(make_keep(), stages=(stage,))
        assert found.weights.tolist() == [[0, 1, left, 1], [0, 1, left, 0]]
        assert found.kept.tolist() == [3]


def test_a_set_limits_what_is_ranked_and_the_rest_is_left_alone() -> None:
    """Ranked are the losses 1 and 2 of the first record: 1 goes."""
    found = weighed(make_keep(), keep={"hard": [(0, 2), (0, 3)]})
    assert found.weights.tolist() == [[0, 1, 0, 1], [0, 1, 1, 0]]


def test_a_factor_may_be_a_score_and_is_at_least_0() -> None:
    """loss - 2: 1, -1 and so 0, 0; 3, 2. Tokens outside the set keep their weight."""
    rule = make_weigh(factor=None, score=(LIVE, 2.0, "-"))
    rows = [(b, t, 1.0) for b, t in ALL if (b, t) != (1, 2)]
    found = weighed(rule, weigh={"boost": rows})
    assert found.weights.tolist() == [[0, 1, 0, 0], [0, 3, 1, 0]]


def test_a_score_times_the_0_of_what_is_outside_is_0() -> None:
    """`only`: entries outside the set have factor 0, whatever the score; a score that is no finite number counts as 0."""
    rule = make_weigh(factor=None, score=(1.0, LIVE, "/"), only=True)
    rows = [(0, 1, 1.0), (0, 2, 0.0), (0, 3, 1.0), (1, 1, 1.0)]
    losses = torch.tensor([[0.0, 0.5, 0.0, 0.0], [0.0, NAN, 4.0, 0.0]])
    assert weighed(rule, weigh={"boost": rows}, losses=losses).weights.tolist() == [[0, 2, 0, 0], [0, 0, 1, 0]]


def test_the_multiplier_of_a_score_is_that_of_a_factor() -> None:
    """Loss 3 at 1/2: 1 + (3 - 1) / 2 = 2; loss 1: 1; loss 2: 1.5."""
    stage = make_stage("a", 0.0, 1.0, factors={"boost": make_ramp(0.5)})
    rule = make_weigh(factor=None, score=(LIVE,))
    found = weighed(rule, stages=(stage,), weigh={"boost": [(0, 1, 1.0), (0, 2, 1.0), (0, 3, 1.0)]})
    assert found.weights[0].tolist() == [0, 2, 1, 1.5]


def test_measures_come_with_the_batch() -> None:
    """loss - measure: 3 - 3, 1 - 0, 2 - 2: of 0, 1, 0 two are kept, the 1 and the first 0; of 5 - 5 and 4 - 0 the 4."""
    measures = torch.tensor([[[NAN, 3.0, 0.0, 2.0], [NAN, 5.0, 0.0, NAN]]])
    found = weighed(make_keep(score=(LIVE, REFERENCE, "-")), measures=measures)
    assert found.weights.tolist() == [[0, 1, 1, 0], [0, 0, 1, 0]]


def test_a_score_is_read_in_postfix_order() -> None:
    """(2 - 3) x 4 / 8 = -1/2."""
    assert evaluate((2.0, LIVE, "-", 4.0, "*", 8.0, "/"), lambda term: torch.tensor(3.0)).item() == -0.5


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([make_keep()], True),
        ([make_keep("a"), make_keep("b")], False),
        ([make_weigh(), make_keep()], False),
        ([make_weigh(), make_keep(score=(REFERENCE,))], True),
        ([make_weigh(factor=None, score=(LIVE,))], False),
        ([make_weigh(factor=None, score=(REFERENCE,))], True),
    ],
)
def test_when_the_sum_of_weights_is_known_before_a_pass(rules: list[Any], expected: bool) -> None:
    plan = make_plan(*rules)
    weights = TokenWeights(group_rules(plan), token_measures(plan))
    assert weights.foreseen(multipliers(plan, 0.0)) == expected
    assert weights.foreseen(Multipliers(1.0, {rule.id: 0.0 for rule in rules}))


@pytest.mark.parametrize("per", ["record", "batch"])
def test_the_sum_that_is_foreseen_is_the_one_that_comes(per: str) -> None:
    """Without losses the tokens that are kept are others, and as many: 5 - 0.3 x 2 or 5 - 0.3 x 2, since 2.5 rounds to 3."""
    stage = make_stage("a", 0.0, 1.0, factors={"hard": make_ramp(0.3)})
    sums = [weighed(make_keep(per=per), stages=(stage,), losses=each).weights.sum().item() for each in (None, LOSSES)]
    assert sums == pytest.approx([4.4, 4.4])


# --- the token loss --------------------------------------------------------------------------------------------------

LENGTHS = [9, 6, 5, 8, 3, 7, 4, 9]


def every_token(lengths: list[int]) -> list[tuple[int, int]]:
    return [(record, at) for record, length in enumerate(lengths) for at in range(1, length)]


def make_given(plan: Any, lengths: list[int], measures: Tensor | None = None) -> Batch:
    """A batch in which every rule on the token loss reads every token."""
    rows = every_token(lengths)
    weigh = {rule.id: [(*row, 1.0) for row in rows] for rule in plan.rules if rule.kind == "weigh"}
    keep = {rule.id: rows for rule in plan.rules if rule.kind == "keep"}
    toward = {"axis": [(record, [1]) for record in range(len(lengths))]}
    return make_batch(plan, lengths, toward, weigh=weigh, keep=keep, measures=measures)


def part_of(plan: Any, whole: Batch, first: int, last: int) -> Batch:
    """The batch of some of its records alone, with the same tokens."""
    part = make_given(plan, LENGTHS[first:last])
    ids = whole.input_ids[first:last, : max(LENGTHS[first:last])]
    return Batch(**{**{name: getattr(part, name) for name in part.__slots__}, "input_ids": ids})


def gradients(supervised: Supervised, batches: list[Batch]) -> tuple[Sums, list[Tensor]]:
    supervised.zero_grad()
    totals = supervised.totals(batches, 0.0)

    def passed(batch: Batch) -> Any:
        out = supervised(batch, time=0.0, totals=totals)
        out.loss.backward()
        return out

    sums = Sums.of(passed(batch) for batch in batches)
    return sums, [p.grad.clone() for p in supervised.parameters() if p.grad is not None]


LIVE_RULES = {
    "a factor": [make_weigh(factor=None, score=(2.0, LIVE, 1.0, "+", "/"))],
    "a keep": [make_keep(share=0.6)],
    "two keeps": [make_keep("a", share=0.8), make_keep("b", share=0.8, end="bottom")],
    "a factor and a keep": [make_weigh(factor=None, score=(LIVE, 3.0, "-")), make_keep(share=0.4)],
}


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("case", LIVE_RULES)
def test_four_micro_batches_are_one_batch_under_live_weights(kind: str, case: str) -> None:
    plan = make_plan(*LIVE_RULES[case], make_toward())
    supervised = supervise(make_model(kind), plan, anchors=make_anchors())
    whole = make_given(plan, LENGTHS)
    one, expected = gradients(supervised, [whole])
    four, found = gradients(supervised, [part_of(plan, whole, at, at + 2) for at in range(0, 8, 2)])
    assert four.token.item() == pytest.approx(one.token.item(), rel=1e-5)
    assert four.loss.item() == pytest.approx(one.loss.item(), rel=1e-5)
    assert (four.ranked.tolist(), four.kept.tolist()) == (one.ranked.tolist(), one.kept.tolist())
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_dropout_draws_the_same_in_the_pass_that_counts_and_in_the_one_that_trains() -> None:
    """The sum of weights that was counted first is that of the weights that the passes then have; a pass more has others."""
    plan = make_plan(make_weigh(factor=None, score=(LIVE,)))
    supervised = supervise(make_model("gpt2", resid_pdrop=0.3, embd_pdrop=0.3), plan).train()
    whole = make_given(plan, LENGTHS)
    batches = [part_of(plan, whole, at, at + 2) for at in range(0, 8, 2)]
    torch.manual_seed(5)
    totals = supervised.totals(batches, 0.0)
    logits = [supervised(batch, time=0.0, totals=totals).logits for batch in batches]
    losses = [token_losses(each, batch.input_ids)[batch.scored] for each, batch in zip(logits, batches, strict=True)]
    assert totals.tokens is not None
    assert totals.tokens.item() == pytest.approx(torch.cat(losses).sum().item(), rel=1e-5)
    once = supervised(batches[0], time=0.0, totals=totals).token.item()
    assert once != supervised(batches[0], time=0.0, totals=totals).token.item()


def test_a_keep_per_batch_is_one_per_micro_batch() -> None:
    """What the reference says: other micro-batches keep other tokens."""
    plan = make_plan(make_keep(per="batch", share=0.2))
    supervised = supervise(make_model("gpt2"), plan)
    whole = make_given(plan, LENGTHS)
    one, _ = gradients(supervised, [whole])
    four, _ = gradients(supervised, [part_of(plan, whole, at, at + 2) for at in range(0, 8, 2)])
    assert four.ranked.tolist() == one.ranked.tolist() == [43]
    assert one.kept.tolist() == [9]  # floor(0.2 x 43 + 1/2)
    assert four.kept.tolist() == [3 + 2 + 2 + 2]  # of 13, 11, 8, 11
    assert four.token.item() != pytest.approx(one.token.item(), rel=1e-3)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_live_weights_agree_with_the_reference_and_carry_no_gradient(kind: str) -> None:
    """sum(w l) / sum(w) in float64, with w = 1 / (1 + l) where l less the measure is among the upper half of its record.

    The weights are constants to the gradient.
    """
    lengths = [9, 6]
    plan = make_plan(
        make_weigh(factor=None, score=(1.0, 1.0, LIVE, "+", "/")), make_keep(score=(LIVE, REFERENCE, "-"), share=0.5)
    )
    measures = torch.rand(1, 2, 9, generator=torch.Generator().manual_seed(1)) * 4
    batch = make_given(plan, lengths, measures)
    model = make_model(kind)
    supervised = supervise(model, plan)
    out = supervised(batch, time=0.0)
    twin = in_float64(model)
    expected = _naive(twin, batch, lengths, measures[0].double())
    assert out.token.item() == pytest.approx(expected.item(), rel=1e-5)
    ours = torch.autograd.grad(out.loss, list(model.parameters()))
    theirs = torch.autograd.grad(expected, list(twin.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        assert (a.double() - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max()))


def _naive(twin: nn.Module, batch: Batch, lengths: list[int], measure: Tensor) -> Tensor:
    logits = twin(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    terms, total = [], 0.0
    for b, length in enumerate(lengths):
        losses = [-torch.log_softmax(logits[b, t - 1], 0)[batch.input_ids[b, t]] for t in range(1, length)]
        scores = [loss.item() - measure[b, t].item() for t, loss in enumerate(losses, 1)]
        order = sorted(range(len(scores)), key=lambda i: -scores[i])[: math.floor(0.5 * len(scores) + 0.5)]
        for i in order:
            weight = 1 / (1 + losses[i].item())
            terms.append(weight * losses[i])
            total += weight
    return torch.stack(terms).sum() / total


def test_ranks_share_the_sum_that_a_pass_finds() -> None:
    """Three ranks with the same batch: a third of the loss each, and the loss for the gradient three times that."""
    plan = make_plan(make_weigh(factor=None, score=(LIVE,)))
    supervised = supervise(make_model("gpt2"), plan)
    batch = make_given(plan, LENGTHS)
    alone = supervised(batch, time=0.0)
    totals = supervised.totals([batch], 0.0, reduce=Reduction(lambda tensor: 3 * tensor, 3))
    shared = supervised(batch, time=0.0, totals=totals)
    assert totals.tokens is None
    assert shared.token.item() == pytest.approx(alone.token.item() / 3, rel=1e-5)
    assert shared.loss.item() == pytest.approx(alone.loss.item(), rel=1e-5)


def test_receipts_count_what_was_ranked_and_kept() -> None:
    plan = make_plan(make_weigh(), make_keep(share=0.25))
    supervised = supervise(make_model("gpt2"), plan).train()
    batch = make_given(plan, LENGTHS)
    for _ in range(2):
        supervised(batch, time=0.0)
    receipt = supervised.receipts["hard"]
    assert (receipt.rows, receipt.ranked, receipt.last_loss) == (86, 86, None)
    assert receipt.kept == 2 * (2 + 1 + 1 + 2 + 1 + 2 + 1 + 2)  # a quarter of 8, 5, 4, 7, 2, 6, 3, 8
    assert (supervised.receipts["boost"].ranked, supervised.receipts["boost"].rows) == (None, 86)


def test_a_keep_without_a_row_is_dead() -> None:
    plan = make_plan(make_keep())
    supervised = supervise(make_model("gpt2"), plan, expected={"hard": 30}, records=2).train()
    with pytest.raises(Failure, match="MCD706 rule `hard` is dead"):
        supervised(make_batch(plan, [4, 3]), time=0.0)


def test_terms_are_told_apart_when_a_plan_is_read() -> None:
    plan = make_plan(make_keep(score=(LIVE, REFERENCE, "-", 2.0, "*")))
    again = type(plan).model_validate_json(plan.model_dump_json())
    assert again == plan
    assert [type(term) for term in again.rules[0].score] == [LiveTerm, MeasureTerm, str, float, str]
