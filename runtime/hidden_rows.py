"""Rules on the hidden state: spans to rows, each the mean of some tokens, with its label or vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..compiler.ragged import Ints, changes
from .batch import HiddenRows
from .gather import Gathered
from .groups import ClassifyGroup, HiddenGroup, TowardGroup
from .layout import Layout
from .lookup import Lookup
from .readers import Readers, Slots, Source


class HiddenCollator:
    """Makes the rows of every hidden group of a plan."""

    def __init__(self, readers: Readers) -> None:
        self._table = readers.by_hidden
        self._groups: tuple[HiddenGroup, ...] = readers.groups.hidden
        self._slots: Slots = readers.hidden
        self._each, self._first, self._last = (self._slots.flags("pool", pool) for pool in ("each", "first", "last"))
        self._per_record = self._slots.flags("per", "record")
        firsts = self._slots.source[self._slots.groups[:-1]]
        self._vector_sources = [
            self._slots.sources[place] if isinstance(group, TowardGroup) and place >= 0 else None
            for group, place in zip(self._groups, firsts.tolist(), strict=True)
        ]
        self._classes = np.array([getattr(rule, "classes", 0) for rule in self._slots.rules], dtype=np.int64)

    def __call__(self, layout: Layout, gathered: Gathered) -> tuple[HiddenRows, ...]:
        """One HiddenRows per group. Under `each` a token is one row per rule and label or vector, however many spans it is in."""
        spans = layout.spans
        entry, slot = self._table.expand(spans.key)
        load = self._loads(layout, gathered, entry, slot)
        order = np.argsort(slot, kind="stable")
        order = order[load[order] >= 0]
        entry, slot, load = entry[order], slot[order], load[order]
        start = np.where(self._last[slot], spans.end[entry] - 1, spans.start[entry])
        end = np.where(self._first[slot], spans.start[entry] + 1, spans.end[entry])
        place, position = layout.tokens(spans.record[entry], start, end)
        kept = self._once(layout, slot[place], spans.record[entry[place]], position, load[place])
        place, position = place[kept], position[kept]
        new = changes(place) | self._each[slot[place]]
        row, record = np.cumsum(new) - 1, spans.record[entry[place]]
        slot, load = slot[place[new]], load[place[new]]
        share = np.where(self._per_record[slot], 1 / layout.per_record(slot, record[new]), 1).astype(np.float32)
        row_bounds = np.searchsorted(slot, self._slots.groups)
        bounds = np.searchsorted(row, row_bounds)
        local = row - np.repeat(row_bounds[:-1], np.diff(bounds))
        by_token = zip(*(_split(column, bounds) for column in (record, position, local)), strict=True)
        by_row = zip(*(_split(column, row_bounds) for column in (self._slots.place[slot], share, load)), strict=True)
        found = []
        for number, ((tokens, at, of), (rule, shares, loads)) in enumerate(zip(by_token, by_row, strict=True)):
            label = loads if isinstance(self._groups[number], ClassifyGroup) else None
            vector = self._vectors(self._vector_sources[number], gathered, loads)
            found.append(HiddenRows(tokens, at, of, rule, shares, label, vector))
        return tuple(found)

    def _loads(self, layout: Layout, gathered: Gathered, entry: Ints, slot: Ints) -> Ints:
        """What each entry carries: a label, the place of a vector, 0 where its rule reads none, -1 where it has none."""
        load = np.zeros_like(entry)
        reads = np.flatnonzero(self._slots.source[slot] >= 0)
        if not len(reads):
            return load
        lookup = Lookup(self._slots, gathered.values, len(gathered.spans.key))
        entry, slot = entry[reads], slot[reads]
        labelled = self._classes[slot] > 0
        number, _ = lookup.numbers(slot, entry, layout.spans)
        place, _ = lookup.places(slot, entry, layout.spans)
        inside = (number >= 0) & (number < self._classes[slot])
        load[reads] = np.where(labelled, np.where(inside, number, -1), place)
        return load

    def _once(self, layout: Layout, slot: Ints, record: Ints, position: Ints, load: Ints) -> Ints:
        """The tokens to keep: under `each` the first of those that agree in slot, record, position and what they carry."""
        code = layout.code(slot, record, position) * (int(load.max(initial=0)) + 1) + load
        each = self._each[slot]
        if (code[1:] > code[:-1]).all() or not each.any():
            return np.arange(len(code))
        chosen = np.flatnonzero(each)
        kept = ~each
        kept[chosen[np.unique(code[chosen], return_index=True)[1]]] = True
        return np.flatnonzero(kept)

    def _vectors(self, source: Source | None, gathered: Gathered, place: torch.Tensor) -> torch.Tensor | None:
        if source is None:
            return None
        vectors = gathered.values[source].flat.reshape(-1, source.width)
        return torch.from_numpy(vectors[place.numpy()].astype(np.float32))


def _split(column: npt.NDArray[Any], bounds: Ints) -> tuple[torch.Tensor, ...]:
    """The pieces of a column between neighbouring bounds, of which the first is its start and the last its end."""
    pieces: tuple[torch.Tensor, ...] = torch.split(torch.from_numpy(column), np.diff(bounds).tolist())
    return pieces
