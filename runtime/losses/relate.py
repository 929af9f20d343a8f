"""`relate`: a bound on the cosine between a hidden state and a concept's anchor."""

from __future__ import annotations

from torch import Tensor


def is_a(cosine: Tensor, margin: Tensor) -> Tensor:
    """max(0, margin - cos): [R]."""
    return (margin - cosine).clamp(min=0)


def opposes(cosine: Tensor, margin: Tensor) -> Tensor:
    """max(0, cos + margin): [R]."""
    return (cosine + margin).clamp(min=0)


def distinct(cosine: Tensor, margin: Tensor) -> Tensor:
    """max(0, |cos| - margin): [R]."""
    return (cosine.abs() - margin).clamp(min=0)
