"""Stages that train a part of the model, and factors on gradients, as optimisers see them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from mcd.compiler.plan import GradientPlan, Plan
from mcd.dsl.diagnostics import Failure
from mcd.runtime.supervise import supervise
from mcd.runtime.supervised import Supervised

from .apart import layer_of
from .builders import (
    LINEAR,
    SPREAD,
    make_anchors,
    make_batch,
    make_classify,
    make_model,
    make_plan,
    make_stage,
    make_toward,
)

RULES = (make_classify("read", layers=(2,), through=LINEAR), make_toward("axis", layers=(3,), anchor="pole"))
ROWS = {"read": SPREAD, "axis": SPREAD}


def make_given(kind: str, *trained: Any, **gradient: Any) -> tuple[nn.Module, Supervised, Any]:
    """A model under equal stages that train `trained`, a batch, and nothing else."""
    share = 1 / len(trained) if trained else 1.0
    stages = tuple(make_stage(f"s{n}", n * share, (n + 1) * share, train=own) for n, own in enumerate(trained))
    plan = make_plan(*RULES, stages=stages, learned=("pole",), gradient=GradientPlan(**gradient))
    model = make_model(kind)
    supervised = supervise(model, plan, anchors=make_anchors()).train()
    return model, supervised, make_batch(plan, [9, 6], ROWS, labels={"read": [0, 1, 2, 0]})


def trainable(model: nn.Module) -> set[Any]:
    return {layer_of(name) for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_stage_trains_its_layers_and_what_is_beside_the_model(kind: str) -> None:
    """Probe, map and learned anchor always have a gradient."""
    model, supervised, batch = make_given(kind, (1, 3), ("final",), None, (0,))
    seen = []
    for time in (0.0, 0.2, 0.3, 0.6, 0.9):
        supervised.zero_grad()
        supervised(batch, time=time).loss.backward()
        with_gradient = {layer_of(name) for name, p in model.named_parameters() if p.grad is not None}
        assert with_gradient == trainable(model)
        assert all(p.grad is not None and p.grad.any() for p in supervised.probes.parameters())
        seen.append(with_gradient)
    # GPT-2's head is its embedding, whose name is of layer 0: it is trained where one of both is.
    tied = kind == "gpt2"
    assert seen == [{1, 3}, {1, 3}, {0, "final"} if tied else {"final"}, {0, 1, 2, 3, "final"}, {0}]
    assert model.lm_head.weight.requires_grad == tied
    assert supervised.flow.receipt().stage == "s3"
    supervised.close()
    assert trainable(model) == {0, 1, 2, 3, "final"}


def test_what_was_frozen_before_stays_frozen() -> None:
    model, supervised, batch = make_given("llama", (1, 2), None)
    for parameter in model.model.layers[0].parameters():
        parameter.requires_grad_(False)
    seen = []
    for time in (0.2, 0.7):
        supervised(batch, time=time)
        seen.append(trainable(model))
    supervised.close()
    assert [*seen, trainable(model)] == [{2}, {0, 2, 3, "final"}, {0, 2, 3, "final"}]


def test_receipt_counts_what_the_stage_froze() -> None:
    model, supervised, batch = make_given("llama", (1, 2), None)
    assert supervised.flow.receipt().stage is None
    supervised(batch, time=0.2)
    found = supervised.flow.receipt()
    assert (found.stage, found.train, found.depth) == ("s0", (1, 2), 3)
    assert found.frozen == sum(p.numel() for p in model.parameters() if not p.requires_grad) > 0
    supervised(batch, time=0.7)
    assert (supervised.flow.receipt().train, supervised.flow.receipt().frozen) == (None, 0)


def test_pass_without_gradients_freezes_nothing() -> None:
    """An evaluation at another time, between the passes of a step, leaves the step's stage as it is."""
    model, supervised, batch = make_given("llama", (1, 2), (3,))
    supervised(batch, time=0.2)
    with torch.no_grad():
        supervised(batch, time=0.9)
    assert trainable(model) == {1, 2}


def test_micro_batches_of_a_step_have_one_stage() -> None:
    """The gradient of the first micro-batch is there when the second has run."""
    model, supervised, batch = make_given("llama", (1, 2), (2, 3))
    totals = supervised.totals([batch, batch], 0.2)
    supervised(batch, time=0.2, totals=totals).loss.backward()
    half = model.model.layers[0].mlp.up_proj.weight.grad.clone()
    supervised(batch, time=0.2, totals=totals).loss.backward()
    torch.testing.assert_close(model.model.layers[0].mlp.up_proj.weight.grad, 2 * half)


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_frozen_parameters_do_not_move_under_decay_and_momentum(kind: type[Optimizer], to_none: bool) -> None:
    """Trained in the first stage, so that the optimiser has a momentum for them; frozen in the second; going on in the third."""
    model, supervised, batch = make_given("llama", (1, 2), (3,), (1,))
    options: dict[str, Any] = {"momentum": 0.9} if kind is SGD else {}
    optimizer = kind(supervised.parameters(), lr=0.01, weight_decay=0.1, **options)
    weight = model.model.layers[0].mlp.up_proj.weight

    def step(time: float) -> Tensor:
        before = weight.detach().clone()
        supervised(batch, time=time).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=to_none)
        return (weight.detach() - before).abs().max()

    assert step(0.1) > 0 and step(0.2) > 0
    assert step(0.4) == step(0.5) == 0
    assert step(0.8) > 0


# --- scale -----------------------------------------------------------------------------------------------------------


def gradients(model: nn.Module, supervised: Supervised, batch: Any) -> dict[str, Tensor]:
    model.zero_grad()
    supervised(batch, time=0.0).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_factors_multiply_gradients_and_nothing_else(kind: str) -> None:
    """A factor of 0 gives a gradient of 0, and no none; that of the probe is untouched."""
    plain, scaled = (make_given(kind, scale=scale) for scale in ((), ((0, 0.25), (1, 0.0), (3, 2.0), ("final", 0.25))))
    expected, found = gradients(*plain), gradients(*scaled)
    factors = {0: 0.25, 1: 0.0, 2: 1.0, 3: 2.0, "final": 0.25}
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient * factors[layer_of(name)])
    for a, b in zip(plain[1].probes.parameters(), scaled[1].probes.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_factor_0_leaves_decay_to_the_optimiser_where_train_does_not() -> None:
    moved = []
    for given in (make_given("llama", scale=((2, 0.0),)), make_given("llama", (0, 1, 3, "final"))):
        model, supervised, batch = given
        weight = model.model.layers[1].mlp.up_proj.weight
        before = weight.detach().clone()
        optimizer = SGD(supervised.parameters(), lr=0.1, weight_decay=0.5)
        supervised(batch, time=0.0).loss.backward()
        optimizer.step()
        moved.append((weight.detach() / before).mean().item())
    assert moved == pytest.approx([0.95, 1.0])


def test_parameter_that_thaws_later_is_scaled_and_close_ends_it() -> None:
    model, supervised, batch = make_given("llama", scale=((1, 0.5),))
    plain = gradients(*make_given("llama"))
    block = model.model.layers[0]
    block.requires_grad_(False)
    assert not any("layers.0" in name for name in gradients(model, supervised, batch))
    block.requires_grad_(True)
    found = gradients(model, supervised, batch)
    name = "model.layers.0.mlp.up_proj.weight"
    torch.testing.assert_close(found[name], plain[name] / 2)
    supervised.close()
    assert not any(parameter._backward_hooks for parameter in model.parameters())


def test_layers_that_share_a_parameter_have_one_factor() -> None:
    """GPT-2's head is its embedding; Llama's is not."""
    plan = make_plan(gradient=GradientPlan(scale=((0, 0.5), ("final", 0.25))))
    supervise(make_model("llama"), plan)
    with pytest.raises(
        Failure, match=r"MCD741 layers 0 and final share a parameter of shape \(23, 16\), and `scale` gives"
    ):
        supervise(make_model("gpt2"), plan)
    one = make_plan(gradient=GradientPlan(scale=(("final", 0.5),)))
    model = make_model("gpt2")
    plain = gradients(model, supervise(model, make_plan()), make_batch(one, [9, 6]))["transformer.wte.weight"]
    model = make_model("gpt2")
    found = gradients(model, supervise(model, one), make_batch(one, [9, 6]))["transformer.wte.weight"]
    torch.testing.assert_close(found, plain / 2)


# --- stop ------------------------------------------------------------------------------------------------------------


def make_stopped(stop: tuple[int, ...], depth: int | None = None) -> Plan:
    stages = (make_stage("all", 0.0, 1.0, depth=depth),)
    return make_plan(make_toward("axis", layers=(2,)), stages=stages, gradient=GradientPlan(stop=stop))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("depth", [None, 2])
def test_rule_at_a_stop_trains_what_is_below_and_the_token_loss_what_is_above(kind: str, depth: int | None) -> None:
    """Of the token loss alone, blocks 1 and 2 get nothing, also where block 2 is the last to run; of the rule, they do."""
    plan = make_stopped((2,), depth)
    model = make_model(kind)
    out = supervise(model, plan, anchors=make_anchors())(make_batch(plan, [9, 6], {"axis": SPREAD}), time=0.0)
    reached = []
    for loss in (out.token, out.rules["axis"]):
        names, parameters = zip(*model.named_parameters(), strict=True)
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        reached.append({layer_of(n) for n, g in zip(names, found, strict=True) if g is not None and g.any()})
    head = {0, "final"} if kind == "gpt2" else {"final"}
    assert reached == [head | ({3} if depth is None else set()), {0, 1, 2}]


def test_losses_are_what_they_were_and_passes_of_ones_own_are_not_cut() -> None:
    plan = make_stopped((0, 1, 2))
    batch = make_batch(plan, [9, 6], {"axis": SPREAD})
    model = make_model("llama")
    supervised = supervise(model, plan, anchors=make_anchors())
    plain = supervise(make_model("llama"), make_stopped(()), anchors=make_anchors())
    assert torch.equal(supervised(batch, time=0.0).loss, plain(batch, time=0.0).loss)
    model(batch.input_ids).logits.sum().backward()
    assert model.model.embed_tokens.weight.grad.any()
    supervised.close()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_loss_that_trains_nothing_is_refused_in_training() -> None:
    plan = make_plan(stages=(make_stage("low", 0.0, 1.0, train=(1, 2)),), gradient=GradientPlan(stop=(2,)))
    batch = make_batch(plan, [9, 6])
    supervised = supervise(make_model("llama"), plan).train()
    with pytest.raises(Failure, match="MCD744 the loss reaches no parameter that is trained in stage `low`"):
        supervised(batch, time=0.0)
    assert supervised.eval()(batch, time=0.0).loss > 0


@pytest.mark.parametrize("stop", [(0,), (2, 1)])
def test_embedding_that_nothing_trains_is_refused_where_the_head_is_not_tied(stop: tuple[int, ...]) -> None:
    """Llama's head is not its embedding, GPT-2's is; and a rule at the stop trains the embedding, too."""
    stages = (make_stage("words", 0.0, 1.0, train=(0, 3)),)
    plan = make_plan(stages=stages, gradient=GradientPlan(stop=stop))
    with pytest.raises(
        Failure, match=f"MCD744 stage `words` trains layer 0, and no gradient passes the stop at layer {min(stop)}"
    ):
        supervise(make_model("llama"), plan)
    low = plan.model_copy(update={"rules": (make_toward("axis", layers=(min(stop),)),)})
    for kind, given in (("gpt2", plan), ("llama", low)):
        model = make_model(kind)
        batch = make_batch(given, [9, 6], {"axis": SPREAD})
        supervise(model, given, anchors=make_anchors()).train()(batch, time=0.0).loss.backward()
        assert model.get_input_embeddings().weight.grad.any()
