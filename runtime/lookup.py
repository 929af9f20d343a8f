"""Values that rules read for a span: from a list along the set, one for the record, or an attribute of the span itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..compiler.ragged import Bools, Ints
from .gather import Flat, Values
from .readers import Slots, Source


class Lookup:
    """The sources of some slots in one batch, one after another, so that one gather reads for all slots.

    `stored`: how many spans of the batch come from shards; the others have no attributes.
    """

    def __init__(self, slots: Slots, values: Mapping[Source, Values], stored: int) -> None:
        found = [values[source] for source in slots.sources]
        numbers = [
            each.flat if source.width == 1 else np.zeros(0) for source, each in zip(slots.sources, found, strict=True)
        ]
        self._slots = slots
        self._stored = stored
        self._numbers: npt.NDArray[np.float64] = np.concatenate([np.zeros(0), *numbers])
        self._base = np.cumsum([0, *(len(flat) for flat in numbers)])
        self._single = np.array([source.width == 1 for source in slots.sources], dtype=np.bool_)
        self._along_spans = np.array([source.along_spans for source in slots.sources], dtype=np.bool_)
        self._start = np.stack([each.start for each in found])
        self._count = np.stack([each.count for each in found])

    def places(self, slot: Ints, entry: Ints, spans: Flat) -> tuple[Ints, Bools]:
        """The place of the value of each span `entry` in its slot's source, -1 where it has none, and whether that value is one
        for the whole record."""
        source, record = self._slots.source[slot], spans.record[entry]
        along, count = self._along_spans[source], self._count[source, record]
        single = ~along & (count == 1)
        listed = np.where(single, 0, spans.index[entry])
        there = np.where(along, entry < self._stored, (listed >= 0) & (listed < count))
        place = np.where(along, entry, self._start[source, record] + listed)
        return np.where(there, place, -1), single

    def numbers(self, slot: Ints, entry: Ints, spans: Flat) -> tuple[npt.NDArray[np.float64], Bools]:
        """The same with the value itself, a label's place in its classes or a factor; NaN where there is none and for vectors."""
        place, single = self.places(slot, entry, spans)
        found = np.full(len(place), np.nan)
        there = (place >= 0) & self._single[self._slots.source[slot]]
        found[there] = self._numbers[self._base[self._slots.source[slot[there]]] + place[there]]
        return found, single
