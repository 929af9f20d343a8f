"""The rows of a window of the order, as the units that batches are made of: a row each, or the rows of a packed sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ...compiler.ragged import Ints

Lengths = Callable[[Ints], Ints]
"""The tokens of rows, by their places."""

WINDOW = 4096
"""Rows of a window where nothing but the speed depends on it."""


class Cut(Protocol):
    """How a window of `window` rows is made units. `even`: whether every row is one."""

    window: int
    even: bool

    def units(self, rows: Ints, entropy: tuple[int, ...]) -> list[Ints]:
        """The units of a window. They hold every one of `rows` once, and follow from them and `entropy`."""


class Single:
    """Every row is a unit."""

    window = WINDOW
    even = True

    def units(self, rows: Ints, entropy: tuple[int, ...]) -> list[Ints]:
        """As of `Cut`."""
        return list(rows[:, None])


class Buckets:
    """Every row is a unit; those of a batch are of about one length. The rows of a window are sorted by it and cut into runs of
    `run`, which are shuffled. What is left over, in the last window of an epoch, comes last."""

    even = True

    def __init__(self, lengths: Lengths, window: int, run: int) -> None:
        self.window = window
        self._lengths, self._run = lengths, run

    def units(self, rows: Ints, entropy: tuple[int, ...]) -> list[Ints]:
        """As of `Cut`."""
        ranked = rows[np.argsort(self._lengths(rows), kind="stable")]
        random = np.random.default_rng(entropy)
        whole, rest = divmod(len(ranked), self._run)
        begin = int(random.integers(whole + 1)) * self._run
        full = np.delete(ranked, slice(begin, begin + rest)).reshape(whole, self._run)
        shuffled = full[random.permutation(whole)].reshape(-1)
        return list(np.concatenate([shuffled, ranked[begin : begin + rest]])[:, None])
