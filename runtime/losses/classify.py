"""`classify`: a label that an affine probe reads."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def classify(logits: Tensor, label: Tensor) -> Tensor:
    """-log softmax(logits)[label] in nats, of the probe's logits [R, classes] and labels [R]: [R].

    Source: probes are those of Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes",
    https://arxiv.org/abs/1610.01644; that their gradient trains the layers below, Lee et al. 2015, "Deeply-Supervised Nets",
    https://arxiv.org/abs/1409.5185.
    """
    return functional.cross_entropy(logits, label, reduction="none")
