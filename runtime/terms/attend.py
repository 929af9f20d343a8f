"""Attention rules: rows computed again, and which heads they are judged by."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...compiler.plan import AttendPlan
from ..attention import key_rows
from ..batch import AttendRows
from ..capture import Captured
from ..groups import AttendGroup
from ..losses import ATTENTION
from ..losses.rows import NEVER, KeyRows, log_mass
from .term import Term

ALL = 1e-6
"""How far below 0 the logarithm of a probability of 1 may come out in float32."""


class AttendTerm(Term):
    """Attention rules with the same layers, heads, loss and direction: [B * Q]."""

    layers: tuple[int, ...]
    mass: Tensor

    def __init__(self, group: AttendGroup) -> None:
        super().__init__()
        first = group.rules[0]
        self.rules, self.layers, self.heads = group.rules, first.layers, first.heads
        self._chosen = {layer: _chosen(first, layer) for layer in first.layers}
        self.loss = ATTENTION["avoid" if first.avoid else first.loss]
        # Without a mass: all of it, or none where the keys are to be avoided.
        unbounded = 0.0 if first.avoid else 1.0
        mass = [unbounded if rule.mass is None else rule.mass for rule in group.rules]
        self.register_buffer("mass", torch.tensor(mass), persistent=False)

    def read(self, rows: AttendRows, seen: Captured, segments: Tensor) -> list[tuple[KeyRows]]:
        keys = torch.zeros((*rows.position.shape, segments.shape[1]), dtype=torch.bool, device=segments.device)
        keys[rows.pair_record, rows.pair_row, rows.pair_key] = True
        weight = None
        if rows.pair_weight is not None:
            weight = torch.zeros(keys.shape, dtype=rows.pair_weight.dtype, device=segments.device)
            weight[rows.pair_record, rows.pair_row, rows.pair_key] = rows.pair_weight
        given = (rows.position, keys, self.mass[rows.rule], segments)
        found = [key_rows(seen.attention[k], *given, heads, weight) for k, heads in self._chosen.items()]
        return [(layer,) for layer in ([_averaged(found)] if self.heads == "mean" else found)]

    def over(self, found: list[tuple[KeyRows]], rows: AttendRows, function: Callable[..., Tensor]) -> Tensor:
        values = torch.cat([function(*layer) for layer in found], 1)
        if self.heads == "any":
            return values.gather(1, _best([layer for (layer,) in found])).flatten()
        return _mean_over([layer for (layer,) in found], values).flatten()

    def heard(self, seen: Captured) -> bool:
        return all(layer in seen.attention for layer in self.layers)


def _chosen(rule: AttendPlan, layer: int) -> tuple[int, ...] | None:
    """The heads that a rule names in a layer; None for all of them."""
    if rule.pairs:
        return tuple(head for at, head in rule.pairs if at == layer)
    return rule.heads if isinstance(rule.heads, tuple) else None


@torch.no_grad()
def _best(found: list[KeyRows]) -> Tensor:
    """Per row, which of all layers and heads places the most on the keys, the lowest on a tie: [B, 1, Q]. A layer that sees none
    of them is no choice.

    Where a row's keys are all that it sees, every head places 1 on them, and rounding has no say in which is the lowest.
    """
    mass = torch.cat([log_mass(layer.log_p, layer.keys) for layer in found], 1)
    mass = mass.masked_fill(mass > -ALL, 0.0)
    return mass.masked_fill(~_sees(found), -math.inf).argmax(1, keepdim=True)


def _sees(found: list[KeyRows]) -> Tensor:
    """Whether each layer and head sees any of a row's keys: [B, layers x H, Q]. Windows differ by layer."""
    return torch.cat([layer.keys.any(-1).expand(-1, layer.log_p.shape[1], -1) for layer in found], 1)


def _mean_over(found: list[KeyRows], values: Tensor) -> Tensor:
    """The mean of values [B, layers x H, Q] over the layers and heads that see any of a row's keys: [B, Q]."""
    sees = _sees(found)
    return (values * sees).sum(1) / sees.sum(1).clamp(min=1)


def _averaged(found: list[KeyRows]) -> KeyRows:
    """Rows of the probability averaged, by logsumexp, over the layers and heads that see any of a row's keys."""
    sees = _sees(found)
    log_p = torch.cat([layer.log_p for layer in found], 1).masked_fill(~sees[..., None], NEVER)
    keys = torch.cat([layer.keys for layer in found], 1).any(1, keepdim=True)
    rest = torch.cat([layer.rest for layer in found], 1).any(1, keepdim=True)
    number = sees.sum(1, keepdim=True).clamp(min=1)
    mean = log_p.logsumexp(1, keepdim=True) - number.log()[..., None]
    return KeyRows(mean, keys, rest, found[0].mass, found[0].weight)
