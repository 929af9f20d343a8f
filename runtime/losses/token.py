"""The token loss: cross-entropy of each token given the row before it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..precision import widen


def token_loss(logits: Tensor, input_ids: Tensor, weights: Tensor) -> Tensor:
    """Sum over tokens of weight times cross-entropy in nats, in float32: a scalar.

    `logits` [B, T, V]; `input_ids`, `weights` [B, T]. The weight of a token stands at the token, its prediction one row
    earlier: the targets are moved rather than the logits, which are large. Nothing predicts a record's first token.
    """
    target = functional.pad(input_ids[:, 1:], (0, 1))
    weight = functional.pad(weights[:, 1:], (0, 1))
    loss = functional.cross_entropy(widen(logits).flatten(0, 1), target.flatten(), reduction="none")
    return (loss * weight.flatten()).sum()
