"""`satisfied`: how often a bound is kept."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def satisfied(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """1 where `loss`, the loss of a bound, is 0, and 0 elsewhere, of the arguments and in the shape of the loss."""

    def kept(*read: Tensor) -> Tensor:
        return (loss(*read) <= 0).float()

    return kept
