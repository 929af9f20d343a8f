"""The token loss: cross-entropy of each token given the row before it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..precision import widen


def token_losses(logits: Tensor, input_ids: Tensor) -> Tensor:
    """Cross-entropy in nats of every token, at the token, in float32: [B, T].

    `logits` [B, T, V]; `input_ids` [B, T]. A token is predicted one row before it: the targets are moved rather than the logits,
    which are large. Nothing predicts a record's first token, whose loss is 0 here.
    """
    target = functional.pad(input_ids[:, 1:], (0, 1))
    loss = functional.cross_entropy(widen(logits).flatten(0, 1), target.flatten(), reduction="none")
    return functional.pad(loss.view_as(target)[:, :-1], (1, 0))
