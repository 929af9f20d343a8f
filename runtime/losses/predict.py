"""`predict`: the token that the model's own norm and head read from a hidden state."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..precision import widen


def predict(logits: Tensor, token: Tensor) -> Tensor:
    """Cross-entropy in nats, in float32, of the head's logits [R, V] at `token` [R]: [R].

    Deep supervision of a decoder: Lee et al. 2015, "Deeply-Supervised Nets", https://arxiv.org/abs/1409.5185; with the head
    shared by all layers: Elhoushi et al. 2024, "LayerSkip", https://arxiv.org/abs/2404.16710.
    """
    return functional.cross_entropy(widen(logits), token, reduction="none")
