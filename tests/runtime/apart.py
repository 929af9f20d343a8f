"""Gradients again in float64, loss by loss: with the head untied from the embedding, `stop` is a mask, `scale` a factor, and
`project` is written out over one long vector. Nothing of the runtime's hooks takes part."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mcd.compiler.plan import Plan
from mcd.runtime.batch import Batch

from .builders import LAYERS
from .reference import in_float64, naive

Vectors = dict[str, Tensor]


def layer_of(name: str) -> Any:
    """The layer of a parameter of GPT-2 or Llama, from its name alone."""
    parts = name.split(".")
    if "h" in parts or "layers" in parts:
        return int(next(part for part in parts if part.isdigit())) + 1
    return "final" if parts[0] == "lm_head" or parts[1] in ("ln_f", "norm") else 0


def untied(model: nn.Module) -> nn.Module:
    twin = in_float64(model)
    twin.lm_head.weight = nn.Parameter(twin.lm_head.weight.detach().clone())
    return twin


def gradients(model: nn.Module, plan: Plan, batch: Batch, **given: Any) -> tuple[Vectors, Vectors]:
    """The gradient of the token loss and that of the rules with their weights, by parameter of the untied model, with `stop` and
    `scale` of the plan. Rules read one layer each."""
    twin = untied(model)
    losses = naive(twin, plan, batch, **given)
    names = dict(twin.named_parameters())
    token = masked(losses["token"], "final", names, plan)
    rules = {name: torch.zeros_like(p) for name, p in names.items()}
    for rule in plan.rules:
        (layer,) = rule.layers
        for name, gradient in masked(losses[rule.id], layer, names, plan).items():
            rules[name] = rules[name] + rule.weight * gradient
    return token, rules


def masked(loss: Tensor, layer: Any, names: dict[str, nn.Parameter], plan: Plan) -> Vectors:
    """The gradient of a loss that reads `layer`, without what lies below a stop, times the factors."""
    top = LAYERS + 1 if layer == "final" else layer
    given = plan.gradient
    stopped = max((stop for stop in given.stop if stop < top), default=-1) if given else -1
    factors = dict(given.scale) if given else {}
    found = torch.autograd.grad(loss, list(names.values()), retain_graph=True, allow_unused=True)
    result = {}
    for (name, parameter), gradient in zip(names.items(), found, strict=True):
        own = layer_of(name)
        reached = gradient is not None and (own == "final" or own > stopped)
        result[name] = gradient * factors.get(own, 1.0) if reached else torch.zeros_like(parameter)
    return result


def tied(model: nn.Module, vectors: Vectors) -> Vectors:
    """The gradients of `model`, whose head may be its embedding."""
    found = dict(vectors)
    if model.lm_head.weight is model.get_input_embeddings().weight:
        embedding = next(name for name, p in model.named_parameters() if p is model.lm_head.weight)
        found[embedding] = found[embedding] + found.pop("lm_head.weight")
    return found


def projected(token: Vectors, rules: Vectors) -> tuple[Vectors, float]:
    """The sum after the projection, and the cosine before it."""
    t, r = (torch.cat([each.flatten() for each in vectors.values()]) for vectors in (token, rules))
    dot = t @ r
    if dot < 0:
        r = r - dot / (t @ t) * t
    parts = torch.split(t + r, [each.numel() for each in token.values()])
    shaped = {name: part.view_as(token[name]) for name, part in zip(token, parts, strict=True)}
    return shaped, float(dot / (t.norm() * torch.cat([each.flatten() for each in rules.values()]).norm()))


def agree(model: nn.Module, expected: Vectors, tolerance: float = 1e-5) -> None:
    """`.grad` of every parameter of the model, where None is 0."""
    for name, parameter in model.named_parameters():
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        error = (found.double() - expected[name]).abs().max()
        assert error <= tolerance * max(1.0, float(expected[name].abs().max())), name
