"""Every loss and the total, in value and gradient, against the naive reference, on GPT-2 and on Llama with grouped queries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mcd.compiler.plan import EdgeSetRef, Plan, RulePlan
from mcd.dsl.windows import windows_at
from mcd.runtime.adapters import LLAMA, Adapter
from mcd.runtime.batch import Batch
from mcd.runtime.supervise import supervise
from mcd.runtime.supervised import Supervised

from .builders import (
    EVERY_ROW,
    EVERYTHING,
    LINEAR,
    LOOKS,
    MLP,
    OFFSETS,
    SPANS,
    SPREAD,
    WIDTH,
    make_anchors,
    make_attend,
    make_batch,
    make_classify,
    make_contrast,
    make_distil,
    make_like,
    make_model,
    make_plan,
    make_predict,
    make_relate,
    make_taught,
    make_teacher,
    make_teacher_plan,
    make_toward,
)
from .reference import in_float64, naive

KINDS = ["gpt2", "llama"]
WEIGHTED = EdgeSetRef(edges="e", weighted=True)
ATTEND: dict[str, dict[str, Any]] = {
    "nll all": {},
    "nll list": {"heads": (1, 3), "layers": (1, 3)},
    "nll mean": {"heads": "mean", "layers": (1, 2)},
    "nll any": {"heads": "any", "layers": (1, 2, 3)},
    "nll pairs": {"pairs": ((1, 3), (3, 0), (3, 2)), "layers": (1, 3)},
    "hinge": {"loss": "hinge", "mass": 0.6},
    "hinge any": {"loss": "hinge", "mass": 0.95, "heads": "any", "layers": (1, 2)},
    "hinge mean": {"loss": "hinge", "mass": 0.6, "heads": "mean"},
    "kl": {"loss": "kl"},
    "kl any": {"loss": "kl", "heads": "any"},
    "kl mean": {"loss": "kl", "heads": "mean", "layers": (1, 2)},
    "kl weighted": {"loss": "kl", "edges": WEIGHTED, "layers": (1, 3)},
    "kl weighted mean": {"loss": "kl", "edges": WEIGHTED, "heads": "mean", "layers": (1, 2)},
    "kl weighted any": {"loss": "kl", "edges": WEIGHTED, "heads": "any"},
    "nll of weighted edges": {"edges": WEIGHTED},
    "avoid": {"loss": "hinge", "mass": 0.2, "avoid": True},
    "avoid mean": {"loss": "hinge", "mass": 0.1, "avoid": True, "heads": "mean", "layers": (1, 3)},
    "avoid without mass": {"avoid": True},
    "per record": {"per": "record"},
}
MENTIONS = [(0, [1, 2]), (0, [3]), (0, [5, 6]), (0, [8]), (0, [7]), (1, [0]), (1, [2, 3]), (1, [5])]
"""Labels are n % 3: record 0 has 0 1 2 0 1, of which the third is alone; record 1 has 2 0 1, all alone but in the batch."""

HIDDEN: dict[str, tuple[RulePlan, list[Any]]] = {
    "cosine": (make_toward(layers=(0, 2, 3, "final")), SPREAD),
    "cosine mean": (make_toward(pool="mean", per="record"), SPANS),
    "mse": (make_toward(loss="mse", anchor=None, field="target", layers=(1, 3)), SPREAD),
    "classify": (make_classify(layers=(1, "final"), pool="last"), SPREAD),
    "classify mean": (make_classify(pool="mean"), SPANS),
    "is_a": (make_relate(margin=0.9, layers=(1, 2)), SPREAD),
    "opposes": (make_relate(relation="opposes"), SPREAD),
    "distinct": (make_relate(relation="distinct", margin=0.05), SPREAD),
    "contrast": (make_contrast(layers=(1, 2)), MENTIONS),
    "contrast per record": (make_contrast(per="record", temperature=0.1), MENTIONS),
    "contrast batch": (make_contrast(scope="batch", layers=(0, "final")), MENTIONS),
    "contrast through": (make_contrast(layers=(1, 3), through=MLP), MENTIONS),
    "predict": (make_predict(layers=(1, 3)), SPREAD),
    "predict final": (make_predict(layers=("final",)), SPREAD),
    "predict mean through": (make_predict(layers=(2,), pool="mean", through=LINEAR), SPANS),
    "cosine through": (make_toward(layers=(1, 2), through=LINEAR), SPREAD),
    "mse through": (make_toward(loss="mse", anchor=None, field="target", through=MLP), SPREAD),
    "classify through": (make_classify(layers=(1, 2), pool="mean", through=MLP), SPANS),
    "teacher": (make_taught(layers=(1, 3)), SPREAD),
    "teacher mean": (make_taught(layer=0, pool="mean", loss="cosine"), SPANS),
    "teacher through": (make_taught(layer="final", through=LINEAR), SPREAD),
    "logits": (make_distil(layers=(1, "final")), SPREAD),
    "logits mean through": (make_distil(pool="mean", temperature=0.5, through=LINEAR), SPANS),
    "like": (make_like(layers=(0, 2, "final")), OFFSETS),
    "like margin": (make_like(margin=0.4, layers=(1,)), OFFSETS),
}


def make_given(plan: Plan, rows: dict[str, list[Any]]) -> Batch:
    generator = torch.Generator().manual_seed(5)
    labels = {rule.id: [n % 3 for n in range(len(rows.get(rule.id, [])))] for rule in plan.rules}
    vectors = {
        rule.id: torch.randn(len(rows[rule.id]), rule.through.width if rule.through else WIDTH, generator=generator)
        for rule in plan.rules
        if getattr(rule, "field", None) == "target"
    }
    return make_batch(
        plan, [9, 6], rows, labels=labels, vectors=vectors, weigh={"boost": [(0, 3, 4.0), (1, 5, 0.5), (0, 4, 0.0)]}
    )


def compare(kind: str, plan: Plan, rows: dict[str, list[Any]], adapter: Adapter | None = None, **settings: Any) -> None:
    model, batch, anchors = make_model(kind, **settings), make_given(plan, rows), make_anchors()
    twin = in_float64(model)
    teacher = make_teacher()
    supervised = supervise(model, plan, anchors=anchors, teachers={"t": teacher}, adapter=adapter)
    pairs = {
        key: [p.detach().double().requires_grad_() for p in supervised.probes[key].parameters()]
        for key in supervised.probes
    }
    maps = {
        key: [p.detach().double().requires_grad_() for p in found.parameters()]
        for key, found in supervised.probes.maps.items()
    }
    learned = {name: p.detach().double().requires_grad_() for name, p in supervised.probes.anchors.items()}
    out = supervised(batch, time=0.0)
    unit = {name: vector / vector.norm() for name, vector in learned.items()}
    expected = naive(twin, plan, batch, pairs, anchors | unit, maps, in_float64(teacher))
    for rule, loss in out.rules.items():
        torch.testing.assert_close(loss.double(), expected[rule], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.token.double(), expected["token"], rtol=1e-5, atol=1e-5)
    names = [name for name, _ in model.named_parameters()]
    for ours, theirs in [*((out.rules[r], expected[r]) for r in out.rules), (out.loss, expected["total"])]:
        trained = [*model.parameters(), *supervised.probes.parameters()]
        beside = [*pairs.values(), *maps.values(), learned.values()]
        reference = [*twin.parameters(), *(p for found in beside for p in found)]
        assert theirs.item() > 0.01
        for name, a, b in zip([*names, *["probe"] * 99], grads(ours, trained), grads(theirs, reference), strict=False):
            assert (a.double() - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max())), name


def grads(loss: Tensor, parameters: list[Any]) -> list[Tensor]:
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ATTEND)
def test_attention_loss_agrees_with_the_full_matrix(kind: str, case: str) -> None:
    compare(kind, make_plan(make_attend(**ATTEND[case])), {"look": LOOKS})


SLIDING = {"sliding_window": 4}
WINDOWED: dict[str, tuple[dict[str, Any], tuple[int | None, ...]]] = {
    "mistral": (SLIDING, (4, 4, 4)),
    "qwen2": (SLIDING | {"use_sliding_window": True, "max_window_layers": 1}, (None, 4, 4)),
    "gemma2": (SLIDING, (4, None, 4)),
    "gemma3": (SLIDING | {"sliding_window_pattern": 2}, (4, None, 4)),
}
FAR_LOOKS = [(0, 5, [0, 1]), (0, 8, [0, 3, 7]), (0, 3, [3]), (1, 4, [0, 4]), (1, 5, [2])]
"""Under a window of 4, 5 sees 2 and not 1: the first row has no key, the second one of three, the last its only one."""


@pytest.mark.parametrize("kind", WINDOWED)
@pytest.mark.parametrize("case", ATTEND)
def test_attention_loss_under_a_window_agrees_with_the_full_matrix(kind: str, case: str) -> None:
    """All layers of the rule, of which some see none of a row's keys. Gemma 2 caps its scores, and has no SDPA."""
    attention = "eager" if kind == "gemma2" else "sdpa"
    settings, windows = WINDOWED[kind]
    rule = ATTEND[case] if "pairs" in ATTEND[case] else ATTEND[case] | {"layers": (1, 2, 3)}
    plan = make_plan(make_attend(**rule), windows=windows)
    rows = (
        FAR_LOOKS if None in windows_at(plan.model.windows, plan.rules[0].layers) else FAR_LOOKS[1:]
    )  # what no layer sees is no row
    compare(kind, plan, {"look": rows}, LLAMA, attention=attention, **settings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", HIDDEN)
def test_hidden_loss_agrees_with_all_hidden_states(kind: str, case: str) -> None:
    rule, rows = HIDDEN[case]
    compare(kind, make_plan(rule, teacher=make_teacher_plan()), {rule.id: rows})


@pytest.mark.parametrize("kind", KINDS)
def test_learned_anchors_have_the_gradients_of_the_reference(kind: str) -> None:
    """Rules of one group read a learned anchor, a constant one and the learned one again."""
    rules = (
        make_toward("a", anchor="pole"),
        make_toward("b"),
        make_toward("c", anchor="pole", layers=(1, "final"), weight=0.5),
        make_relate("d", anchor="pole", margin=0.9),
        make_relate("e", margin=0.8),
    )
    offsets = (make_like("f", anchor="pole"), make_like("g", anchor_to="pole"), make_like("h"))
    rows = {rule.id: SPREAD for rule in rules} | {rule.id: OFFSETS for rule in offsets}
    compare(kind, make_plan(*rules, *offsets, learned=("pole",)), rows)


@pytest.mark.parametrize("kind", [*KINDS, "mistral", "qwen2", "qwen3"])
def test_total_agrees_with_the_reference(kind: str) -> None:
    compare(kind, make_plan(*EVERYTHING), EVERY_ROW)


def step(supervised: Supervised, batches: list[Batch]) -> tuple[dict[str, float], list[Tensor]]:
    supervised.zero_grad()
    totals = supervised.totals(batches, time=0.0)
    sums: dict[str, float] = {}
    for batch in batches:
        out = supervised(batch, time=0.0, totals=totals)
        out.loss.backward()
        for name, value in {"loss": out.loss, "token": out.token, **out.rules}.items():
            sums[name] = sums.get(name, 0.0) + value.item()
    return sums, [p.grad.clone() for p in supervised.parameters()]


def test_four_micro_batches_give_the_gradients_of_one_batch() -> None:
    """Rows are spread unevenly: record 0 has three of rule `a`, record 3 none, so that a mean of means would differ."""
    plan = make_plan(*EVERYTHING)
    rows = {"a": [(0, 3, [1]), (0, 4, [2]), (0, 5, [0]), (1, 3, [2]), (2, 2, [1])], "c": [(1, 2, [0])]}
    rows |= {"e": [(0, [1]), (0, [2]), (3, [1])], "g": [(2, [1]), (2, [3])], "h": [(0, [1]), (1, [1])]}
    lengths = [6, 4, 5, 3]
    labels = {"g": [0, 2]}
    boost = [(0, 3, 4.0), (2, 2, 0.5)]
    whole = make_batch(plan, lengths, rows, labels=labels, weigh={"boost": boost})
    parts = []
    for i in range(4):
        mine = {rule: [(0, *row[1:]) for row in found if row[0] == i] for rule, found in rows.items()}
        part = make_batch(
            plan, lengths[i : i + 1], mine, labels=labels if i == 2 else None,
            weigh={"boost": [(0, *row[1:]) for row in boost if row[0] == i]},
        )  # fmt: skip
        parts.append(
            type(part)(
                **{
                    **{n: getattr(part, n) for n in part.__slots__},
                    "input_ids": whole.input_ids[i : i + 1, : lengths[i]],
                }
            )
        )
    supervised = supervise(make_model("llama"), plan, anchors=make_anchors())
    (one, expected), (four, found) = step(supervised, [whole]), step(supervised, parts)
    assert four == pytest.approx(one, abs=1e-5)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_rule_without_rows_is_a_zero_connected_to_its_probe_and_to_the_model() -> None:
    plan = make_plan(make_classify(), make_attend(), make_attend("any", heads="any"), make_attend("mean", heads="mean"))
    supervised = supervise(make_model("gpt2"), plan)
    out = supervised(make_batch(plan, [4, 3]), time=0.0)
    assert {rule: loss.item() for rule, loss in out.rules.items()} == {"read": 0, "look": 0, "any": 0, "mean": 0}
    sum(out.rules.values()).backward()
    assert all(p.grad is not None and not p.grad.any() for p in supervised.probes.parameters())
    assert not supervised.model.transformer.h[0].attn.c_attn.weight.grad.any()


def test_gradient_norms_are_those_of_the_weighted_terms() -> None:
    """The norm of 0.5 x the gradient is half the norm; `backward` still works afterwards."""
    norms = []
    for weight in (1.0, 0.5):
        plan = make_plan(make_attend(weight=weight))
        supervised = supervise(make_model("llama"), plan)
        out = supervised(make_batch(plan, [9, 6], {"look": LOOKS}), time=0.0)
        norms.append(supervised.gradient_norms(out))
        out.loss.backward()
        assert supervised.receipts["look"].gradient_norm == norms[-1]["look"]
    assert norms[1]["look"] == pytest.approx(norms[0]["look"] / 2, rel=1e-4)
    assert norms[0]["token"] > 0
