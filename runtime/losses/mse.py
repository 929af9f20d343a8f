"""`mse`: a hidden state itself."""

from __future__ import annotations

from torch import Tensor


def mse(state: Tensor, target: Tensor) -> Tensor:
    """Mean over the d dimensions of (state - target)^2: [R]."""
    return (state - target).square().mean(-1)
