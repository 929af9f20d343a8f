"""`keep`: the tokens that a rule keeps, by rank.

Selective language modelling: Lin et al. 2024, "Rho-1: Not All Tokens Are What You Need", https://arxiv.org/abs/2404.07965, keeps
the tokens of a batch whose loss is furthest above that of a reference model. Loss-ranked tokens, and the loss above a
reference as what is worth learning: Mindermann et al. 2022, "Prioritized Training on Points that are Learnable, Worth Learning,
and Not Yet Learnt", https://arxiv.org/abs/2206.07137.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..compiler.plan import KeepPlan

PARTS = 1_000_000_000
"""A share is counted in billionths, so that how many tokens it is follows from whole numbers."""


def kept_tokens(rule: KeepPlan, score: Tensor, ranked: Tensor) -> Tensor:
    """Which tokens the rule keeps: bool [B, T], a part of `ranked` [B, T], by `score` [B, T].

    Of n ranked tokens of a record, or of the batch, it keeps floor(share x n + 1/2), and at least 1 of any. Of equal scores the
    earlier token goes first, of the earlier record. A score that is no number ranks behind every other.
    """
    shape = ranked.shape
    value = score if rule.end == "top" else -score
    value = torch.where(torch.isnan(value), -torch.inf, value)
    if rule.per == "batch":
        value, ranked = value.reshape(1, -1), ranked.reshape(1, -1)
    by_score = value.argsort(dim=1, descending=True, stable=True)
    there = (~ranked.gather(1, by_score)).argsort(dim=1, stable=True)
    order = by_score.gather(1, there)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    kept = ranked & (rank < how_many(rule.share, ranked.sum(1, keepdim=True)))
    return kept.view(shape)


def how_many(share: float, count: Tensor) -> Tensor:
    """floor(share x count + 1/2), but at least 1 where `count` is above 0."""
    return ((count * round(share * PARTS) + PARTS // 2) // PARTS).clamp(min=1)
