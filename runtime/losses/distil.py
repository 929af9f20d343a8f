"""`predict = NAME.logits`: a teacher's distribution over tokens."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..precision import widen


def distil(logits: Tensor, teacher: Tensor, temperature: Tensor) -> Tensor:
    """T^2 KL(p || q) in nats, in float32, with p = softmax(teacher / T) and q = softmax(logits / T): [R], from logits [R, V] and
    temperatures T [R].

    The factor keeps gradients of a size, whatever the temperature. Source: Hinton et al. 2015, "Distilling the Knowledge in a
    Neural Network", https://arxiv.org/abs/1503.02531, section 2.
    """
    scale = temperature[:, None]
    log_q = functional.log_softmax(widen(logits) / scale, dim=-1)
    log_p = functional.log_softmax(widen(teacher) / scale, dim=-1)
    return temperature**2 * functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
