"""Rules on the hidden state: spans to rows, each the mean of some tokens, with its label or vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..compiler.files.opening import stored_key
from ..compiler.plan import ClassifyPlan, PredictPlan, RulePlan
from ..compiler.ragged import Bools, Ints, changes, ranks
from .batch import HiddenRows
from .gather import Gathered
from .groups import ClassifyGroup, ContrastGroup, LikeGroup, PredictGroup, TowardGroup
from .layout import Layout
from .lookup import Lookup
from .readers import Readers, Slots, Source
from .taught_rows import Taught, row_means


class HiddenCollator:
    """Makes the rows of every hidden group of a plan that reads one set of spans."""

    def __init__(self, readers: Readers, vocab: int) -> None:
        self._table = readers.by_hidden
        self._groups = [group for group in readers.groups.hidden if not isinstance(group, LikeGroup)]
        self._slots: Slots = readers.hidden
        self._each, self._first, self._last = (self._slots.flags("pool", pool) for pool in ("each", "first", "last"))
        self._per_record = self._slots.flags("per", "record")
        self._contrast = self._slots.flags("kind", "contrast")
        self._within = self._slots.flags("scope", "record")
        firsts = self._slots.source[self._slots.groups[:-1]]
        self._vector_sources = [
            self._slots.sources[place] if isinstance(group, TowardGroup) and place >= 0 else None
            for group, place in zip(self._groups, firsts.tolist(), strict=True)
        ]
        self._keys = [stored_key(group.rules[0]) for group in self._groups]
        rules = self._slots.rules
        self._classes = np.array([_classes(rule, vocab) for rule in rules], dtype=np.int64)
        self._taught = Taught(self._slots)
        self._ahead = np.array([getattr(rule, "ahead", None) or 0 for rule in rules], dtype=np.int64)

    def __call__(self, layout: Layout, gathered: Gathered, ids: Ints) -> tuple[HiddenRows, ...]:
        """One HiddenRows per group. Under `each` a token is one row per rule and label or vector, however many spans it is in.

        `ids` [B, T]: the tokens of the batch.
        """
        if not len(self._slots):
            return ()
        spans = layout.spans
        entry, slot = self._table.expand(spans.key)
        load, keys = self._loads(layout, gathered, entry, slot)
        order = np.argsort(slot, kind="stable")
        order = order[load[order] >= 0]
        entry, slot, load = entry[order], slot[order], load[order]
        start = np.where(self._last[slot], spans.end[entry] - 1, spans.start[entry])
        end = np.where(self._first[slot], spans.start[entry] + 1, spans.end[entry])
        place, position = layout.tokens(spans.record[entry], start, end)
        kept = self._once(layout, slot[place], spans.record[entry[place]], position, load[place])
        place, position = place[kept], position[kept]
        target = np.where(self._each[slot[place]], position, end[place] - 1) + self._ahead[slot[place]]
        there = target < layout.end[spans.record[entry[place]]]
        place, position, target = place[there], position[there], target[there]
        new = changes(place) | self._each[slot[place]]
        states = np.full(len(place), -1)
        if self._taught:
            states = self._taught.find(layout, gathered.states, slot[place], spans.record[entry[place]], position)
            kept = np.flatnonzero(self._taught.kept(slot[place], np.cumsum(new) - 1, states))
            place, position, target, states, new = place[kept], position[kept], target[kept], states[kept], new[kept]
        row, record = np.cumsum(new) - 1, spans.record[entry[place]]
        slot, load = slot[place[new]], load[place[new]]
        load = np.where(self._ahead[slot] > 0, ids[record[new], target[new]], load)
        counted = self._counted(layout, slot, record[new], load)
        rows = np.where(self._per_record[slot], layout.per_record(slot, record[new], counted), 1)
        share = (counted / np.maximum(rows, 1)).astype(np.float32)
        row_bounds = np.searchsorted(slot, self._slots.groups)
        bounds = np.searchsorted(row, row_bounds)
        local = row - np.repeat(row_bounds[:-1], np.diff(bounds))
        by_token = zip(*(_split(column, bounds) for column in (record, position, local, states)), strict=True)
        columns = (self._slots.place[slot], share, load, record[new])
        by_row = zip(*(_split(column, row_bounds) for column in columns), strict=True)
        found = []
        for number, ((tokens, at, of, which), (rule, shares, loads, owner)) in enumerate(
            zip(by_token, by_row, strict=True)
        ):
            group = self._groups[number]
            vector = self._vectors(self._vector_sources[number], gathered, loads)
            if (key := self._keys[number]) is not None:
                vector = row_means(gathered.states[key], which, of, len(rule))
            label, members = None, None
            if isinstance(group, ClassifyGroup | PredictGroup):
                label = loads
            elif isinstance(group, ContrastGroup):
                label = torch.from_numpy(keys)[loads]
                members = _members(group, rule.numpy(), owner.numpy(), layout.records)
            found.append(HiddenRows(tokens, at, of, rule, shares, label, vector, members))
        return tuple(found)

    def _loads(self, layout: Layout, gathered: Gathered, entry: Ints, slot: Ints) -> tuple[Ints, Ints]:
        """What each entry carries: a label, the place of a key or of a vector, 0 where its rule reads none, -1 where it has none;
        and the keys."""
        load = np.zeros_like(entry)
        reads = np.flatnonzero(self._slots.source[slot] >= 0)
        if not len(reads):
            return load, np.zeros(0, dtype=np.int64)
        lookup = Lookup(self._slots, gathered.values, len(gathered.spans.key))
        entry, slot = entry[reads], slot[reads]
        labelled, contrast = self._classes[slot] > 0, self._contrast[slot]
        number, _ = lookup.numbers(slot, entry, layout.spans)
        place, _ = lookup.places(slot, entry, layout.spans)
        inside = (number >= 0) & (number < self._classes[slot])
        found = np.where(labelled, np.where(inside, number, -1), place).astype(np.int64)
        known = contrast & (number >= 0)
        keys, found[known] = np.unique(number[known], return_inverse=True)
        found[contrast & ~known] = -1
        load[reads] = found
        return load, keys.astype(np.int64)

    def _counted(self, layout: Layout, slot: Ints, record: Ints, load: Ints) -> Bools:
        """The rows that count: of a contrast those with another of the same key, which are its anchors."""
        counted = ~self._contrast[slot]
        rows = np.flatnonzero(~counted)
        slot, load = slot[rows], load[rows]
        cell = slot * layout.records + np.where(self._within[slot], record[rows], 0)
        _, alike, count = np.unique(
            cell * (int(load.max(initial=0)) + 1) + load, return_inverse=True, return_counts=True
        )
        counted[rows] = count[alike] > 1
        return counted

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


def _classes(rule: RulePlan, vocab: int) -> int:
    """How many labels a rule knows, 0 where it reads none."""
    match rule:
        case ClassifyPlan(classes=classes):
            return classes
        case PredictPlan(field=str()):
            return vocab
    return 0


def _members(group: ContrastGroup, rule: Ints, record: Ints, records: int) -> torch.Tensor:
    """Which rows are contrasted with each other: [G, M], -1 where padded."""
    cell = np.zeros_like(rule) if group.rules[0].scope == "batch" else rule * records + record
    order = np.argsort(cell, kind="stable")
    rank, number = ranks(cell[order]), np.cumsum(changes(cell[order])) - 1
    members = np.full((int(number.max(initial=-1)) + 1, int(rank.max(initial=0)) + 1), -1)
    members[number, rank] = order
    return torch.from_numpy(members)


def _split(column: npt.NDArray[Any], bounds: Ints) -> tuple[torch.Tensor, ...]:
    """The pieces of a column between neighbouring bounds, of which the first is its start and the last its end."""
    pieces: tuple[torch.Tensor, ...] = torch.split(torch.from_numpy(column), np.diff(bounds).tolist())
    return pieces
