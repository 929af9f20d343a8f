"""Rules on the offset between two sets of spans: one row for every part of a record that holds both."""

from __future__ import annotations

import numpy as np
import torch

from ..compiler.ragged import Ints, changes, in_order
from .batch import HiddenRows
from .layout import Layout
from .readers import Readers, Slots

NOTHING = 1e-12
"""A weight below it is a rounding error of what cancels out."""


class LikeCollator:
    """Makes the rows of every group of `like` rules of a plan.

    A row's state is a weighted sum of its tokens: those of `to` add up to 1, those of `subject` to -1, each side the mean over
    its spans (under `pool = each`, over its tokens).
    """

    def __init__(self, readers: Readers) -> None:
        self._table = readers.by_like
        self._slots: Slots = readers.like
        self._each, self._first, self._last = (self._slots.flags("pool", pool) for pool in ("each", "first", "last"))

    def __call__(self, layout: Layout) -> tuple[HiddenRows, ...]:
        """One HiddenRows per group, with `weight`."""
        if not len(self._slots):
            return ()
        spans = layout.spans
        entry, side = self._table.expand(spans.key)
        slot, record = side // 2, spans.record[entry]
        start = np.where(self._last[slot], spans.end[entry] - 1, spans.start[entry])
        end = np.where(self._first[slot], spans.start[entry] + 1, spans.end[entry])
        place, position = layout.tokens(record, start, end)
        cell = side * layout.records + record
        kept = self._once(layout, cell[place], slot[place], position)
        place, position = place[kept], position[kept]
        cell, slot = cell[place], slot[place]
        weight = self._weights(cell, slot, place)
        found = []
        for first, last in zip(self._slots.groups[:-1], self._slots.groups[1:], strict=True):
            mine = np.flatnonzero((slot >= first) & (slot < last))
            found.append(self._rows(layout, cell[mine], position[mine], weight[mine]))
        return tuple(found)

    def _once(self, layout: Layout, cell: Ints, slot: Ints, position: Ints) -> Ints:
        """The tokens to keep: under `each` every token of a side once, however many spans it is in."""
        kept = ~self._each[slot]
        chosen = np.flatnonzero(~kept)
        kept[chosen[np.unique(cell[chosen] * layout.width + position[chosen], return_index=True)[1]]] = True
        return np.flatnonzero(kept)

    def _weights(self, cell: Ints, slot: Ints, place: Ints) -> np.ndarray:
        """The weight of each token: 1 over the spans of its side times the tokens of its span, or over the tokens of its side."""
        tokens = np.bincount(cell)[cell] if len(cell) else cell
        own = np.bincount(place)[place] if len(place) else place
        spans = np.bincount(cell[changes(place)])[cell] if len(cell) else cell
        whole = np.where(self._each[slot], tokens, own * spans)
        return np.asarray(1 / whole)

    def _rows(self, layout: Layout, cell: Ints, position: Ints, weight: np.ndarray) -> HiddenRows:
        """The rows of one group: cells that have both sides, in the order of rules and records.

        What both sides share cancels out here, and not in sums of states. Where that is everything, there is no row.
        """
        side, record = np.divmod(cell, layout.records)
        slot, to = np.divmod(side, 2)
        pair = slot * layout.records + record
        kept = np.isin(pair, np.intersect1d(pair[to == 0], pair[to == 1]))
        code = (pair * layout.width + position)[kept]
        order = in_order(code)
        new = changes(code[order])
        net = np.bincount(np.cumsum(new) - 1, np.where(to == 1, weight, -weight)[kept][order])
        left = np.abs(net) > NOTHING
        pair, position = np.divmod(code[order][new][left], layout.width)
        slot, record = np.divmod(pair, layout.records)
        new = changes(pair)
        columns = (record, position, np.cumsum(new) - 1, self._slots.place[slot[new]], net[left].astype(np.float32))
        at, place, row, rule, weights = (torch.from_numpy(column) for column in columns)
        share = torch.ones(len(rule), dtype=torch.float32)
        return HiddenRows(at, place, row, rule, share, None, None, weight=weights)
