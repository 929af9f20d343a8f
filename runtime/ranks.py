"""Contrasts over the batch of every rank: whose labels are equal to whose, and the hidden states of all.

Ranks have different numbers of rows, so that everything is padded to the most that one of them has. All ranks have to come here
equally often and in the same order, as for every collective operation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from .batch import HiddenRows


def joined(rows: HiddenRows, per_record: bool, document: Tensor | None = None) -> HiddenRows:
    """The rows of one rule with the labels of all ranks, and the shares that follow: a positive may be on another rank.

    `document`: of the batch, where its rows hold several records.
    """
    assert rows.label is not None
    most = torch.tensor(len(rows.label), device=rows.label.device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    room = int(most)
    among = _every(functional.pad(rows.label, (0, room - len(rows.label)), value=-1))
    own = dist.get_rank() * room + torch.arange(len(rows.label), device=among.device)
    counted = (rows.label[:, None] == among).sum(1) > 1
    share = counted.to(rows.share.dtype)
    if per_record:
        share = share / _in_record(rows, share, document).clamp(min=1)
    return replace(rows, share=share, among=among, own=own)


def states_of_all(state: Tensor, room: int) -> Tensor:
    """The states [R, d] of every rank, each padded to `room` rows: [ranks * room, d]. Gradients return to their own rank."""
    padded = functional.pad(state, (0, 0, 0, room - len(state)))
    return cast(Tensor, _Gather.apply(padded))  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    """Concatenates a tensor of every rank, equally long on each. Its gradient is the sum over the copies at all ranks."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return _every(own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def _every(own: Tensor) -> Tensor:
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own.contiguous())
    return torch.cat(parts)


def _in_record(rows: HiddenRows, share: Tensor, document: Tensor | None) -> Tensor:
    """For every row, the sum of `share` in its record."""
    first = torch.searchsorted(rows.row, torch.arange(len(share), device=share.device))
    record = rows.record[first] if document is None else document[rows.record[first], rows.position[first]]
    sums = share.new_zeros(int(record.max()) + 1 if len(record) else 0).index_add(0, record, share)
    return sums[record]
