"""Numbers of many rows, kept in memory that does not grow with them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..ragged import Ints
from .report import Share, Summary, ValueCount, ValueCounts

DISTINCT = 10_000
"""Different values that are counted one by one; what is none of the first so many is counted together."""

_BINS = 1 << 16


@dataclass(slots=True)
class Whole:
    """Whole numbers that are at least 0: how often each was met."""

    counts: dict[int, int] = field(default_factory=dict)

    def add(self, numbers: Ints, absent: int = 0) -> None:
        """Add numbers, and `absent` times 0."""
        for value, count in zip(*(a.tolist() for a in np.unique(numbers, return_counts=True)), strict=True):
            self.counts[value] = self.counts.get(value, 0) + count
        if absent:
            self.counts[0] = self.counts.get(0, 0) + absent

    def summary(self) -> Summary | None:
        """None without a number."""
        values = sorted(self.counts)
        return _summary([float(value) for value in values], [self.counts[value] for value in values])


class Real:
    """Numbers as float32: how many there are, and their sum, in each of 2^16 bins, those of equal sign, exponent and first seven
    digits of the mantissa. A quantile is the mean of its bin: exact where all numbers in it are equal, within 0.8% else."""

    def __init__(self) -> None:
        self._count = np.zeros(_BINS, np.int64)
        self._sum = np.zeros(_BINS)
        self._least, self._most = np.inf, -np.inf

    def add(self, numbers: npt.NDArray[np.float32]) -> None:
        """Add numbers; those that are not finite are none."""
        finite = np.ascontiguousarray(numbers[np.isfinite(numbers)], np.float32)
        if not len(finite):
            return
        bits = finite.view(np.uint32)
        negative = bits >> np.uint32(31) == 1
        bins = (np.where(negative, ~bits, bits | np.uint32(1 << 31)) >> np.uint32(16)).astype(np.int64)
        self._count += np.bincount(bins, minlength=_BINS)
        self._sum += np.bincount(bins, finite, _BINS)
        self._least, self._most = min(self._least, float(finite.min())), max(self._most, float(finite.max()))

    def summary(self) -> Summary | None:
        """None without a number."""
        used = np.flatnonzero(self._count)
        means = self._sum[used] / self._count[used]
        found = _summary(means.tolist(), self._count[used].tolist())
        return None if found is None else found.model_copy(update={"min": self._least, "max": self._most})


class Values:
    """Strings or whole numbers: how often each was met."""

    def __init__(self) -> None:
        self._counts: dict[str | int, int] = {}
        self._null = 0
        self._others = 0

    def add(self, values: pa.Array) -> None:
        """Add values, nulls too."""
        for entry in pc.value_counts(values).to_pylist():
            value, count = entry["values"], entry["counts"]
            if value is None:
                self._null += count
            elif value in self._counts or len(self._counts) < DISTINCT:
                self._counts[value] = self._counts.get(value, 0) + count
            else:
                self._others += count

    def counts(self) -> ValueCounts:
        """The most frequent first, equal ones in order."""
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        values = tuple(ValueCount(value=value, count=count) for value, count in ordered)
        return ValueCounts(values=values, null=self._null, others=self._others)


def share(part: int, whole: int) -> Share:
    """A part of a whole."""
    return Share(count=part, share=part / whole if whole else 0.0)


def _summary(values: list[float], counts: list[int]) -> Summary | None:
    """Of ascending values and how often each is met."""
    if not counts:
        return None
    below = np.cumsum(counts)
    total = int(below[-1])

    def at(part: float) -> float:
        return values[int(np.searchsorted(below, np.ceil(part * total), side="left"))]

    mean = float(np.dot(values, counts)) / total
    return Summary(count=total, min=values[0], median=at(0.5), mean=mean, p95=at(0.95), max=values[-1])
