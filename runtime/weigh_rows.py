"""Weigh and keep rules: factors of the tokens that have a loss, and which of them are ranked."""

from __future__ import annotations

import numpy as np
import torch

from ..compiler.plan import WeighPlan
from ..compiler.ragged import Ints, changes
from .batch import KeepRows, WeighRows
from .gather import Gathered
from .layout import Layout
from .lookup import Lookup
from .readers import Readers, Slots

_NOTHING = torch.zeros(0, dtype=torch.int64)
NO_WEIGHTS, NO_KEEP = WeighRows(_NOTHING, _NOTHING, _NOTHING, _NOTHING.float()), KeepRows(_NOTHING, _NOTHING, _NOTHING)


def _constant(rule: WeighPlan) -> float:
    """The factor that the plan knows, NaN where a field has it; 1 where a score of the token will be multiplied to it."""
    if rule.factor is not None:
        return rule.factor
    return np.nan if rule.score is None else 1.0


class WeighCollator:
    """Makes the factors of all weigh rules of a plan."""

    def __init__(self, readers: Readers) -> None:
        self._table = readers.by_weigh
        self._slots: Slots = readers.weigh
        rules = [rule for rule in self._slots.rules if isinstance(rule, WeighPlan)]
        self._factor = np.array([_constant(rule) for rule in rules])
        self._only = np.flatnonzero(self._slots.flags("only"))

    def __call__(self, layout: Layout, gathered: Gathered) -> WeighRows:
        """One entry per rule and token that has a loss. A number holds once for a token; values along spans multiply where
        spans overlap."""
        if not len(self._slots):
            return NO_WEIGHTS
        spans = layout.spans
        entry, slot = self._table.expand(spans.key)
        factor, once = self._factors(layout, gathered, entry, slot)
        place, position = layout.tokens(spans.record[entry], spans.start[entry], spans.end[entry])
        record = spans.record[entry[place]]
        scored = layout.scored[record, position]
        place = place[scored]
        code = layout.code(slot[place], record[scored], position[scored])
        outside = self._outside(layout, code)
        has = ~np.isnan(factor[place])
        place, code = place[has], code[has]
        order = np.argsort(code, kind="stable")
        code, place = code[order], place[order]
        first = np.flatnonzero(changes(code))
        product = np.multiply.reduceat(factor[place], first) if len(first) else np.zeros(0)
        product = np.where(once[place[first]], factor[place[first]], product)
        code = np.concatenate((code[first], outside))
        product = np.concatenate((product, np.zeros(len(outside))))
        order = np.argsort(code, kind="stable")
        slot, record, position = layout.decode(code[order])
        return WeighRows(*map(torch.from_numpy, (record, position, slot, product[order].astype(np.float32))))

    def _factors(self, layout: Layout, gathered: Gathered, entry: Ints, slot: Ints) -> tuple[np.ndarray, np.ndarray]:
        """The factor of each entry, NaN where a field has none for it, and whether it holds once for a token."""
        factor, once = self._factor[slot], np.ones(len(slot), dtype=np.bool_)
        reads = np.flatnonzero(self._slots.source[slot] >= 0)
        if len(reads):
            lookup = Lookup(self._slots, gathered.values, len(gathered.spans.key))
            factor[reads], once[reads] = lookup.numbers(slot[reads], entry[reads], layout.spans)
        return factor, once

    def _outside(self, layout: Layout, covered: Ints) -> Ints:
        """Codes of the tokens outside each rule that is `only`."""
        found = []
        for slot in self._only:
            outside = layout.scored.copy()
            size = outside.size
            mine = covered[(covered >= slot * size) & (covered < (slot + 1) * size)]
            outside.reshape(-1)[mine - slot * size] = False
            found.append(np.flatnonzero(outside) + slot * size)
        return np.concatenate([np.zeros(0, dtype=np.int64), *found])


class KeepCollator:
    """Finds the tokens that the keep rules of a plan rank."""

    def __init__(self, readers: Readers) -> None:
        self._table = readers.by_keep
        self._rules = len(readers.keep)

    def __call__(self, layout: Layout) -> KeepRows:
        """One entry per rule and token of its set that has a loss."""
        if not self._rules:
            return NO_KEEP
        spans = layout.spans
        entry, slot = self._table.expand(spans.key)
        place, position = layout.tokens(spans.record[entry], spans.start[entry], spans.end[entry])
        record = spans.record[entry[place]]
        scored = layout.scored[record, position]
        code = layout.code(slot[place], record, position)[scored]
        slot, record, position = layout.decode(np.unique(code))
        return KeepRows(*map(torch.from_numpy, (record, position, slot)))
