"""Packed batches: rows that hold several records, one behind the other, with all that supervises them.

Which records share a row is a matter of their lengths alone: `Packer`. Moving the tensors of a batch there is `pack`. Shares,
labels and members of contrasts were worked out per record before, and stay what they were: a packed batch has the losses of the
padded one.

Best fit in decreasing order, by counts of what is left: Krell et al. 2021, "Efficient Sequence Packing without
Cross-contamination", https://arxiv.org/abs/2107.02027.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..dsl.codes.runtime import BINS, LONG_RECORD
from ..dsl.diagnostics import Failure
from .batch import AttendRows, Batch, HiddenRows, KeepRows, WeighRows

Bins = Sequence[Sequence[int]]
"""The records of each row, as places in a batch, or in whatever the lengths were of."""

R = TypeVar("R", WeighRows, KeepRows, HiddenRows)


class Packer:
    """Puts records together in rows of `width` tokens."""

    def __init__(self, width: int) -> None:
        self.width = width

    def bins(self, lengths: npt.ArrayLike) -> list[list[int]]:
        """The rows for records of `lengths`, int64 [n], each a list of places 0..n-1: the same for the same lengths, always.

        The longest record first, each into the fullest row that has room for it, of those the one begun last. Rows are in the
        order of their first record, and so are the records in a row, so that the order of records is kept as far as it can be.
        Fails with MCD727 where a record is longer than a row.
        """
        found = np.asarray(lengths, dtype=np.int64)
        longest = int(found.max(initial=0))
        if longest > self.width:
            raise _too_long(longest, self.width, "a record has")
        bins: list[list[int]] = []
        left: list[list[int]] = [[] for _ in range(self.width + 1)]  # the rows with so many places left
        there = 0  # the bit of each number of places that some row has left
        order = np.argsort(-found, kind="stable")
        for record, length in zip(order.tolist(), found[order].tolist(), strict=True):
            fitting = there >> length
            if not fitting:
                bins.append([record])
                row, room = len(bins) - 1, self.width
            else:
                room = length + (fitting & -fitting).bit_length() - 1
                row = left[room].pop()
                bins[row].append(record)
                if not left[room]:
                    there &= ~(1 << room)
            left[room - length].append(row)
            there |= 1 << (room - length)
        return sorted(sorted(row) for row in bins)


def pack(batch: Batch, bins: Bins, width: int, *, pad_id: int = 0) -> Batch:
    """`batch`, a padded one, with its records in rows of `width` tokens: row b holds the records `bins[b]`, one behind another.

    `ids` stay as they are, and `document` says where each record is; `position_ids` begin anew with each. A record's first token
    is still not scored, and every row of every rule is the one that it was. The rest of a row is filled with `pad_id`. Tensors
    stay on their device. Fails with MCD727 where the records of a row are longer than it, and with MCD728 where the bins do not
    hold each record of the batch once, or the batch is packed already.
    """
    moves = _Moves.of(batch, bins)
    there = batch.attention_mask.bool()
    start, full = moves.before(there.sum(1))
    if int(full.max()) > width:
        raise _too_long(int(full.max()), width, "the records of a row have")
    first = there.int().argmax(1)
    shift = start - first
    record, position = there.nonzero(as_tuple=True)
    at = moves.row[record], shift[record] + position
    place = torch.arange(there.shape[1], device=there.device) - first[:, None]
    number = torch.arange(there.shape[0], device=there.device)[:, None].expand(there.shape)

    def moved(values: Tensor, fill: float) -> Tensor:
        """Values [.., B, T] of tokens at their new places, and `fill` elsewhere."""
        found = values.new_full((*values.shape[:-2], len(bins), width), fill)
        found[..., at[0], at[1]] = values[..., there]
        return found

    def along(rows: R) -> R:
        """The same rows at their tokens' new places."""
        return replace(rows, record=moves.row[rows.record], position=shift[rows.record] + rows.position)

    return replace(
        batch,
        input_ids=moved(batch.input_ids, pad_id),
        attention_mask=moved(batch.attention_mask, 0),
        scored=moved(batch.scored, False),
        weigh=along(batch.weigh),
        keep=along(batch.keep),
        attend=tuple(_attention(rows, moves, shift) for rows in batch.attend),
        hidden=tuple(along(rows) for rows in batch.hidden),
        measures=None if batch.measures is None else moved(batch.measures, torch.nan),
        labels=None if batch.labels is None else moved(batch.labels, pad_id),
        position_ids=moved(place, 0),
        document=moved(number, -1),
    )


@dataclass(frozen=True, eq=False)
class _Moves:
    """Where records go: `row` [B] of each, and `order` [B], the records of one row after those of another; `rows` in all."""

    row: Tensor
    order: Tensor
    rows: int

    @classmethod
    def of(cls, batch: Batch, bins: Bins) -> _Moves:
        if batch.document is not None:
            raise Failure(BINS.at(None, "the batch is packed already", help="pack what the collator gave"))
        found, records = [record for row in bins for record in row], len(batch.ids)
        if sorted(found) != list(range(records)):
            message = f"the rows hold the records {found}, and not each of the batch's {records} once"
            help = "make them of the lengths of the batch's records: `Packer(width).bins(lengths)`"
            raise Failure(BINS.at(None, message, help=help))
        order = torch.tensor(found, dtype=torch.int64)
        row = torch.empty_like(order)
        row[order] = torch.repeat_interleave(torch.tensor([len(row) for row in bins]))
        device = batch.input_ids.device
        return cls(row.to(device), order.to(device), len(bins))

    def before(self, count: Tensor) -> tuple[Tensor, Tensor]:
        """Of things of which each record has `count` [B]: how many its row has before it, [B], and how many a row has, [rows]."""
        full = torch.zeros(self.rows, dtype=count.dtype, device=count.device).index_add(0, self.row, count)
        ordered = count[self.order]
        found = torch.empty_like(count)
        found[self.order] = ordered.cumsum(0) - ordered
        return found - (full.cumsum(0) - full)[self.row], full


def _attention(rows: AttendRows, moves: _Moves, shift: Tensor) -> AttendRows:
    """The rows of the records of each packed row, one behind another, padded again. `shift` [B]: of the tokens of records."""
    before, full = moves.before(rows.valid.sum(1))
    rank = rows.valid.cumsum(1) - 1 + before[:, None]
    record, old = rows.valid.nonzero(as_tuple=True)
    row, new, width = moves.row[record], rank[record, old], int(full.max())

    def laid(values: Tensor) -> Tensor:
        found = values.new_zeros(moves.rows, width)
        found[row, new] = values[record, old]
        return found

    return AttendRows(
        position=laid(rows.position + shift[:, None]),
        valid=laid(rows.valid),
        rule=laid(rows.rule),
        share=laid(rows.share),
        pair_record=moves.row[rows.pair_record],
        pair_row=rank[rows.pair_record, rows.pair_row],
        pair_key=shift[rows.pair_record] + rows.pair_key,
        pair_weight=rows.pair_weight,
    )


def _too_long(tokens: int, width: int, what: str) -> Failure:
    message = f"{what} {tokens} tokens, and a packed row {width}"
    return Failure(LONG_RECORD.at(None, message, help=f"pack into rows of at least {tokens} tokens"))
