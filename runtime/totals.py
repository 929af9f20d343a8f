"""What one pass gives, and the denominators that the micro-batches and ranks of an optimiser step share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Reduction:
    """How ranks share their denominators: `sum` adds a tensor over all ranks, `ranks` counts them."""

    sum: Callable[[Tensor], Tensor]
    ranks: int


ALONE = Reduction(lambda tensor: tensor, 1)
"""This process and no other."""


def all_ranks() -> Reduction:
    """Every rank of torch.distributed, or this process alone where that is not initialised."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE

    def total(tensor: Tensor) -> Tensor:
        dist.all_reduce(tensor)
        return tensor

    return Reduction(total, dist.get_world_size())


@dataclass(frozen=True, slots=True)
class Totals:
    """The denominators of one optimiser step, over its micro-batches and ranks.

    `tokens` []: sum of token weights, None where it is known only after the forward pass of the one micro-batch of the step;
    `rules` [rules]: sum of shares per rule. The loss of each micro-batch is multiplied by `ranks`, because DDP and FSDP divide
    the summed gradient by their number. `reduce`: what adds up over ranks what the pass itself finds. `passes`: micro-batches
    on this rank; `step`: which step it is, kept by copies that a wrapper makes.
    """

    tokens: Tensor | None
    rules: Tensor
    ranks: int
    reduce: Reduction = ALONE
    passes: int = 1
    step: object = field(default_factory=object, compare=False, repr=False)

    def token_weight(self, weights: Tensor) -> Tensor:
        """The sum of token weights of the step, of which this pass found `weights`."""
        return self.reduce.sum(weights.sum()) if self.tokens is None else self.tokens


@dataclass(frozen=True, eq=False)
class Losses:
    """What one pass gives. Micro-batches that share their `Totals` add up, to the loss of the step and of each rule in it.

    `loss` []: what to call `backward` on: token x its multiplier + sum over rules of weight x multiplier x loss, times the
    number of ranks. `token` []: sum(w l) / sum(w). `values` [rules]: each rule's mean over its rows. `factors`: weight x
    multiplier of each. `counts` [rules + weigh and keep rules]: rows. `ranked`, `kept` [keep rules]: tokens. `ids`: of all
    rules, as in `counts`. `logits` [B, T, V], None where the token loss is computed in chunks, and of a model without a head.
    """

    loss: Tensor
    token: Tensor
    values: Tensor
    factors: tuple[float, ...]
    counts: Tensor
    ranked: Tensor
    kept: Tensor
    ids: tuple[str, ...]
    logits: Tensor | None

    @property
    def rules(self) -> dict[str, Tensor]:
        """The loss of each rule that has one, before weight and multiplier."""
        return dict(zip(self.ids, self.values, strict=False))

    @property
    def rows(self) -> dict[str, float]:
        """Rows of each rule in this batch. Waits for the device."""
        return dict(zip(self.ids, self.counts.tolist(), strict=True))


def ratio(sums: Tensor, totals: Tensor) -> Tensor:
    """`sums / totals`, and 0 (connected to `sums`) where a total is 0."""
    return sums / torch.where(totals > 0, totals, torch.ones_like(totals))
