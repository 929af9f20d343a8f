"""Where a loader stands in an epoch, and what comes next: the same for any number of ranks and workers.

An epoch is its windows one after another, and a window its units. A step takes the next `ranks * batch_size` of them, a rank its
share. What is left, any other number of ranks can go on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ...compiler.ragged import Ints
from .rows import RowOrder
from .units import Cut


@dataclass(frozen=True, slots=True)
class Position:
    """Before unit `place` of window `window` of epoch `epoch`. `done`: units of the epoch handed out, to all ranks together."""

    epoch: int = 0
    window: int = 0
    place: int = 0
    done: int = 0


class Epoch:
    """The units of one epoch. A window is worked out when it is reached, and the last one is kept."""

    def __init__(self, rows: RowOrder, cut: Cut, seed: int, number: int) -> None:
        self._rows, self._cut, self._seed = rows, cut, seed
        self.number = number
        self.windows = -(-len(rows) // cut.window)
        self._kept: tuple[int, list[Ints]] = (-1, [])

    def window(self, number: int) -> list[Ints]:
        """The units of a window."""
        if self._kept[0] != number:
            begin = number * self._cut.window
            rows = self._rows.between(begin, begin + self._cut.window)
            self._kept = number, self._cut.units(rows, (self._seed, self.number, number))
        return self._kept[1]

    def take(self, at: Position, count: int) -> tuple[list[Ints], Position]:
        """The next `count` units, or what is left of the epoch, and the position behind them."""
        found: list[Ints] = []
        window, place = at.window, at.place
        while window < self.windows and len(found) < count:
            units = self.window(window)
            taken = units[place : place + count - len(found)]
            found += taken
            place += len(taken)
            if place == len(units):
                window, place = window + 1, 0
        return found, Position(at.epoch, window, place, at.done + len(found))

    def left(self, at: Position) -> int:
        """The units that are left behind a position. Where units are packed, the whole epoch is packed once to know."""
        return self._size - at.done

    @cached_property
    def _size(self) -> int:
        if self._cut.even:
            return len(self._rows)
        return sum(len(self.window(number)) for number in range(self.windows))


def share(units: Sequence[Ints], rank: int, ranks: int) -> Sequence[Ints]:
    """What a rank has of the units of a step: as many as any other to within one."""
    return units[len(units) * rank // ranks : len(units) * (rank + 1) // ranks]
