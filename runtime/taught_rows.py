"""Rules that are pulled toward stored states of a teacher: which tokens have one, and the vector of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..compiler.files.opening import stored_key, stored_keys
from ..compiler.ragged import Bools, Ints
from .gather import States
from .layout import Layout
from .readers import Slots


class Taught:
    """Finds the states of the slots that read some."""

    def __init__(self, slots: Slots) -> None:
        keys = [stored_key(rule) for rule in slots.rules]
        self._keys = stored_keys(slots.rules)
        numbers = [-1 if key is None else self._keys.index(key) for key in keys]
        self._number = np.array(numbers, dtype=np.int64)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, layout: Layout, stored: Mapping[str, States], slot: Ints, record: Ints, position: Ints) -> Ints:
        """For each token, the place of its state among those of its slot, -1 where it has none, or its slot reads none."""
        found = np.full(len(slot), -1, dtype=np.int64)
        for number, key in enumerate(self._keys):
            mine = np.flatnonzero(self._number[slot] == number)
            table = _Table(layout.width, stored[key])
            found[mine] = table.find(record[mine], position[mine])
        return found

    def kept(self, slot: Ints, row: Ints, found: Ints) -> Bools:
        """The tokens to keep: all of a row that has a state at some token, and all of slots that read none."""
        has = np.bincount(row, found >= 0, minlength=int(row.max(initial=-1)) + 1) > 0
        return (self._number[slot] < 0) | has[row]


@dataclass(frozen=True, eq=False)
class _Table:
    width: int
    states: States

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self._codes)

    @cached_property
    def _codes(self) -> Ints:
        return self.states.record * self.width + self.states.position

    def find(self, record: Ints, position: Ints) -> Ints:
        """The place of the state of each token, -1 where there is none."""
        if not len(self._codes):
            return np.full(len(record), -1, dtype=np.int64)
        code, known = record * self.width + position, self._codes[self._order]
        at = np.minimum(np.searchsorted(known, code), len(known) - 1)
        return np.where(known[at] == code, self._order[at], -1)


def row_means(states: States, found: torch.Tensor, row: torch.Tensor, rows: int) -> torch.Tensor:
    """The vector of each row, float32 [rows, width]: the mean of the states `found` of its tokens, `row[n]`, but for -1."""
    kept = found >= 0
    taken = torch.from_numpy(states.states[found[kept].numpy()].astype(np.float32))
    counts = torch.zeros(rows).index_add(0, row[kept], torch.ones(len(taken)))
    return torch.zeros(rows, taken.shape[1]).index_add(0, row[kept], taken) / counts.clamp(min=1)[:, None]
