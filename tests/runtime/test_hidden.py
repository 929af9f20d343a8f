"""Hidden states: which layer is which, which rows are taken, and how their tokens are pooled."""

from __future__ import annotations

import pytest
import torch

from mcd.runtime.supervise import supervise
from mcd.runtime.terms import pool

from .builders import WIDTH, make_anchors, make_batch, make_classify, make_model, make_plan, make_relate, make_toward

KINDS = ["gpt2", "llama"]


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_embedding_blocks_and_final_norm(kind: str) -> None:
    """0 is the input of the first block, k the output of block k before the final norm, `final` Hugging Face's last entry.

    Each layer's own hidden state as the target of `mse` gives 0, and no other layer's does.
    """
    model, layers = make_model(kind), (0, 1, 2, 3, "final")
    plan = make_plan(*(make_toward(f"at {k}", layers=(k,), loss="mse", anchor=None, field="v") for k in layers))
    batch = make_batch(plan, [5], {})
    last = []
    block = (model.transformer.h if kind == "gpt2" else model.model.layers)[-1]
    handle = block.register_forward_hook(lambda _, args, out: last.append(out))
    states = model(batch.input_ids, output_hidden_states=True).hidden_states
    handle.remove()
    states = [*states[:-1], last[0], states[-1]]
    for target in range(5):
        vectors = {rule.id: states[target][0, 2:3].detach() for rule in plan.rules}
        batch = make_batch(plan, [5], {rule.id: [(0, [2])] for rule in plan.rules}, vectors=vectors)
        losses = list(supervise(model, plan)(batch, time=0).rules.values())
        assert [loss.item() < 1e-9 for loss in losses] == [k == target for k in range(5)]


def test_layers_are_averaged() -> None:
    """The loss over two layers is the mean of the losses at each."""
    plan = make_plan(
        make_toward("both", layers=(1, 3)), make_toward("one", layers=(1,)), make_toward("three", layers=(3,))
    )
    batch = make_batch(plan, [5], {rule.id: [(0, [2]), (0, [4])] for rule in plan.rules})
    found = {
        k: v.item()
        for k, v in supervise(make_model("llama"), plan, anchors=make_anchors())(batch, time=0).rules.items()
    }
    assert found["both"] == pytest.approx((found["one"] + found["three"]) / 2, rel=1e-5)


def test_tokens_of_a_span_are_averaged() -> None:
    """Row 0 has tokens (1, 2) and (3, 4): mean (2, 3); row 1 has (5, 6) alone; row 2 (0, 0), (0, 3), (3, 0): (1, 1)."""
    plan = make_plan(make_toward(pool="mean"))
    rows = make_batch(plan, [6], {"axis": [(0, [0, 1]), (0, [2]), (0, [3, 4, 5])]}).hidden[0]
    states = torch.tensor([[1.0, 2], [3, 4], [5, 6], [0, 0], [0, 3], [3, 0]])
    assert pool(rows, states).tolist() == [[2, 3], [5, 6], [1, 1]]


def test_every_rule_of_a_group_reads_its_own_anchor() -> None:
    """Anchors e0 and -e0: cosines c and -c, so that the losses 1 - c and 1 + c add up to 2."""
    axis = torch.eye(WIDTH)[0]
    plan = make_plan(make_toward("a"), make_toward("b", anchor="east"))
    batch = make_batch(plan, [5], {"a": [(0, [2])], "b": [(0, [2])]})
    rules = supervise(make_model("gpt2"), plan, anchors={"north": axis, "east": -axis})(batch, time=0).rules
    assert (rules["a"] + rules["b"]).item() == pytest.approx(2, abs=1e-6)


def test_every_relation_of_a_group_has_its_own_margin() -> None:
    """is_a with margins 1 and 3 and one anchor: losses 1 - c and 3 - c differ by 2."""
    plan = make_plan(make_relate("a", margin=1.0), make_relate("b", margin=3.0))
    batch = make_batch(plan, [5], {"a": [(0, [2])], "b": [(0, [2])]})
    rules = supervise(make_model("gpt2"), plan, anchors=make_anchors())(batch, time=0).rules
    assert (rules["b"] - rules["a"]).item() == pytest.approx(2, abs=1e-6)


def test_probe_that_knows_nothing_costs_the_logarithm_of_its_classes() -> None:
    """Weights of 0: three classes have 1/3 each, ln 3 = 1.098612, at one layer or at two."""
    plan = make_plan(make_classify("one"), make_classify("two", layers=(1, 2)))
    supervised = supervise(make_model("llama"), plan)
    for parameter in supervised.probes.parameters():
        parameter.data.zero_()
    rows = {"one": [(0, [1]), (0, [2])], "two": [(0, [1])]}
    out = supervised(make_batch(plan, [4], rows, labels={"one": [0, 2], "two": [1]}), time=0)
    assert [loss.item() for loss in out.rules.values()] == pytest.approx([1.098612] * 2, abs=1e-6)


def test_probe_gradient_reaches_the_trunk() -> None:
    plan = make_plan(make_classify(layers=(2,)))
    model = make_model("gpt2")
    supervised = supervise(model, plan)
    supervised(make_batch(plan, [4], {"read": [(0, [1])]}, labels={"read": [1]}), time=0).rules["read"].backward()
    assert model.transformer.h[1].mlp.c_fc.weight.grad.any()
    assert model.transformer.h[2].mlp.c_fc.weight.grad is None


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_checkpointing_changes_no_gradient(kind: str) -> None:
    plan = make_plan(make_toward(layers=(0, 1, 3, "final")), make_classify(layers=(2,)))
    rows = {"axis": [(0, [1]), (1, [2])], "read": [(0, [3])]}
    found = []
    for checkpointing in (False, True):
        model = make_model(kind).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        batch = make_batch(plan, [5, 4], rows, labels={"read": [1]})
        supervise(model, plan, anchors=make_anchors())(batch, time=0).loss.backward()
        found.append([p.grad for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_bfloat16_hidden_states_are_compared_in_float32() -> None:
    plan = make_plan(make_toward(), make_classify())
    batch = make_batch(plan, [4], {"axis": [(0, [1])], "read": [(0, [2])]}, labels={"read": [1]})
    out = supervise(make_model("llama").bfloat16(), plan, anchors=make_anchors())(batch, time=0)
    assert {loss.dtype for loss in out.rules.values()} == {torch.float32}
    out.loss.backward()
