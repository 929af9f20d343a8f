"""`kl`: attention spread over the keys as a distribution says."""

from __future__ import annotations

import torch
from torch import Tensor

from .rows import KeyRows


def kl(rows: KeyRows) -> Tensor:
    """KL(t || p) = sum over keys of t log t - t log p: [B, H, Q].

    t is the row's weights over those of its n keys that the model allows, scaled to a sum of 1; without weights t = 1/n.

    Source: as the cross-entropy of attention, of which it is less by the target's own: Liu et al. 2016, "Neural Machine
    Translation with Supervised Attention", https://arxiv.org/abs/1609.04186, section 3.
    """
    weight = rows.keys if rows.weight is None else rows.weight.masked_fill(~rows.keys, 0.0)
    weight = weight.to(rows.log_p.dtype)
    weight = weight / _positive(weight.amax(-1, keepdim=True))  # so that no sum overflows
    target = weight / _positive(weight.sum(-1, keepdim=True))
    return (torch.xlogy(target, target) - target * rows.log_p.masked_fill(~rows.keys, 0.0)).sum(-1)


def _positive(values: Tensor) -> Tensor:
    """The values, with 1 for the 0 of rows without a key."""
    return torch.where(values > 0, values, torch.ones_like(values))
