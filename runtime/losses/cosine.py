"""`cosine`: the direction of a hidden state."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8
"""The least product of two norms, so that the cosine of a zero vector is 0."""


def cosine_similarity(state: Tensor, target: Tensor) -> Tensor:
    """x . y / max(|x| |y|, EPSILON) of raw vectors [R, d]: [R], in -1..1."""
    return torch.nn.functional.cosine_similarity(state, target, dim=-1, eps=EPSILON)


def cosine(state: Tensor, target: Tensor) -> Tensor:
    """1 - cos(state, target): [R], in 0..2, of raw vectors [R, d].

    Source: as the third loss of DistilBERT pulls hidden states: Sanh et al. 2019, "DistilBERT, a distilled version of BERT",
    https://arxiv.org/abs/1910.01108, section 3.
    """
    return 1 - cosine_similarity(state, target)
