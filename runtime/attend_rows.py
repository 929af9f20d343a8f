"""Attention rules: stored edges, and pairs of sets, to supervised query tokens and their key tokens."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..compiler.ragged import Ints, changes, in_order, join, ranges, ranks
from .batch import AttendRows
from .gather import FlatEdges
from .layout import Layout, distinct
from .readers import Readers, Slots, Table

Weights = npt.NDArray[np.float32]


class AttendCollator:
    """Makes the rows of every attention group of a plan."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._slots: Slots = readers.attend
        self._each = self._slots.flags("each")
        self._per_record = self._slots.flags("per", "record")
        self._weighted = [group.weighted for group in readers.groups.attend]

    def __call__(self, layout: Layout, edges: FlatEdges) -> tuple[AttendRows, ...]:
        """One AttendRows per group. All pairs that share rule, record and query token are one row, but with `each`."""
        if not len(self._slots):
            return ()
        stored, weight = self._stored(layout, edges)
        pair = join([stored, *self._crossed(layout)])
        if weight is None:
            pair = distinct(pair)
        else:
            ones = np.ones(len(pair) - len(stored), dtype=np.float32)
            pair, weight = _heaviest(pair, np.concatenate([weight, ones]))
        query, key = np.divmod(pair, layout.width)
        new = changes(query) | self._each[query // (layout.records * layout.width)]
        row = np.cumsum(new) - 1
        slot, record, position = layout.decode(query[new])
        share = np.where(self._per_record[slot], 1 / layout.per_record(slot, record), 1).astype(np.float32)
        group = np.searchsorted(self._slots.groups, slot, side="right") - 1
        cell = group * layout.records + record
        order = np.argsort(cell, kind="stable")
        rank = np.empty_like(cell)
        rank[order] = ranks(cell[order])
        bounds = np.searchsorted(slot, self._slots.groups)
        pair_bounds = np.searchsorted(row, bounds)
        found = []
        for number in range(len(bounds) - 1):
            rows = slice(bounds[number], bounds[number + 1])
            pairs = slice(pair_bounds[number], pair_bounds[number + 1])
            columns = (position[rows], self._slots.place[slot[rows]], share[rows])
            laid = _laid(layout.records, record[rows], rank[rows], *columns)
            ends = [record[row[pairs]], rank[row[pairs]], key[pairs]]
            if weight is not None and self._weighted[number]:
                ends.append(weight[pairs])
            found.append(AttendRows(*laid, *(torch.from_numpy(column) for column in ends)))
        return tuple(found)

    def _stored(self, layout: Layout, edges: FlatEdges) -> tuple[Ints, Weights | None]:
        """Codes of (slot, record, query, key) of the stored edges, and their weights where any rule reads them. Keys that no
        layer of a rule can see are left out."""
        entry, slot = self._readers.by_edges.expand(edges.key)
        record = edges.record[entry]
        place, query = layout.tokens(record, edges.query_start[entry], edges.query_end[entry])
        entry, slot, record = entry[place], slot[place], record[place]
        start, end = edges.key_start[entry], edges.key_end[entry]
        alone = end - start == 1
        reach = self._readers.reach[slot]
        start = np.maximum(start, query - reach + 1)
        end = np.minimum(end, query + (1 if layout.causal else reach))
        length = np.maximum(end - start, 0)
        code = np.repeat(layout.code(slot, record, query), length)
        key = ranges(start, length)
        kept = ~layout.blank[np.repeat(record, length), key] | np.repeat(alone, length)
        pairs: Ints = (code * layout.width + key)[kept]
        return pairs, None if edges.weight is None else np.repeat(edges.weight[entry], length)[kept]

    def _crossed(self, layout: Layout) -> list[Ints]:
        """The same of the pairs of sets. What acted in a part before meets only what did not."""
        read = self._readers
        if not len(read.by_query.slots):
            return []
        query, key = self._tokens(layout, read.by_query), self._tokens(layout, read.by_key)
        query_again, key_again = self._tokens(layout, read.by_query_again), self._tokens(layout, read.by_key_again)
        every_key = distinct(join([key, key_again])) if len(key_again) else key
        return [self._pairs(layout, query, every_key), self._pairs(layout, query_again, key)]

    def _pairs(self, layout: Layout, query: Ints, key: Ints) -> Ints:
        """Every query token with every key token of its slot and record that some layer of the rule lets it see."""
        begin = query - query % layout.width
        reach = self._readers.reach[query // (layout.records * layout.width)]
        start = np.searchsorted(key, np.maximum(begin, query - reach + 1))
        behind = query + (1 if layout.causal else reach)
        length = np.searchsorted(key, np.minimum(begin + layout.width, behind)) - start
        return np.repeat(query, length) * layout.width + key[ranges(start, length)] % layout.width

    def _tokens(self, layout: Layout, table: Table) -> Ints:
        """Codes of (slot, record, position) of the tokens of the spans that a table's slots read."""
        entry, slot = table.expand(layout.spans.key)
        spans = layout.spans
        place, position = layout.tokens(spans.record[entry], spans.start[entry], spans.end[entry])
        return distinct(layout.code(slot[place], spans.record[entry][place], position))


def _heaviest(code: Ints, weight: Weights) -> tuple[Ints, Weights]:
    """The different codes in order, each with the largest of its weights: equal ones stay equal, however edges overlap."""
    order = in_order(code)
    first = np.flatnonzero(changes(code[order]))
    if not len(first):
        return code, weight
    return code[order[first]], np.maximum.reduceat(weight[order], first)


def _laid(
    records: int, record: Ints, rank: Ints, position: Ints, rule: Ints, share: np.ndarray
) -> tuple[torch.Tensor, ...]:
    """Position, valid, rule and share of rows, each [B, Q]."""
    shape = (records, int(rank.max(initial=-1)) + 1)
    found = []
    for values in (position, np.ones(len(record), dtype=np.bool_), rule, share):
        laid = np.zeros(shape, dtype=values.dtype)
        laid[record, rank] = values
        found.append(torch.from_numpy(laid))
    return tuple(found)
