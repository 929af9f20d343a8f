"""The metrics again, one Python loop per row over full attention matrices and hidden states in float64: see `reference`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mcd.compiler.plan import (
    AttendPlan,
    ClassifyPlan,
    ContrastPlan,
    LikePlan,
    Plan,
    PredictPlan,
    RelatePlan,
    WeighPlan,
)
from mcd.runtime.batch import Batch
from mcd.runtime.groups import group_rules

from .reference import looked, state_of

Rows = dict[tuple[str, str], list[tuple[float, float]]]
"""Rule and metric -> share and value of every row."""


def naive_metrics(twin: nn.Module, plan: Plan, batches: list[Batch], probes: Any, anchors: dict[str, Tensor]) -> Any:
    """Rule and metric -> mean over the rows of all batches, weighted by their shares; ("", name) for all tokens."""
    found: Rows = {}
    labels: dict[str, list[int]] = {}
    for batch in batches:
        out, states = looked(twin, plan, batch)
        groups = group_rules(plan)
        for group, rows in zip(groups.attend, batch.attend, strict=True):
            for b, q in rows.valid.nonzero().tolist():
                rule = group.rules[rows.rule[b, q]]
                for name, value in _attend(rule, out.attentions, rows, b, q).items():
                    found.setdefault((rule.id, name), []).append((rows.share[b, q].item(), value))
        for group, rows in zip(groups.hidden, batch.hidden, strict=True):
            for r in range(len(rows.rule)):
                rule = group.rules[rows.rule[r]]
                each = [_hidden(rule, twin, layer, states, rows, r, probes, anchors) for layer in rule.layers]
                for name in each[0]:
                    value = sum(one[name] for one in each) / len(each)
                    found.setdefault((rule.id, name), []).append((rows.share[r].item(), value))
                if isinstance(rule, ClassifyPlan):
                    labels.setdefault(rule.id, []).append(rows.label[r].item())
        _tokens(plan, batch, out.logits, found)
    means = {key: _mean(rows) for key, rows in found.items()}
    return means | {(rule, "majority"): max(map(every.count, every)) / len(every) for rule, every in labels.items()}


def _mean(rows: list[tuple[float, float]]) -> float | None:
    total = sum(share for share, _ in rows)
    return sum(share * value for share, value in rows) / total if total else None


def _attend(rule: AttendPlan, attentions: tuple[Tensor, ...], rows: Any, b: int, q: int) -> dict[str, float]:
    keys = rows.pair_key[(rows.pair_record == b) & (rows.pair_row == q)].tolist()
    heads = rule.heads if isinstance(rule.heads, tuple) else range(attentions[0].shape[1])
    where = rule.pairs or [(k, h) for k in rule.layers for h in heads]
    each = [attentions[k - 1][b, h, rows.position[b, q]][keys].sum().item() for k, h in where]
    if rule.heads == "mean":
        each = [sum(each) / len(each)]
    if rule.heads == "any":
        each = [max(each)]
    found = {"mass": sum(each) / len(each)}
    if rule.mass is not None:
        kept = [p <= rule.mass if rule.avoid else p >= rule.mass for p in each]
        found["satisfied"] = sum(kept) / len(kept)
    return found


def _hidden(
    rule: Any, twin: Any, layer: Any, states: Any, rows: Any, r: int, probes: Any, anchors: Any
) -> dict[str, float]:
    if isinstance(rule, ContrastPlan):
        return {"accuracy": _nearest(rule, layer, states, rows, r)}
    if isinstance(rule, LikePlan):
        tokens = (rows.row == r).nonzero().flatten().tolist()
        h = sum(rows.weight[n].double() * states[layer][rows.record[n], rows.position[n]] for n in tokens)
        return _bounded(rule, _cos(h, (anchors[rule.anchor_to] - anchors[rule.anchor]).double()), "is_a")
    h = state_of(rule, layer, states, rows, r, {})
    if isinstance(rule, ClassifyPlan):
        weight, bias = probes[rule.id, layer]
        return {"accuracy": float((weight @ h + bias).argmax() == rows.label[r])}
    if isinstance(rule, PredictPlan):
        norm = twin.transformer.ln_f if hasattr(twin, "transformer") else twin.model.norm
        logits = twin.lm_head.weight @ (h if layer == "final" else norm(h))
        return {"accuracy": float(logits.argmax() == rows.label[r])}
    cos = _cos(h, (anchors[rule.anchor] if rule.anchor else rows.vector[r]).double())
    return _bounded(rule, cos, rule.relation) if isinstance(rule, RelatePlan) else {"cosine": cos}


def _bounded(rule: Any, cos: float, relation: str) -> dict[str, float]:
    kept = {"is_a": cos >= rule.margin, "opposes": cos <= -rule.margin, "distinct": abs(cos) <= rule.margin}[relation]
    return {"cosine": abs(cos) if relation == "distinct" else cos, "satisfied": float(kept)}


def _cos(a: Tensor, b: Tensor) -> float:
    return ((a @ b) / (a.norm() * b.norm())).item()


def _nearest(rule: ContrastPlan, layer: Any, states: Any, rows: Any, r: int) -> float:
    record = [rows.record[(rows.row == n).nonzero()[0, 0]] for n in range(len(rows.rule))]
    others = [n for n in range(len(record)) if n != r and rows.rule[n] == rows.rule[r] and record[n] == record[r]]
    if not others:
        return 0.0
    mine = state_of(rule, layer, states, rows, r, {})
    nearest = max(others, key=lambda n: _cos(mine, state_of(rule, layer, states, rows, n, {})))
    return float(rows.label[nearest] == rows.label[r])


def _tokens(plan: Plan, batch: Batch, logits: Tensor, found: Rows) -> None:
    weighs = [rule for rule in plan.rules if isinstance(rule, WeighPlan)]
    rows = batch.weigh
    entries = list(
        zip(rows.record.tolist(), rows.position.tolist(), rows.rule.tolist(), rows.factor.tolist(), strict=True)
    )
    for b, i in batch.scored.nonzero().tolist():
        loss = -torch.log_softmax(logits[b, i - 1], 0)[batch.input_ids[b, i]].item()
        weight = 1.0
        mine = {rule: factor for record, at, rule, factor in entries if (record, at) == (b, i)}
        for factor in mine.values():
            weight *= factor
        found.setdefault(("", "loss"), []).append((weight, loss))
        found.setdefault(("", "unweighted"), []).append((1.0, loss))
        for n, rule in enumerate(weighs):
            inside = n in mine and not (rule.only and mine[n] == 0)
            found.setdefault((rule.id, "loss" if inside else "outside"), []).append((1.0, loss))
