"""`kl`: attention spread evenly over the keys."""

from __future__ import annotations

from torch import Tensor

from .rows import KeyRows


def kl(rows: KeyRows) -> Tensor:
    """KL(u || p) with u uniform over the row's n keys, -log n - mean of log p over them: [B, H, Q]."""
    count = rows.keys.sum(-1).clamp(min=1)
    mean = rows.log_p.masked_fill(~rows.keys, 0.0).sum(-1) / count
    return -(count.to(mean.dtype).log() + mean)
