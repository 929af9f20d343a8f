"""Which rows an epoch has, and in which order. Any stretch of it can be asked for without the rest."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ...compiler.ragged import Ints, offsets, ranges
from .permute import Permutation


class RowOrder(Protocol):
    """The places of the rows of one epoch, in their order."""

    def __len__(self) -> int: ...

    def between(self, begin: int, end: int) -> Ints:
        """Those from `begin` up to `end`."""


class Listed:
    """An order that was worked out whole: 8 bytes for each row."""

    def __init__(self, rows: Ints) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def between(self, begin: int, end: int) -> Ints:
        """As of `RowOrder`."""
        return self._rows[begin:end]


class AsStored:
    """Every row once, as the shards have them."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def between(self, begin: int, end: int) -> Ints:
        """As of `RowOrder`."""
        return np.arange(begin, min(end, self._size), dtype=np.int64)


class Shuffled:
    """Every row once, wherever it lies, in a permutation by index."""

    def __init__(self, size: int, seed: int, epoch: int) -> None:
        self._order = Permutation(size, (seed, epoch))

    def __len__(self) -> int:
        return len(self._order)

    def between(self, begin: int, end: int) -> Ints:
        """As of `RowOrder`."""
        return self._order.at(np.arange(begin, min(end, len(self)), dtype=np.int64))


class ByShards:
    """Every row once: the shards in a permutation, and rows shuffled among `together` shards that follow each other in it."""

    def __init__(self, sizes: Ints, together: int, seed: int, epoch: int) -> None:
        self._begin = offsets(sizes)[:-1]
        self._sizes = sizes
        order = Permutation(len(sizes), (seed, epoch)).at(np.arange(len(sizes), dtype=np.int64))
        self._groups = [order[at : at + together] for at in range(0, len(order), together)]
        self._ends = offsets(np.array([int(sizes[group].sum()) for group in self._groups], dtype=np.int64))
        self._entropy = (seed, epoch)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def between(self, begin: int, end: int) -> Ints:
        """As of `RowOrder`."""
        end = min(end, len(self))
        found = [np.zeros(0, dtype=np.int64)]
        first = int(np.searchsorted(self._ends, begin, side="right")) - 1
        for number in range(first, len(self._groups)):
            before = int(self._ends[number])
            if before >= end:
                break
            stop = min(end, int(self._ends[number + 1]))
            found.append(self._within(number, max(begin, before) - before, stop - before))
        return np.concatenate(found)

    def _within(self, number: int, begin: int, end: int) -> Ints:
        """Rows of a group of shards."""
        group = self._groups[number]
        places = ranges(self._begin[group], self._sizes[group])
        order = Permutation(len(places), (*self._entropy, number))
        return places[order.at(np.arange(begin, end, dtype=np.int64))]
