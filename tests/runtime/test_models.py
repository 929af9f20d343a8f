"""Every kind of model that `ADAPTERS` knows, on a tiny random config: its attention rows, its losses, and that it stays whole."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mcd.compiler.plan import Plan
from mcd.dsl.contract import read_contract
from mcd.dsl.diagnostics import Failure
from mcd.dsl.source import DataPlace
from mcd.dsl.windows import felt
from mcd.runtime.adapters import ADAPTERS, locate
from mcd.runtime.attention import key_rows
from mcd.runtime.batch import Batch
from mcd.runtime.supervise import supervise

from .builders import (
    CONTEXT,
    LAYERS,
    SPREAD,
    VOCAB,
    make_anchors,
    make_attend,
    make_batch,
    make_classify,
    make_plan,
    make_predict,
    make_toward,
)
from .models import KINDS, Kind, made_left, own_weights
from .reference import in_float64, naive

LENGTHS = [9, 6]
LOOKS = [(0, 5, [1, 2]), (0, 8, [3, 6, 7]), (0, 3, [3]), (1, 4, [0, 4]), (1, 5, [2, 3])]
QUICK = {"bert", "t5 decoder"}
"""What is tried here and nowhere else in the quick suite: both ways and learned places, a bias."""


def some(names: Any) -> list[Any]:
    return [name if set(str(name).split("-")) & QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


def make_mixed(kind: Kind) -> Plan:
    rules: list[Any] = [
        make_attend("all", layers=(1, 2, 3), weight=0.5),
        make_attend("some", layers=(2, 3), heads=(1, 3), loss="hinge", mass=0.9),
        make_attend("any", layers=(1, 2, 3), heads="any", weight=0.25),
        make_attend("mean", layers=(1, 2), heads="mean", loss="kl", weight=0.25),
        make_toward("axis", layers=(0, 2, LAYERS, "final"), weight=0.3),
        make_classify("read", layers=(1, "final"), weight=0.3),
    ]
    if kind.body.read is not None:
        rules.append(make_predict("early", layers=(1, "final"), weight=0.2))
    return make_plan(*rules, causal=kind.causal, windows=kind.windows)


def make_given(plan: Plan) -> Batch:
    rows = {rule.id: LOOKS if rule.kind == "attend" else SPREAD for rule in plan.rules}
    labels = {"read": [0, 1, 2, 0], "early": [3, 5, 7, 9]}
    batch = make_batch(plan, LENGTHS, rows, labels={k: v for k, v in labels.items() if k in rows})
    masked = (torch.arange(batch.input_ids.shape[1]) % 3 == 1) & batch.scored  # of a model that attends both ways
    return batch if plan.model.causal else replace(batch, labels=(batch.input_ids + 1) % VOCAB, scored=masked)


@torch.no_grad()
def recomputed(model: nn.Module, plan: Plan, batch: Batch) -> dict[int, Tensor]:
    """The probabilities [B, H, T, T] of every row, by layer."""
    width = batch.input_ids.shape[1]
    position = torch.arange(width).expand(len(batch.ids), -1)
    keys = torch.ones(len(batch.ids), width, width, dtype=torch.bool)
    with supervise(model, plan, anchors=make_anchors()) as supervised:
        batch, seen, _ = supervised.observe(batch)
    found = seen.attention
    given = (position, keys, torch.ones(position.shape), batch.attention_mask)
    return {layer: key_rows(found[layer], *given).log_p.exp() for layer in found}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("case", some(f"{name}-{kernel}" for name, kind in KINDS.items() for kernel in kind.kernels))
def test_rows_are_the_weights_of_the_model_itself(case: str, side: str) -> None:
    """At every token, head and layer, to 1e-5; padded on the left they are those of the same records padded on the right."""
    name, kernel = case.rsplit("-", 1)
    kind = KINDS[name]
    plan = make_mixed(kind)
    model, twin, right = kind.make(kernel), kind.make("eager"), make_given(plan)
    batch = right if side == "right" else made_left(right)
    rows, own = recomputed(model, plan, batch), own_weights(kind, twin, batch)
    assert list(rows) == [1, 2, 3]
    there = batch.attention_mask.bool()
    for layer, found in rows.items():
        for record, tokens in enumerate(there):
            weights = own[layer - 1][record, ..., : batch.input_ids.shape[1]]
            torch.testing.assert_close(found[record][:, tokens], weights[:, tokens], rtol=0, atol=1e-5)
            if kind.windows and kind.windows[layer - 1]:
                at = torch.arange(batch.input_ids.shape[1])
                outside = ((at[:, None] - at).abs() >= 4) & tokens[:, None] & tokens
                assert outside.any() and not found[record][:, outside].any()
    if side == "left":
        for layer, found in recomputed(model, plan, right).items():
            for record, length in enumerate(LENGTHS):
                a, b = found[record, :, :length, :length], rows[layer][record, :, -length:, -length:]
                torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", some(KINDS))
def test_losses_and_gradients_are_those_of_the_reference(name: str, side: str) -> None:
    """Of a plan of four attention rules, a target, a probe and, with a head, a prediction: against float64, to 1e-5."""
    kind = KINDS[name]
    plan = make_mixed(kind)
    model, anchors, given = kind.make(), make_anchors(), make_given(plan)
    twin = in_float64(kind.make("eager"))
    with supervise(model, plan, anchors=anchors) as supervised:
        out = supervised(given if side == "right" else made_left(given), time=0.0)
        probes = {
            key: [p.detach().double().requires_grad_() for p in supervised.probes[key].parameters()]
            for key in supervised.probes
        }
        expected = naive(twin, plan, given, probes, anchors, body=kind.body)
        for rule, loss in out.rules.items():
            torch.testing.assert_close(loss.double(), expected[rule], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(out.token.double(), expected["token"].double(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(out.loss.double(), expected["total"], rtol=1e-5, atol=1e-5)
        out.loss.backward()
    expected["total"].backward()
    acting = 0
    for (where, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        a, b = (torch.zeros_like(p) if p.grad is None else p.grad for p in (ours, theirs))
        assert (a.double() - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max())), where
        acting += bool(b.any())
    assert acting > 6


@pytest.mark.parametrize("name", some(KINDS))
def test_model_stays_what_it_was(name: str) -> None:
    """What it puts out within a supervised pass, and after it, is what it put out before, to the bit; so is its state."""
    kind = KINDS[name]
    plan = make_mixed(kind)
    model, batch = kind.make(), make_given(plan)
    before, config = copy.deepcopy(model.state_dict()), copy.deepcopy(model.config.to_dict())

    def put_out() -> Tensor:
        with torch.no_grad():
            found = kind.body.run(model, batch)
        return found.hidden_states[-1] if found.logits is None else found.logits

    plain = put_out()
    there = batch.attention_mask.bool()
    with supervise(model, plan, anchors=make_anchors()) as supervised:
        out = supervised(batch, time=0.0)
        assert torch.equal(put_out()[there], plain[there])
    assert (out.logits is None) == (kind.body.read is None)
    if out.logits is not None:
        torch.testing.assert_close(out.logits[there], plain[there], rtol=1e-5, atol=1e-5)
    assert torch.equal(put_out()[there], plain[there])
    assert list(model.state_dict()) == list(before) and config == model.config.to_dict()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.body.read is not None])
def test_token_loss_in_chunks_is_that_of_the_logits_of_the_model(name: str) -> None:
    """Heads of several modules and caps included. T5's head reads a state that was scaled already, and is refused by name."""
    kind = KINDS[name]
    plan = make_mixed(kind)
    if name == "t5 decoder":
        with (
            supervise(kind.make(), plan, anchors=make_anchors(), chunk=4) as supervised,
            pytest.raises(Failure, match="MCD716 the token loss of `T5ForConditionalGeneration` cannot be chunked"),
        ):
            supervised(make_given(plan), time=0.0)
        return
    batch, found = make_given(plan), []
    for chunk in (None, 4):
        with supervise(kind.make(), plan, anchors=make_anchors(), chunk=chunk) as supervised:
            out = supervised(batch, time=0.0)
        found.append(out.token.item())
        assert (out.logits is None) == (chunk is not None)
    assert found[1] == pytest.approx(found[0], rel=1e-5) and found[0] > 0


@pytest.mark.slow
def test_chunks_of_a_model_without_a_head_are_refused() -> None:
    plan = make_mixed(KINDS["t5"])
    with pytest.raises(Failure, match=r"MCD716 .* cannot be chunked: it has no language-model head here"):
        supervise(KINDS["t5"].make(), plan, anchors=make_anchors(), chunk=4)


def test_every_model_of_the_table_is_tried_and_documented() -> None:
    """The table of docs/models.md has a row for each, and says of it what `KINDS` tries: both ways or not, kernels, windows."""
    assert {kind.type for kind in KINDS.values()} == set(ADAPTERS)
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `") and "_type" not in line
    ]
    said = {row[0].strip("`"): (row[1], row[2], row[3]) for row in table}
    assert set(said) == set(ADAPTERS)
    for kind in KINDS.values():
        way = "causal" if kind.causal else "both ways"
        expected = (
            "[either](#t5)" if kind.type == "t5" else way,
            ", ".join(kind.kernels),
            "yes" if kind.windows else "",
        )
        assert said[kind.type] == expected, kind.type


@pytest.mark.parametrize("name", KINDS)
def test_contract_of_a_config_is_that_of_its_model(name: str, tmp_path: Path) -> None:
    """What a spec is checked against, read from config.json without transformers, is what the model has."""
    kind = KINDS[name]
    model = kind.make()
    model.config.save_pretrained(tmp_path)
    place = DataPlace("config.json")
    said = kind.causal if kind.type == "t5" and model.config.is_encoder_decoder else None
    found = read_contract(tmp_path / "config.json", place, "config.json", said)
    parts = locate(model, causal=kind.causal)
    assert (found.layers, found.heads, found.causal) == (len(parts.blocks), parts.heads, parts.causal)
    assert (found.vocab, found.hidden) == parts.shape
    assert felt(found.windows, CONTEXT) == kind.windows
    assert found.positions == (None if kind.type == "t5" else CONTEXT)
