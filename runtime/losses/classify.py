"""`classify`: a label that an affine probe reads."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def classify(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy in nats of the probe's logits [R, classes] at `label` [R]: [R]."""
    return functional.cross_entropy(logits, label, reduction="none")
