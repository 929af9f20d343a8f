"""Array operations on lists of different lengths: what stands in for a loop over spans or tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def offsets(lengths: Ints) -> Ints:
    """Where each of n lists begins when they stand one after another: int64[n + 1], the last entry the total."""
    found = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=found[1:])
    return found


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """`start, start + 1, ..., start + length - 1` of every list, one after another."""
    before = offsets(lengths)
    return np.arange(before[-1], dtype=np.int64) + np.repeat(starts - before[:-1], lengths)


def owners(lengths: Ints) -> Ints:
    """The number of its list, for every element."""
    return np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)


def ranks(sorted_groups: Ints) -> Ints:
    """The rank from 0 of every element among the neighbours that have its value."""
    if not len(sorted_groups):
        return np.zeros(0, dtype=np.int64)
    first = np.flatnonzero(changes(sorted_groups))
    return np.arange(len(sorted_groups), dtype=np.int64) - np.repeat(first, np.diff(first, append=len(sorted_groups)))


def changes(values: Ints) -> Bools:
    """Where a value differs from the one before it; the first one does."""
    found = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found


def join(arrays: Sequence[Ints]) -> Ints:
    """The arrays one after another as int64, also where there are none."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *arrays])


def uncovered(group: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """What each range `[start, end)` adds to the ranges of its group before it, as `(start, end)`; empty where nothing.

    `group` is non-decreasing, and `start` is within a group. The result is again one range, since whatever lies before the
    furthest end so far is covered or before the start.
    """
    if not len(group):
        return start, end
    stride = int(end.max()) + 1
    reach = np.maximum.accumulate(group * stride + end)
    before = np.concatenate(([-1], reach[:-1])) - group * stride
    begin = np.maximum(start, before)
    return begin, np.maximum(begin, end)


def in_order(codes: Ints) -> Ints:
    """The stable order of codes that are at least 0; what is in order already is not sorted again."""
    if len(codes) < 2 or (codes[1:] >= codes[:-1]).all():
        return np.arange(len(codes), dtype=np.int64)
    return np.argsort(codes, kind="stable")
