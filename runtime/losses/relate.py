"""`relate`: a bound on the cosine between a hidden state and a concept's anchor."""

from __future__ import annotations

from torch import Tensor


def is_a(cosine: Tensor, margin: Tensor) -> Tensor:
    """max(0, margin - cos): [R], of cosines and margins [R].

    Source: this project; a margin on a cosine is that of PyTorch's CosineEmbeddingLoss,
    https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html.
    """
    return (margin - cosine).clamp(min=0)


def opposes(cosine: Tensor, margin: Tensor) -> Tensor:
    """max(0, cos + margin): [R], of cosines and margins [R].

    Source: this project; a margin on a cosine is that of PyTorch's CosineEmbeddingLoss,
    https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html.
    """
    return (cosine + margin).clamp(min=0)


def distinct(cosine: Tensor, margin: Tensor) -> Tensor:
    """max(0, |cos| - margin): [R], of cosines and margins [R].

    Source: this project; a margin on a cosine is that of PyTorch's CosineEmbeddingLoss,
    https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html.
    """
    return (cosine.abs() - margin).clamp(min=0)
