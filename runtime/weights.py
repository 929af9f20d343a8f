"""Token weights: which tokens have a loss, and how much each of them counts."""

from __future__ import annotations

from torch import Tensor

from .batch import Batch


def token_weights(batch: Batch, multipliers: Tensor) -> Tensor:
    """The weight of every token, at the token that is predicted: [B, T] float32.

    `multipliers` [weigh rules]: a rule of factor f acts as 1 + m (f - 1), so that m = 0 switches it off and m = 1 on; factors
    of several rules multiply, and none falls below 0. Tokens without a loss weigh 0.
    """
    weights = batch.scored.float()
    rows = batch.weigh
    factor = (1 + multipliers[rows.rule] * (rows.factor - 1)).clamp(min=0)
    flat = rows.record * weights.shape[1] + rows.position
    return weights.flatten().scatter_reduce(0, flat, factor, reduce="prod").view_as(weights)
