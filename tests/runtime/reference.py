"""The losses again, as DESIGN.md words them and with no care for cost: full attention matrices and hidden states of an eager
model in float64, one Python loop per row. Shares nothing with the runtime but the batch and the plan."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mcd.compiler.plan import (
    ClassifyPlan,
    ContrastPlan,
    DistilPlan,
    LikePlan,
    Plan,
    PredictPlan,
    RelatePlan,
    TowardPlan,
)
from mcd.runtime.batch import Batch
from mcd.runtime.groups import group_rules


@dataclass(frozen=True)
class Body:
    """Where a model keeps what the reference reads, written by hand: `blocks`, the path of its blocks; `run`, its output with
    attentions and hidden states, from the embedding's on to what the head reads; `read`, the logits of a state [d], of an inner
    block or of that."""

    blocks: str
    run: Callable[[nn.Module, Batch], Any]
    read: Callable[[Any, Tensor, bool], Tensor] | None


def in_float64(model: nn.Module) -> nn.Module:
    """A copy of the model in float64 with eager attention."""
    twin = copy.deepcopy(model).double()
    twin.set_attn_implementation("eager")
    if hasattr(twin.config, "_experts_implementation"):
        twin.set_experts_implementation("eager")  # The fast products of experts have no float64.
    for module in twin.modules():
        if hasattr(module, "reorder_and_upcast_attn"):  # The same numbers in another order, which refuses float64.
            module.reorder_and_upcast_attn = False
    return twin


def naive(
    twin: nn.Module,
    plan: Plan,
    batch: Batch,
    probes: Any = None,
    anchors: dict[str, Tensor] | None = None,
    maps: Any = None,
    teacher: nn.Module | None = None,
    body: Body | None = None,
) -> dict[str, Tensor]:
    """The loss of each rule by id, `token`, and `total` with all multipliers 1. `probes[rule, layer]`: weight and bias;
    `maps[rule, layer]`: weights and biases, one after another. `teacher`: as from `in_float64`. `body`: of other models
    than those that are laid out as GPT-2 or Llama. A model without logits has no `token`."""
    body = body or _laid_out(twin)
    out, states = looked(twin, plan, batch, body)
    taught = None
    if teacher is not None:
        with torch.no_grad():
            given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
            taught = teacher(**given, output_hidden_states=True)
    found: dict[str, Tensor] = {}
    groups = group_rules(plan)
    for group, rows in zip(groups.attend, batch.attend, strict=True):
        for i, rule in enumerate(group.rules):
            losses = [
                (rows.share[b, q].double(), _attend(rule, out.attentions, rows, b, q, plan.model.windows))
                for b, q in rows.valid.nonzero().tolist()
                if rows.rule[b, q] == i
            ]
            found[rule.id] = _mean(losses)
    for group, rows in zip(groups.hidden, batch.hidden, strict=True):
        for i, rule in enumerate(group.rules):
            which = [r for r in range(len(rows.rule)) if rows.rule[r] == i]
            found[rule.id] = _mean(
                [
                    (
                        rows.share[r].double(),
                        _hidden(rule, twin, states, rows, r, probes, anchors or {}, maps or {}, taught, body),
                    )
                    for r in which
                ]
            )
    found["token"] = torch.zeros(()) if body.read is None else _token(out.logits, batch, plan.model.causal)
    found["total"] = found["token"] + sum(
        r.weight * found[r.id] for g in groups.attend + groups.hidden for r in g.rules
    )
    return found


def _laid_out(twin: nn.Module) -> Body:
    if hasattr(twin, "bert"):
        return Body("bert.encoder.layer", run_decoder, lambda model, h, final: model.cls(h))
    blocks, norm = (
        ("transformer.h", "transformer.ln_f") if hasattr(twin, "transformer") else ("model.layers", "model.norm")
    )

    def read(model: Any, h: Tensor, final: bool) -> Tensor:
        return model.lm_head.weight @ (h if final else model.get_submodule(norm)(h))

    return Body(blocks, run_decoder, read)


def run_decoder(twin: nn.Module, batch: Batch, **given: Any) -> Any:
    given |= {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    return twin(**given, output_attentions=True, output_hidden_states=True)


def looked(twin: nn.Module, plan: Plan, batch: Batch, body: Body | None = None) -> tuple[Any, dict[Any, Tensor]]:
    """What the model gives, with all attention matrices, and the residual stream [B, T, d] by layer."""
    body = body or _laid_out(twin)
    last: list[Tensor] = []
    block = twin.get_submodule(body.blocks)[-1]
    handle = block.register_forward_hook(lambda _, args, out: last.append(out[0] if isinstance(out, tuple) else out))
    out = body.run(twin, batch)
    handle.remove()
    states = dict(enumerate(out.hidden_states[:-1])) | {plan.model.layers: last[0], "final": out.hidden_states[-1]}
    return out, states


def _mean(losses: list[tuple[Tensor, Tensor]]) -> Tensor:
    return sum(s * x for s, x in losses) / sum(s for s, _ in losses) if losses else torch.zeros(())


def _attend(rule: Any, attentions: tuple[Tensor, ...], rows: Any, b: int, q: int, windows: tuple[Any, ...]) -> Tensor:
    mine = (rows.pair_record == b) & (rows.pair_row == q)
    keys = rows.pair_key[mine].tolist()
    weights = dict(zip(keys, [1.0] * len(keys) if rows.pair_weight is None else rows.pair_weight[mine], strict=True))
    heads = rule.heads if isinstance(rule.heads, tuple) else range(attentions[0].shape[1])
    where = rule.pairs or [(k, h) for k in rule.layers for h in heads]
    at = int(rows.position[b, q])
    inside = {
        k: [j for j in keys if not windows or windows[k - 1] is None or abs(at - j) < windows[k - 1]] for k, _ in where
    }
    each = [(attentions[k - 1][b, h, at].double(), inside[k]) for k, h in where if inside[k]]
    if rule.heads == "mean":
        each = [(sum(row for row, _ in each) / len(each), sorted({j for _, seen in each for j in seen}))]
    if rule.heads == "any":
        each = [max(each, key=lambda row: row[0][row[1]].sum().item())]
    losses = [_bound(rule, row[seen], torch.tensor([weights[j] for j in seen]).double()) for row, seen in each]
    return sum(losses) / len(losses)


def _bound(rule: Any, p: Tensor, weights: Tensor) -> Tensor:
    if rule.avoid:
        return (math.log(1 - (rule.mass or 0.0)) - torch.log(1 - p.sum())).clamp(min=0)
    if rule.loss == "kl":
        target = weights / weights.sum()
        return (target * (target.log() - p.log())).sum()
    if rule.loss == "hinge":
        return (math.log(rule.mass) - p.sum().log()).clamp(min=0)
    return -p.sum().log()


def state_of(rule: Any, layer: Any, states: dict[Any, Tensor], rows: Any, r: int, maps: Any) -> Tensor:
    tokens = (rows.row == r).nonzero().flatten().tolist()
    h = torch.stack([states[layer][rows.record[n], rows.position[n]] for n in tokens]).mean(0)
    if rule.through is None:
        return h
    weight, bias, *rest = maps[rule.id, layer]
    h = weight @ h + bias
    return rest[0] @ (h * (1 + torch.erf(h / math.sqrt(2))) / 2) + rest[1] if rest else h


def _contrast(rule: Any, layer: Any, states: dict[Any, Tensor], rows: Any, r: int, maps: Any) -> Tensor:
    record = [rows.record[(rows.row == n).nonzero()[0, 0]] for n in range(len(rows.rule))]
    others = [
        n
        for n in range(len(rows.rule))
        if n != r and rows.rule[n] == rows.rule[r] and (rule.scope == "batch" or record[n] == record[r])
    ]
    z = {n: state_of(rule, layer, states, rows, n, maps) for n in [r, *others]}
    s = {n: z[n] @ z[r] / (z[n].norm() * z[r].norm()) / rule.temperature for n in others}
    total = sum(s[n].exp() for n in others)
    positives = [n for n in others if rows.label[n] == rows.label[r]]
    if not positives:
        return torch.zeros((), dtype=torch.float64)
    return -sum((s[n].exp() / total).log() for n in positives) / len(positives)


def _hidden(
    rule: Any,
    twin: Any,
    states: dict[Any, Tensor],
    rows: Any,
    r: int,
    probes: Any,
    anchors: Any,
    maps: Any,
    taught: Any,
    body: Any,
) -> Tensor:
    losses = []
    for layer in rule.layers:
        tokens = (rows.row == r).nonzero().flatten().tolist()
        if isinstance(rule, LikePlan):
            losses.append(_like(rule, states[layer], rows, tokens, anchors))
            continue
        if isinstance(rule, ContrastPlan):
            losses.append(_contrast(rule, layer, states, rows, r, maps))
            continue
        h = state_of(rule, layer, states, rows, r, maps)
        if isinstance(rule, PredictPlan):
            logits = body.read(twin, h, layer == "final")
            losses.append(-torch.log_softmax(logits, 0)[rows.label[r]])
            continue
        if isinstance(rule, ClassifyPlan):
            weight, bias = probes[rule.id, layer]
            losses.append(-torch.log_softmax(weight @ h + bias, 0)[rows.label[r]])
            continue
        if isinstance(rule, DistilPlan):
            q = torch.log_softmax(body.read(twin, h, layer == "final") / rule.temperature, 0)
            logits = sum(taught.logits[rows.record[n], rows.position[n]] for n in tokens) / len(tokens)
            p = torch.softmax(logits / rule.temperature, 0)
            losses.append(rule.temperature**2 * (p * (p.log() - q)).sum())
            continue
        if getattr(rule, "hidden", None) is not None:
            read = taught.hidden_states[-1 if rule.hidden.layer == "final" else rule.hidden.layer]
            v = sum(read[rows.record[n], rows.position[n]] for n in tokens) / len(tokens)
        else:
            v = (anchors[rule.anchor] if rule.anchor else rows.vector[r]).double()
        cos = (h @ v) / (h.norm() * v.norm())
        if isinstance(rule, RelatePlan):
            sides = {"is_a": rule.margin - cos, "opposes": cos + rule.margin, "distinct": cos.abs() - rule.margin}
            losses.append(sides[rule.relation].clamp(min=0))
        elif isinstance(rule, TowardPlan):
            losses.append(1 - cos if rule.loss == "cosine" else ((h - v) ** 2).mean())
    return sum(losses) / len(losses)


def _like(rule: LikePlan, states: Tensor, rows: Any, tokens: list[int], anchors: dict[str, Tensor]) -> Tensor:
    sides = [[n for n in tokens if (rows.weight[n] > 0) == to] for to in (False, True)]
    a, b = (torch.stack([states[rows.record[n], rows.position[n]] for n in side]).mean(0) for side in sides)
    offset, target = b - a, (anchors[rule.anchor_to] - anchors[rule.anchor]).double()
    return (rule.margin - (offset @ target) / (offset.norm() * target.norm())).clamp(min=0)


def _token(logits: Tensor, batch: Batch, causal: bool = True) -> Tensor:
    weights = batch.scored.double()
    for record, position, factor in zip(batch.weigh.record, batch.weigh.position, batch.weigh.factor, strict=True):
        weights[record, position] *= factor
    tokens, before = (batch.input_ids, 1) if causal else (batch.labels, 0)
    terms = [
        (weights[b, i], -torch.log_softmax(logits[b, i - before], 0)[tokens[b, i]])
        for b, i in weights.nonzero().tolist()
    ]
    return _mean(terms)
