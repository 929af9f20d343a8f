"""`excess_loss`: what a model has yet to learn about a token, by a reference that knows what can be learnt."""

from __future__ import annotations

from torch import Tensor

from ..losses.token import token_losses


def excess_loss(logits: Tensor, reference: Tensor, input_ids: Tensor) -> Tensor:
    """loss in the model - loss in the reference, in nats, in float32, at the token: [B, T]. Both logits [B, T, V].

    Above 0 the reference predicts the token better. Lin et al. 2024, "Rho-1: Not All Tokens Are What You Need",
    https://arxiv.org/abs/2404.07965.
    """
    return token_losses(logits, input_ids) - token_losses(reference, input_ids)
