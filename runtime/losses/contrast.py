"""`contrast`: equal spans together, and apart from all others."""

from __future__ import annotations

import torch
from torch import Tensor

from .rows import NEVER


def contrast(similarity: Tensor, positive: Tensor, others: Tensor) -> Tensor:
    """logsumexp of s(i, a) over others a - mean of s(i, p) over positives p, for each anchor i: [..., M].

    `similarity` [..., M, A]: cosines over the temperature; `positive`, `others` bool alike: whom an anchor is pulled to, and
    whom it is compared with, positives among them and itself not. An anchor without a positive costs nothing.

    Source: the supervised contrastive loss with the sum outside of the logarithm: Khosla et al. 2020, "Supervised Contrastive
    Learning", equation 2, https://arxiv.org/abs/2004.11362.
    """
    count = positive.sum(-1)
    mean = similarity.masked_fill(~positive, 0.0).sum(-1) / count.clamp(min=1)
    loss = similarity.masked_fill(~others, NEVER).logsumexp(-1) - mean
    return torch.where(count > 0, loss, torch.zeros_like(loss))
