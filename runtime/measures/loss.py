"""`loss`: how surprising a token is to a model."""

from __future__ import annotations

from torch import Tensor

from ..losses.token import token_losses


def loss(logits: Tensor, input_ids: Tensor) -> Tensor:
    """-log p(token | those before it) in nats, in float32, at the token: [B, T]. `logits` [B, T, V]; `input_ids` [B, T]."""
    return token_losses(logits, input_ids)
