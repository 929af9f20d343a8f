"""Stages that run the first blocks alone: values and gradients, what is skipped, and what comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mcd.compiler.plan import Plan
from mcd.dsl.diagnostics import Failure
from mcd.runtime.adapters import ADAPTERS, Adapter
from mcd.runtime.batch import Batch
from mcd.runtime.supervise import supervise

from .builders import (
    HEADS,
    LOOKS,
    SPREAD,
    VOCAB,
    WIDTH,
    make_anchors,
    make_attend,
    make_batch,
    make_classify,
    make_model,
    make_plan,
    make_ramp,
    make_stage,
    make_toward,
)
from .reference import _token, in_float64

KINDS = ["gpt2", "llama", "qwen3"]
SHALLOW = make_stage("shallow", 0.0, 0.5, depth=2)
DEEP = make_stage("deep", 0.5, 1.0)


def blocks_of(model: nn.Module) -> nn.ModuleList:
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def make_given(*rules: Any, depth: int = 2, **rows: Any) -> tuple[Plan, Batch]:
    plan = make_plan(*rules, stages=(make_stage("shallow", 0.0, 0.5, depth=depth), DEEP))
    return plan, make_batch(plan, [9, 6], rows, labels={"read": [0, 1, 2, 0]})


def short_logits(twin: nn.Module, batch: Batch, depth: int) -> Tensor:
    """The head's logits of the hidden states after block `depth`, of a model that ran every block."""
    out = twin(input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True)
    norm = twin.transformer.ln_f if hasattr(twin, "transformer") else twin.model.norm
    return twin.lm_head(norm(out.hidden_states[depth]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_token_loss_is_that_of_the_hidden_states_at_the_depth(kind: str, depth: int, checkpointing: bool) -> None:
    plan, batch = make_given(depth=depth)
    model = make_model(kind)
    twin = in_float64(model)
    if checkpointing:
        model.gradient_checkpointing_enable()
    out = supervise(model, plan).train()(batch, time=0.2)
    expected = _token(short_logits(twin, batch, depth), batch)
    torch.testing.assert_close(out.token.double(), expected, rtol=1e-5, atol=1e-5)
    out.loss.backward()
    expected.backward()
    for (name, parameter), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert (parameter.grad is None) == (other.grad is None) == any(f".{n}." in name for n in range(depth, 3)), name
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad.double(), other.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_rules_within_the_depth_read_what_they_read_in_the_whole_model(kind: str) -> None:
    """`final` is the norm of what the last block that runs gives."""
    rules = (make_attend(layers=(1, 2)), make_toward(layers=(0, 2)), make_classify(layers=("final",)))
    plan, batch = make_given(*rules, look=LOOKS, axis=SPREAD, read=SPREAD)
    model = make_model(kind)
    supervised = supervise(model, plan, anchors=make_anchors())
    shallow, deep = supervised(batch, time=0.2), supervised(batch, time=0.7)
    for rule in ("look", "axis"):
        assert shallow.rules[rule].item() == pytest.approx(deep.rules[rule].item(), rel=1e-5)
    twin = in_float64(model)
    norm = twin.transformer.ln_f if hasattr(twin, "transformer") else twin.model.norm
    out = twin(input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True)
    weight, bias = (p.detach().double() for p in supervised.probes["read", "final"].parameters())
    states = [norm(out.hidden_states[2]).detach()[record, at] for record, (at,) in SPREAD]
    losses = [
        -torch.log_softmax(weight @ state + bias, 0)[label] for state, label in zip(states, [0, 1, 2, 0], strict=True)
    ]
    assert shallow.rules["read"].item() == pytest.approx(float(sum(losses)) / 4, rel=1e-5)


def test_blocks_above_are_not_computed_and_come_back() -> None:
    model = make_model("llama")
    plan, batch = make_given()
    ran: list[int] = []
    for n, block in enumerate(blocks_of(model), 1):
        block.register_forward_hook(lambda *_, n=n: ran.append(n))
    whole, names = blocks_of(model), list(model.state_dict())
    supervised = supervise(model, plan)
    supervised(batch, time=0.2)
    assert ran == [1, 2] and supervised.flow.receipt().depth == 2
    assert blocks_of(model) is whole and list(model.state_dict()) == names
    ran.clear()
    supervised(batch, time=0.5)
    assert ran == [1, 2, 3] and supervised.flow.receipt().depth == 3


@pytest.mark.parametrize("kind", KINDS)
def test_generation_with_a_cache_is_as_before(kind: str) -> None:
    model = make_model(kind).eval()
    plan, batch = make_given()
    given = {"max_new_tokens": 6, "do_sample": False, "use_cache": True}
    prompt, mask = batch.input_ids[:, :4], batch.attention_mask[:, :4]
    before = model.generate(prompt, attention_mask=mask, **given)
    with supervise(model, plan) as supervised:
        supervised(batch, time=0.2)
        assert torch.equal(model.generate(prompt, attention_mask=mask, **given), before)
        assert len(blocks_of(model)) == 3
    assert torch.equal(model.generate(prompt, attention_mask=mask, **given), before)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_and_cache_that_an_adapter_asks_for_have_the_depth(kind: str) -> None:
    """transformers puts its recording hooks on the blocks at the first pass that asks for them, here a short one."""
    seen = []

    def logits(model: nn.Module, batch: Batch) -> Tensor:
        out = model(batch.input_ids, output_hidden_states=True, use_cache=True)
        filled = sum(layer.get_seq_length() > 0 for layer in out.past_key_values.layers)
        seen.append((len(out.hidden_states), filled))
        return out.logits

    plan, batch = make_given()
    supervised = supervise(make_model(kind), plan, adapter=replace(ADAPTERS[kind], logits=logits))
    for time in (0.2, 0.7):
        supervised(batch, time=time)
    assert seen == [(3, 2), (4, 3)]


def test_pass_that_fails_leaves_the_model_whole() -> None:
    model = make_model("gpt2")
    plan, batch = make_given()
    supervised = supervise(model, plan)
    blocks_of(model)[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        supervised(batch, time=0.2)
    assert len(blocks_of(model)) == 3
    assert not blocks_of(model)[2]._forward_pre_hooks


# --- rules above the depth -------------------------------------------------------------------------------------------


def test_rule_above_the_depth_sleeps_and_wakes() -> None:
    """Silenced where its layer does not run: no loss, no row, and the records of that time promise none. Of 40 rows promised in
    40 records none is due after 20 records asleep and 10 awake, and 20 are after 10 more."""
    stages = (make_stage("a", 0.0, 0.5, depth=1, only=("low",)), DEEP)
    rules = (make_toward("low", layers=(1,)), make_toward("high", layers=(2, 3)), make_attend("look", layers=(3,)))
    plan = make_plan(*rules, stages=stages)
    model = make_model("gpt2")
    supervised = supervise(model, plan, anchors=make_anchors(), expected={"high": 40, "look": 40}, records=40).train()
    row = [(n, [1]) for n in range(10)]
    batch = make_batch(plan, [4] * 10, {"low": row, "high": row, "look": [(n, 2, [1]) for n in range(10)]})
    for _ in range(3):
        out = supervised(batch, time=0.2)
    assert out.rules["high"].item() == out.rules["look"].item() == 0 and out.rows == {"low": 10, "high": 0, "look": 0}
    out.loss.backward()
    found = supervised.receipts["high"]
    assert (found.rows, found.fired, found.last_loss) == (0, False, None)
    out = supervised(batch, time=0.7)
    assert out.rules["high"].item() > 0 and supervised.receipts["high"].fired
    assert supervised.receipts["look"].rows == 10
    empty = make_batch(plan, [4] * 10, {"low": row})
    late = supervise(model, plan, anchors=make_anchors(), expected={"high": 40}, records=40).train()
    for time in (0.2, 0.2, 0.2, 0.7):
        late(empty, time=time)
    with pytest.raises(Failure, match="MCD706 rule `high` is dead: no row of it came in"):
        late(empty, time=0.7)


def test_rule_above_the_depth_that_acts_is_dead() -> None:
    """The checker refuses such a spec; a plan made otherwise is stopped by its hooks."""
    plan, batch = make_given(make_toward(layers=(3,)), axis=SPREAD)
    supervised = supervise(make_model("llama"), plan, anchors=make_anchors())
    with pytest.raises(Failure, match="MCD706 rule `axis` is dead: the model never computed what it reads"):
        supervised(batch, time=0.2)
    assert supervised(batch, time=0.7).rules["axis"].item() > 0


def test_factor_that_starts_at_zero_is_awake_as_soon_as_it_is_above() -> None:
    stages = (make_stage("a", 0.0, 1.0, depth=2, factors={"axis": make_ramp(0.0)}),)
    plan = make_plan(make_toward(layers=(3,)), stages=stages)
    supervised = supervise(make_model("llama"), plan, anchors=make_anchors())
    assert supervised(make_batch(plan, [9, 6], {"axis": SPREAD}), time=0.2).rules["axis"].item() == 0


# --- models of one's own ---------------------------------------------------------------------------------------------


class Own(nn.Module):
    """A model whose blocks stand in `holder`; `numbered`: it has a list of its own beside."""

    def __init__(self, holder: Any, numbered: bool = False) -> None:
        super().__init__()
        self.embedding, self.norm, self.head = nn.Embedding(VOCAB, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCAB)
        own = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(3)]
        self.blocks = holder({str(n): b for n, b in enumerate(own)}) if holder is nn.ModuleDict else holder(own)
        self.kept = [own] if numbered else []

    def forward(self, ids: Tensor) -> Tensor:
        states = self.embedding(ids)
        held = self.blocks.values() if isinstance(self.blocks, nn.ModuleDict) else self.blocks
        for block in self.kept[0] if self.kept else held:
            states = block(states)
        return self.head(self.norm(states))


def make_own() -> Adapter:
    return Adapter(
        "blocks",
        "embedding",
        "norm",
        "head",
        heads=HEADS,
        causal=True,
        logits=lambda model, batch: model(batch.input_ids),
    )


def test_own_model_is_shortened_too() -> None:
    plan, batch = make_given(make_toward(layers=(1,)), axis=SPREAD)
    for holder in (nn.ModuleList, lambda own: nn.Sequential(*own)):
        own = Own(holder)
        supervised = supervise(own, plan, adapter=make_own(), anchors=make_anchors())
        supervised(batch, time=0.2).loss.backward()
        assert own.blocks[2][0].weight.grad is None and own.blocks[1][0].weight.grad is not None


def test_blocks_that_cannot_be_cut_short_are_refused() -> None:
    plan, batch = make_given()
    with pytest.raises(Failure, match="MCD740 a stage has a `depth`, and the blocks of `Own` stand in a `ModuleDict`"):
        supervise(Own(nn.ModuleDict), plan, adapter=make_own())
    supervised = supervise(Own(nn.ModuleList, numbered=True), plan, adapter=make_own())
    with pytest.raises(Failure, match="MCD740 block 3 ran in a stage of depth 2"):
        supervised(batch, time=0.2)
    whole = make_plan(stages=(make_stage("all", 0.0, 1.0, depth=3),))
    supervise(Own(nn.ModuleDict), whole, adapter=make_own())(make_batch(whole, [4]), time=0.0)
