"""`accuracy`: how often what is read is right."""

from __future__ import annotations

import torch
from torch import Tensor

from ..losses.rows import NEVER


def accuracy(logits: Tensor, label: Tensor) -> Tensor:
    """1 where the largest of the logits [R, C] is that of `label` [R], the first of equal ones: [R]."""
    return (logits.argmax(-1) == label).float()


def neighbour_accuracy(similarity: Tensor, positive: Tensor, others: Tensor) -> Tensor:
    """1 where the nearest of those that a row is compared with is a positive, the first of equally near ones: [..., M].

    `similarity` [..., M, A]: cosines over the temperature; `positive`, `others` bool alike, as the loss of `contrast` reads them.
    With k = 1, the k-nearest-neighbour accuracy of Wu et al. 2018, "Unsupervised Feature Learning via Non-parametric Instance
    Discrimination", https://arxiv.org/abs/1805.01978, within the record or the batch.
    """
    if not similarity.shape[-1]:
        return similarity.new_zeros(similarity.shape[:-1])
    nearest = similarity.masked_fill(~others, NEVER).argmax(-1, keepdim=True)
    return positive.gather(-1, nearest)[..., 0].to(similarity.dtype)


def classes(logits: Tensor, label: Tensor) -> Tensor:
    """`label` [R] as 0 and 1 for each class: [R, C]. Their mean is how often each class is right."""
    return torch.nn.functional.one_hot(label, logits.shape[-1]).to(logits.dtype)


def majority(shares: Tensor) -> Tensor:
    """The accuracy of always saying the class that is right most often, from the shares of the classes [..., C]: [...]."""
    return shares.amax(-1)
