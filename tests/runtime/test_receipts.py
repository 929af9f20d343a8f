"""Receipts: what each rule did, and when a rule is dead."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from mcd.dsl.diagnostics import Failure
from mcd.dsl.source import DataPlace
from mcd.runtime.supervise import supervise

from .builders import (
    make_anchors,
    make_attend,
    make_batch,
    make_model,
    make_plan,
    make_ramp,
    make_stage,
    make_toward,
    make_weigh,
)

PLAN = make_plan(make_attend("look"), make_toward("axis"), make_weigh("boost"))
EMPTY = make_batch(PLAN, [6, 6])
FULL = make_batch(
    PLAN, [6, 6], {"look": [(0, 3, [1]), (1, 2, [0]), (1, 4, [2])], "axis": [(0, [1])]}, weigh={"boost": [(0, 2, 4.0)]}
)


def test_receipts_count_steps_rows_and_losses() -> None:
    """Three rows of `look` in each of two passes, one of `axis`; a `weigh` rule has rows and no loss."""
    supervised = supervise(make_model("gpt2"), PLAN, anchors=make_anchors())
    first, second = supervised(FULL, time=0), supervised(FULL, time=0)
    look, axis, boost = supervised.receipts.all()
    assert (look.rule, look.steps, look.rows, look.fired) == ("look", 2, 6, True)
    assert (axis.rows, boost.rows, boost.last_loss, boost.mean_loss) == (2, 2, None, None)
    assert look.last_loss == pytest.approx(second.rules["look"].item())
    assert look.mean_loss == pytest.approx((first.rules["look"].item() + second.rules["look"].item()) / 2)
    assert second.rows == {"look": 3, "axis": 1, "boost": 1}
    assert set(supervised.receipts) == {"look", "axis", "boost"}


def test_mean_loss_is_over_rows_whatever_the_micro_batches() -> None:
    """Passes with 3 rows and 1 row: (3 x mean of the first + the one) / 4."""
    supervised = supervise(make_model("gpt2"), PLAN, anchors=make_anchors())
    one = make_batch(PLAN, [6, 6], {"look": [(0, 5, [1])]})
    a, b = (supervised(batch, time=0).rules["look"].item() for batch in (FULL, one))
    assert supervised.receipts["look"].mean_loss == pytest.approx((3 * a + b) / 4)


def test_evaluation_leaves_no_receipt() -> None:
    supervised = supervise(make_model("gpt2"), PLAN, anchors=make_anchors()).eval()
    supervised(FULL, time=0)
    assert supervised.receipts["look"].steps == 0


def test_rule_without_a_promised_row_stops_the_run() -> None:
    """40 rows promised in 8 records, 2 records a pass: 10, then 20, which is when their absence means something."""
    supervised = supervise(
        make_model("gpt2"), PLAN, anchors=make_anchors(), expected={"look": 40, "axis": 19}, records=8
    )
    supervised(EMPTY, time=0)
    with pytest.raises(Failure) as failure:
        supervised(EMPTY, time=0)
    (found,) = failure.value.diagnostics
    assert found.code.id == "MCD706"
    assert (
        found.message == "rule `look` is dead: no row of it came in 4 records, for which the manifest promises about 20"
    )
    assert found.place == DataPlace("a.mcd", 3)


def test_rule_whose_rows_came_is_alive_for_good() -> None:
    supervised = supervise(make_model("gpt2"), PLAN, anchors=make_anchors(), expected={"look": 400}, records=8)
    for batch in (FULL, EMPTY, EMPTY, EMPTY, EMPTY):
        supervised(batch, time=0)
    supervised.receipts.check()


def test_promise_does_not_grow_beyond_the_split() -> None:
    """19 rows promised in 2 records are never 20, however often the data is read."""
    supervised = supervise(make_model("gpt2"), PLAN, anchors=make_anchors(), expected={"look": 19}, records=2)
    for _ in range(3):
        supervised(EMPTY, time=0)


def test_satisfied_bound_and_silent_rule_are_no_error() -> None:
    """A hinge whose bound holds costs 0; a rule that its stage silences is still reported, and has no gradient."""
    stage = make_stage("a", 0.0, 1.0, factors={"axis": make_ramp(0.0)})
    plan = make_plan(make_attend("look", loss="hinge", mass=1e-9), make_toward("axis"), stages=(stage,))
    batch = make_batch(plan, [6], {"look": [(0, 3, [1])], "axis": [(0, [1])]})
    supervised = supervise(
        make_model("gpt2"), plan, anchors=make_anchors(), expected={"look": 20, "axis": 20}, records=1
    )
    out = supervised(batch, time=0.5)
    assert supervised.receipts["look"].last_loss == 0
    assert supervised.receipts["axis"].last_loss == pytest.approx(out.rules["axis"].item())
    assert out.rules["axis"].item() > 0
    assert not torch.equal(out.loss, out.token + out.rules["axis"]) and torch.equal(out.loss, out.token)
    assert supervised.gradient_norms(out)["axis"] == 0


@pytest.mark.parametrize("kind", ["attention", "hidden"])
def test_hook_that_does_not_fire_stops_the_run(kind: str) -> None:
    """A block that computes nothing of its own: its attention is never run, or the block itself is not."""
    plan = make_plan(make_attend("rule")) if kind == "attention" else make_plan(make_toward("rule"))
    model = make_model("gpt2")
    supervised = supervise(model, plan, anchors=make_anchors())
    if kind == "attention":
        model.transformer.h[1].forward = lambda x, *_, **__: x
    else:
        del model.transformer.h[1]
    with pytest.raises(Failure, match="MCD706 rule `rule` is dead: the model never computed what it reads"):
        supervised(make_batch(plan, [4]), time=0)
    with pytest.raises(Failure, match="MCD706"):
        supervised.eval()(make_batch(plan, [4]), time=0)


# --- what acted --------------------------------------------------------------------------------------------------------


def test_passes_in_which_a_rule_acted() -> None:
    """Three passes: with rows; without; with rows while `axis` is silenced. A pass without gradients acts on nothing."""
    stages = (make_stage("a", 0.0, 0.5), make_stage("b", 0.5, 1.0, only=("look",)))
    plan = make_plan(*PLAN.rules, stages=stages)
    supervised = supervise(make_model("gpt2"), plan, anchors=make_anchors())
    for batch, time in ((FULL, 0.0), (EMPTY, 0.0), (FULL, 0.9)):
        supervised(batch, time=time).loss.backward()
    with torch.no_grad():
        supervised(FULL, time=0.0)
    found = {each.rule: (each.steps, each.seen, each.acted, each.detached) for each in supervised.receipts.all()}
    assert found == {"look": (4, 3, 2, 0), "axis": (4, 3, 1, 0), "boost": (4, 3, 1, 0)}


def test_rule_that_reaches_nothing_trained_stops_the_run() -> None:
    """Everything at or below what `axis` reads is frozen by the user: it would change nothing, and say so nowhere."""
    plan = make_plan(make_toward("axis", layers=(1,)))
    model = make_model("gpt2")
    for part in (model.transformer.wte, model.transformer.wpe, model.transformer.h[0]):
        part.requires_grad_(False)
    supervised = supervise(model, plan, anchors=make_anchors())
    with pytest.raises(Failure) as failure:
        supervised(make_batch(plan, [6], {"axis": [(0, [1])]}), time=0.0)
    (found,) = failure.value.diagnostics
    assert (found.code.id, found.place) == ("MCD725", DataPlace("a.mcd", 3))
    assert found.message == "the loss of rule `axis`, which reads layer 1, reaches no parameter that is trained"
    assert supervised.receipts["axis"].detached == 1
    assert supervised.eval()(make_batch(plan, [6], {"axis": [(0, [1])]}), time=0.0).rules["axis"] > 0


def test_rule_that_its_stage_cuts_off_is_counted() -> None:
    plan = make_plan(make_toward("axis", layers=(1,)), stages=(make_stage("top", 0.0, 1.0, train=(3,)),))
    supervised = supervise(make_model("llama"), plan, anchors=make_anchors())
    supervised(make_batch(plan, [6], {"axis": [(0, [1])]}), time=0.0)
    found = supervised.receipts["axis"]
    assert (found.seen, found.acted, found.detached) == (1, 0, 1)


def test_receipts_go_on_where_they_were_saved() -> None:
    """Plain values through JSON: two passes and a third are three passes; and a promise that was kept is not asked for again."""

    def begun() -> Any:
        return supervise(make_model("gpt2"), PLAN, anchors=make_anchors(), expected={"look": 40}, records=8)

    whole, first, second = begun(), begun(), begun()
    for _ in range(2):
        whole(FULL, time=0), first(FULL, time=0)
    second.receipts.load_state_dict(json.loads(json.dumps(first.receipts.state_dict())))
    assert second.receipts.all() == first.receipts.all()
    assert whole(EMPTY, time=0).loss == second(EMPTY, time=0).loss
    assert second.receipts.all() == whole.receipts.all()
    assert (second.receipts["look"].steps, second.receipts["look"].seen) == (3, 2)
    assert whole.receipts.of_all_ranks() == whole.receipts.all()


def test_receipts_of_other_rules_are_refused() -> None:
    state = supervise(make_model("gpt2"), make_plan(make_attend("other"))).receipts.state_dict()
    supervised = supervise(make_model("gpt2"), PLAN, anchors=make_anchors())
    with pytest.raises(
        Failure, match="MCD726 the receipts are of the rules `other`, the plan has `look`, `axis`, `boost`"
    ):
        supervised.receipts.load_state_dict(state)
