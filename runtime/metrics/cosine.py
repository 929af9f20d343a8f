"""`cosine`: where hidden states point."""

from __future__ import annotations

from torch import Tensor

from ..losses.cosine import cosine_similarity


def with_target(state: Tensor, target: Tensor, *bound: Tensor) -> Tensor:
    """cos(state, target) of raw vectors [R, d]: [R], in -1..1."""
    return cosine_similarity(state, target)


def known(cosine: Tensor, margin: Tensor) -> Tensor:
    """The cosine with the anchor itself: [R], in -1..1."""
    return cosine


def size(cosine: Tensor, margin: Tensor) -> Tensor:
    """|cos|: [R], in 0..1."""
    return cosine.abs()
