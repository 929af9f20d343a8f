"""Gradients of single rules at their layers, against the naive losses in float64 and autograd over them alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mcd.runtime.monitor import Monitor, Pull, Tally, layer_of
from mcd.runtime.supervise import supervise

from .builders import (
    EVERY_ROW,
    EVERYTHING,
    make_anchors,
    make_attend,
    make_batch,
    make_classify,
    make_model,
    make_plan,
    make_stage,
    make_toward,
)
from .models import KINDS
from .reference import in_float64, naive

RULES = [rule for rule in EVERYTHING if rule.id != "boost"]


def make_supervised(plan: Any, kind: str = "llama", double: bool = True) -> Any:
    model = make_model(kind)
    return supervise(model.double() if double else model, plan, anchors=make_anchors()).train()


def inspected(supervised: Any, batch: Any, **given: Any) -> Any:
    monitor = Monitor(supervised)
    with monitor.watching():
        losses = supervised(batch, time=0.0, **given)
        return losses, monitor.inspect(losses)


def state_of(model: Any, batch: Any, layer: Any, losses: Any) -> tuple[Tensor, Any]:
    """The state at a layer of the naive model's own pass, which a hook takes, and the losses of that pass."""
    block = model.model.layers[max(layer, 1) - 1]
    found: list[Tensor] = []

    def before(module: Any, args: Any, kwargs: Any) -> None:
        found.append(args[0] if args else kwargs["hidden_states"])

    def after(module: Any, args: Any, output: Any) -> None:
        found.append(output if isinstance(output, Tensor) else output[0])

    given = (
        block.register_forward_pre_hook(before, with_kwargs=True) if layer == 0 else block.register_forward_hook(after)
    )
    values = losses(model)
    given.remove()
    return found[0], values


def test_norms_and_cosines_are_those_of_autograd_over_the_naive_losses():
    """Rule by rule: d(weight x loss) / d(state) and d(token) / d(state) of the reference, and their cosine where the first is
    not 0. Rules `a` and `b` read block 1 and 2, and so the embedding; the others block 2, its input or its output."""
    plan = make_plan(*EVERYTHING)
    batch = make_batch(plan, [9, 6], EVERY_ROW, labels={"g": [0, 1, 2, 0]}, weigh={"boost": [(0, 3, 2.0)]})
    supervised = make_supervised(plan)
    reference = in_float64(make_model("llama"))
    probes = {key: [p.detach().double() for p in supervised.probes[key].parameters()] for key in supervised.probes}
    _, pulls = inspected(supervised, batch)
    assert set(pulls) == {rule.id for rule in RULES}
    for rule in RULES:
        state, losses = state_of(
            reference, batch, layer_of(rule), lambda m: naive(m, plan, batch, anchors=make_anchors(), probes=probes)
        )
        (own,) = torch.autograd.grad(rule.weight * losses[rule.id], [state], retain_graph=True)
        (token,) = torch.autograd.grad(losses["token"], [state])
        token = token * (own != 0).any(-1, keepdim=True)
        cosine = (own * token).sum() / (own.norm() * token.norm())
        found = pulls[rule.id]
        assert [found.norm, found.token, found.cosine] == pytest.approx(
            [float(own.norm()), float(token.norm()), float(cosine)], rel=1e-5
        ), rule.id


def test_a_rule_on_the_final_state_of_an_encoder_is_inspected():
    """Whose blocks norm their own output, so that no module behind them has it. Of cross-entropy under a probe with matrix W the
    gradient at the one state that is read is W^T (p - onehot)."""
    plan = make_plan(make_classify("read", layers=("final",)), causal=False)
    batch = make_batch(plan, [9, 6], {"read": [(0, [2])]}, labels={"read": [1]})
    model = KINDS["bert"].make().double()
    supervised = supervise(model, plan).train()
    probe = supervised.probes["read", "final"].double()
    state = model(batch.input_ids, batch.attention_mask, output_hidden_states=True).hidden_states[-1][0, 2]
    wrong = probe(state).softmax(-1) - torch.tensor([0.0, 1.0, 0.0])
    expected = (probe.weight.T @ wrong).norm().item()
    assert inspected(supervised, batch)[1]["read"].norm == pytest.approx(expected, rel=1e-5)


def test_an_inspection_changes_no_gradient_and_no_loss():
    plan = make_plan(*EVERYTHING)
    batch = make_batch(plan, [9, 6], EVERY_ROW, labels={"g": [0, 1, 2, 0]})
    found = []
    for inspecting in (False, True):
        supervised = make_supervised(plan, double=False)
        losses = inspected(supervised, batch)[0] if inspecting else supervised(batch, time=0.0)
        assert all(p.grad is None for p in supervised.parameters())
        losses.loss.backward()
        found.append([losses.loss, *(p.grad for p in supervised.parameters() if p.grad is not None)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("how", ["checkpointing", "bf16"])
def test_an_inspection_sees_the_same_under_checkpointing_and_nearly_under_autocast(how):
    plan = make_plan(*EVERYTHING)
    batch = make_batch(plan, [9, 6], EVERY_ROW, labels={"g": [0, 1, 2, 0]})
    plain = inspected(make_supervised(plan, double=False), batch)[1]
    other = make_supervised(plan, double=False)
    if how == "checkpointing":
        other.model.gradient_checkpointing_enable({"use_reentrant": False})
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "bf16"):
        found = inspected(other, batch)[1]
    tolerance = 1e-5 if how == "checkpointing" else 0.2
    for rule in RULES:
        assert found[rule.id].norm == pytest.approx(plain[rule.id].norm, rel=tolerance), rule.id


def test_the_losses_may_be_scaled_for_the_backward_pass():
    plan = make_plan(*EVERYTHING)
    batch = make_batch(plan, [9, 6], EVERY_ROW, labels={"g": [0, 1, 2, 0]})
    supervised = make_supervised(plan)
    monitor = Monitor(supervised)
    with monitor.watching():
        losses = supervised(batch, time=0.0)
        plain, scaled = monitor.inspect(losses), monitor.inspect(losses, 2.0**16)
    assert {rule: pull.cosine for rule, pull in scaled.items()} == pytest.approx(
        {rule: pull.cosine for rule, pull in plain.items()}
    )
    assert scaled["a"].norm == pytest.approx(plain["a"].norm)


def test_a_rule_that_is_silent_or_whose_layer_does_not_run_is_left_out():
    """In the first stage `read` is silenced, and block 3 does not run: `look`, which reads it, has no gradient either."""
    stages = (make_stage("low", 0.0, 0.5, depth=2, only=("axis",)), make_stage("all", 0.5, 1.0))
    plan = make_plan(make_attend(layers=(3,)), make_toward(), make_classify("read"), stages=stages)
    rows = {"look": [(0, 8, [3])], "axis": [(0, [2])], "read": [(0, [2])]}
    batch = make_batch(plan, [9, 6], rows, labels={"read": [1]})
    assert set(inspected(make_supervised(plan), batch)[1]) == {"axis"}


def test_a_model_that_is_compiled_as_a_whole_is_refused():
    supervised = make_supervised(make_plan(make_toward()))
    supervised.model._compiled_call_impl = supervised.model.forward  # as `compile` leaves it
    with pytest.raises(Exception, match="MCD759"):
        Monitor(supervised)


@pytest.mark.parametrize(
    ("cosines", "fights"),
    [
        ([-0.2] * 5, True),
        ([-0.2] * 4, False),  # too few
        ([-0.05] * 9, False),  # too weak
        ([-0.9] * 3 + [0.1] * 2, False),  # 60% negative
        ([-0.9] * 4 + [0.1], True),  # 80% negative, mean -0.7
        ([None] * 9, False),
    ],
)
def test_a_rule_fights_where_its_cosine_is_negative_on_the_whole_and_nearly_always(cosines, fights):
    tally = Tally()
    for cosine in cosines:
        tally.add(Pull(1.0, 1.0, cosine))
    assert tally.fights is fights
