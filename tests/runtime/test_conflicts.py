"""`conflicts = project`, `scale` and `stop` against gradients in float64, and the step that a projection belongs to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mcd.compiler.plan import GradientPlan, Plan
from mcd.dsl.diagnostics import Failure
from mcd.runtime.batch import Batch
from mcd.runtime.conflicts import Conflicts
from mcd.runtime.supervise import supervise
from mcd.runtime.supervised import Supervised
from mcd.runtime.totals import Totals

from .apart import agree, gradients, projected, tied
from .builders import (
    SPREAD,
    make_anchors,
    make_attend,
    make_batch,
    make_classify,
    make_model,
    make_plan,
    make_predict,
    make_toward,
)

RULES = (
    make_predict("early", layers=(2,), weight=0.1),
    make_attend("shun", layers=(3,), heads=(1,), avoid=True, loss="hinge", weight=20.0),
    make_attend("look", layers=(3,), heads=(1,), weight=20.0),
    make_toward("axis", layers=(1,), weight=0.1),
)
ROWS: dict[str, list[Any]] = {"early": SPREAD, "axis": SPREAD, "look": [(0, 8, [3])], "shun": [(0, 8, [3])]}
"""-log p and -log(1 - p) of one row and head have gradients in opposite directions, and outweigh the rest: of the plans with the
one and with the other, the token loss disagrees with one."""


def make_given(which: str, **gradient: Any) -> tuple[Plan, Batch]:
    """Two records under all rules but `look`, or all but `shun`."""
    other = {"look": "shun", "shun": "look"}[which]
    plan = make_plan(*(rule for rule in RULES if rule.id != other), gradient=GradientPlan(**gradient))
    return plan, make_batch(plan, [9, 6], ROWS, labels={"early": [3, 1, 4, 1]})


def reference(model: nn.Module, plan: Plan, batch: Batch) -> list[dict[str, Tensor]]:
    return [tied(model, each) for each in gradients(model, plan, batch, anchors=make_anchors())]


# --- against the reference -------------------------------------------------------------------------------------------

CASES: dict[str, dict[str, Any]] = {
    "project": {},
    "scale": {"scale": ((0, 0.1), (2, 0.0), (3, 3.0), ("final", 0.1))},
    "stop": {"stop": (1,)},
    "stop at both ends": {"stop": (0, 3)},
    "everything": {"scale": ((1, 0.5), (2, 0.25)), "stop": (2,)},
}


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_step_agrees_with_the_reference(kind: str, case: str, checkpointing: bool) -> None:
    """GPT-2's head is its embedding."""
    opposed = 0
    for which in ("look", "shun"):
        plan, batch = make_given(which, conflicts="project", **CASES[case])
        model = make_model(kind)
        assert (model.lm_head.weight is model.get_input_embeddings().weight) == (kind == "gpt2")
        whole, cosine = projected(*reference(model, plan, batch))
        if checkpointing:
            model.gradient_checkpointing_enable()
        supervised = supervise(model, plan, anchors=make_anchors()).train()
        supervised(batch, time=0.0).loss.backward()
        agree(model, whole)
        found = supervised.flow.receipt().conflict
        assert found is not None and (found.steps, found.opposed) == (1, cosine < 0)
        assert found.cosine == pytest.approx(cosine, abs=1e-5)
        opposed += found.opposed
    # With a stop at the last layer both reach the norm and the head alone, where `early` agrees.
    assert opposed == (0 if case == "stop at both ends" else 1)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("case", CASES)
def test_sum_agrees_with_the_reference(kind: str, case: str) -> None:
    plan, batch = make_given("shun", **CASES[case])
    model = make_model(kind)
    token, rules = reference(model, plan, batch)
    supervised = supervise(model, plan, anchors=make_anchors()).train()
    supervised(batch, time=0.0).loss.backward()
    agree(model, {name: token[name] + rules[name] for name in token})
    assert supervised.flow.receipt().conflict is None


def test_frozen_parameters_take_no_part() -> None:
    plan, batch = make_given("look", conflicts="project", scale=((1, 0.5),))
    model = make_model("llama")
    both = gradients(model, plan, batch, anchors=make_anchors())
    for name, parameter in model.named_parameters():
        if "layers.0" in name or "norm" in name:
            parameter.requires_grad_(False)
            for each in both:
                each[name] = torch.zeros_like(each[name])
    supervise(model, plan, anchors=make_anchors())(batch, time=0.0).loss.backward()
    agree(model, projected(*both)[0])
    assert all((p.grad is None) == (not p.requires_grad) for p in model.parameters())


@pytest.mark.parametrize("which", ["look", "shun"])
def test_bfloat16_is_projected_in_float32(which: str) -> None:
    """Against the projection, in float64, of what the same model gives for the two losses: one rounding to 8 bits is left."""
    plan, batch = make_given(which, conflicts="project", scale=((0, 0.5),))
    model = make_model("llama").bfloat16()
    supervised = supervise(model, plan, anchors=make_anchors())
    names, parameters = zip(*model.named_parameters(), strict=True)
    out = supervised(batch, time=0.0)
    rules = sum(loss * factor for loss, factor in zip(out.values, out.factors, strict=True))
    both = [torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) for loss in (out.token, rules)]
    apart = [
        {
            n: torch.zeros_like(p).double() if g is None else g.double()
            for n, p, g in zip(names, parameters, of, strict=True)
        }
        for of in both
    ]
    whole, _ = projected(*apart)
    out.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == torch.bfloat16
        torch.testing.assert_close(parameter.grad.double(), whole[name], rtol=2**-7, atol=1e-4)


# --- by hand ---------------------------------------------------------------------------------------------------------


def make_two() -> tuple[nn.Parameter, nn.Parameter, Conflicts]:
    shared, probe = (nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in range(2))
    return shared, probe, Conflicts(lambda: [shared, probe])


def totals(passes: int = 1) -> Totals:
    return Totals(torch.ones(()), torch.ones(0), 1, passes=passes)


def loss(parameter: nn.Parameter, gradient: list[float]) -> Tensor:
    return parameter @ torch.tensor(gradient, dtype=torch.float64)


def test_projection_by_hand() -> None:
    """g = (2, 0), r = (-1, 3): r.g = -2, g.g = 4, so r loses -1/2 of g: r = (-1, 3) + (1, 0) = (0, 3), and the sum is (2, 3).

    The probe, which the token loss does not reach, keeps its (1, 1). The cosine is -2 / (2 x sqrt(1 + 9 + 2)) = -0.288675.
    """
    shared, probe, conflicts = make_two()
    conflicts.total(loss(shared, [2, 0]), loss(shared, [-1, 3]) + loss(probe, [1, 1]), totals()).backward()
    assert (shared.grad.tolist(), probe.grad.tolist()) == ([2, 3], [1, 1])
    found = conflicts.receipt()
    assert (found.steps, found.opposed, found.cosine) == (1, 1, pytest.approx(-0.288675, abs=1e-6))


def test_micro_batches_are_projected_as_one_step() -> None:
    """g = (1, 0) + (1, 0), r = (-3, 1) + (1, 1) = (-2, 2): r.g = -4, g.g = 4, r + g = (0, 2), and the sum is (2, 2). One by one
    the first alone would be projected, which gives (1, 1) + (2, 1) = (3, 2)."""
    shared, _, conflicts = make_two()
    step = totals(passes=2)
    conflicts.total(loss(shared, [1, 0]), loss(shared, [-3, 1]), step).backward()
    assert shared.grad is None
    # A wrapper may copy what goes through it.
    conflicts.total(loss(shared, [1, 0]), loss(shared, [1, 1]), replace(step)).backward()
    assert shared.grad.tolist() == [2, 2]


def test_gradients_are_added_to_those_that_are_there() -> None:
    """A loss of one's own in the same sum, twice: 2 x ((2, 3) + (5, 5)); and a scaled loss gives a scaled gradient."""
    shared, _, conflicts = make_two()
    for _ in range(2):
        total = conflicts.total(loss(shared, [2, 0]), loss(shared, [-1, 3]), totals())
        (total + loss(shared, [5, 5])).backward()
    assert shared.grad.tolist() == [14, 16]
    shared.grad = None
    (8 * conflicts.total(loss(shared, [2, 0]), loss(shared, [-1, 3]), totals())).backward()
    assert shared.grad.tolist() == [16, 24]


def test_a_side_without_a_gradient_changes_nothing() -> None:
    shared, probe, conflicts = make_two()
    conflicts.total(0 * loss(shared, [2, 0]), loss(shared, [-1, 3]), totals()).backward()
    assert shared.grad.tolist() == [-1, 3] and conflicts.receipt().cosine is None
    conflicts.total(loss(shared, [1, 1]), torch.zeros((), dtype=torch.float64), totals()).backward()
    assert shared.grad.tolist() == [0, 4] and probe.grad is None
    assert conflicts.receipt().opposed == 0
    with torch.no_grad():
        assert conflicts.total(loss(shared, [1, 1]), loss(shared, [1, 1]), totals()).item() == 0


def test_step_that_never_ended_is_refused_once() -> None:
    shared, _, conflicts = make_two()
    conflicts.total(loss(shared, [1, 0]), loss(shared, [-3, 1]), totals(passes=3)).backward()
    with pytest.raises(Failure, match=r"MCD743 a step began .* lacks the backward pass of 2 of its 3 micro-batches"):
        conflicts.total(loss(shared, [1, 0]), loss(shared, [1, 1]), totals()).backward()
    conflicts.total(loss(shared, [1, 0]), loss(shared, [1, 1]), totals()).backward()
    assert shared.grad.tolist() == [2, 1]


# --- whole steps -----------------------------------------------------------------------------------------------------


def make_parts(plan: Plan, whole: Batch, rows: dict[str, list[Any]], labels: dict[str, list[int]]) -> list[Batch]:
    """The records of `whole`, one by one."""
    parts = []
    for i, length in enumerate(whole.attention_mask.sum(1).tolist()):
        mine = {rule: [n for n, row in enumerate(found) if row[0] == i] for rule, found in rows.items()}
        own = {rule: [(0, *rows[rule][n][1:]) for n in places] for rule, places in mine.items()}
        part = make_batch(plan, [length], own, labels={r: [labels[r][n] for n in mine[r]] for r in labels})
        values = {name: getattr(part, name) for name in part.__slots__}
        parts.append(Batch(**values | {"input_ids": whole.input_ids[i : i + 1, :length]}))
    return parts


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("conflicts", ["sum", "project"])
def test_four_micro_batches_are_one_batch(kind: str, conflicts: Any) -> None:
    """With factors, a stop and a probe; of the four records one has no row of any rule."""
    opposed = [_same(kind, conflicts, which) for which in ("look", "shun")]
    assert conflicts == "sum" or sorted(opposed) == [0, 1]


def _same(kind: str, conflicts: Any, which: str) -> int:
    rules = [rule for rule in RULES if rule.id in ("early", "axis", which)]
    given = GradientPlan(conflicts=conflicts, scale=((1, 0.5), (3, 2.0)), stop=(1,))
    plan = make_plan(*rules, make_classify("read", layers=(2,)), gradient=given)
    rows = {
        "early": [(0, [1]), (0, [2]), (0, [3]), (1, [0]), (3, [1])],
        which: [(0, 4, [2])],
        "axis": [(0, [1]), (3, [1])],
        "read": [(0, [1]), (0, [2]), (1, [1])],
    }
    labels = {"early": [3, 9, 4, 4, 8], "read": [0, 1, 2]}
    whole = make_batch(plan, [6, 4, 5, 3], rows, labels=labels)

    def step(batches: list[Batch]) -> tuple[Supervised, list[Tensor]]:
        supervised = supervise(make_model(kind), plan, anchors=make_anchors()).train()
        totals = supervised.totals(batches, 0.0)
        for batch in batches:
            supervised(batch, time=0.0, totals=totals).loss.backward()
        return supervised, [p.grad for p in supervised.parameters()]

    one, expected = step([whole])
    four, found = step(make_parts(plan, whole, rows, labels))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    first, second = (each.flow.receipt().conflict for each in (one, four))
    if first is None or second is None:
        assert conflicts == "sum"
        return 0
    assert (first.steps, first.opposed) == (second.steps, second.opposed)
    assert first.steps == 1
    return first.opposed


def test_norms_of_rules_are_measured_as_ever() -> None:
    plan, batch = make_given("look", conflicts="project")
    supervised = supervise(make_model("llama"), plan, anchors=make_anchors())
    out = supervised(batch, time=0.0)
    assert supervised.gradient_norms(out)["look"] > 0
    out.loss.backward()
    assert supervised.flow.receipt().conflict is not None
