"""`predict`: the token that the model's own norm and head read from a hidden state."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..precision import widen


def predict(logits: Tensor, token: Tensor) -> Tensor:
    """-log softmax(logits)[token] in nats, in float32, of the head's logits [R, V] and tokens [R]: [R].

    Source: deep supervision of a decoder: Lee et al. 2015, "Deeply-Supervised Nets", https://arxiv.org/abs/1409.5185; with the
    head shared by all layers: Elhoushi et al. 2024, "LayerSkip", https://arxiv.org/abs/2404.16710.
    """
    return functional.cross_entropy(widen(logits), token, reduction="none")
