"""Where files are cut into ranges: where their content says so, so that an edit changes the ranges around it alone.

A *unit* is what is not cut: a line, a paragraph, which is lines up to a blank one, a row group or a record batch. A range ends
after the first unit, from half of the wanted size on, that is *chosen*; after the first unit from one and a half of that size
on, where none is. A unit is chosen by a hash of its content, with a probability in proportion to its length, so that the
expected distance to the next chosen one is a quarter of the size, however long units are. Of lines and paragraphs the length and
64 bytes at each end are hashed. Whether a unit is chosen depends neither on where the file was cut before nor on the blocks that
it is read in: after an edit the next chosen unit is an old one again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..batch import Bools, Ints
from ..plan import Digest
from .base import TASK_BYTES, Range, Survey

Unit = Literal["line", "paragraph"]

_WINDOW = 64
_WORD = 8
_BREAK = ord("\n")
_INK = np.ones(256, np.bool_)
_INK[list(b" \t\n\r\v\f")] = False
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Whole(NamedTuple):
    """A unit of a file that says where its units are: a row group or a record batch."""

    rows: int
    bytes: int
    digest: Digest


def grouped(units: Iterable[Whole]) -> Survey:
    """Ranges of consecutive units, each of about TASK_BYTES."""
    ranges: list[Range] = []
    start = row = rows = held = index = 0
    digests: list[Digest] = []
    mean = max(1, TASK_BYTES // 4)
    for index, unit in enumerate(units, 1):
        digests.append(unit.digest)
        rows, held = rows + unit.rows, held + unit.bytes
        chosen = int(unit.digest[:8], 16) < min(unit.bytes, mean) * (2**32 // mean)
        if held >= TASK_BYTES * 3 // 2 or (chosen and held >= TASK_BYTES // 2):
            ranges.append(Range(start, index, row, digest_of_all(digests)))
            start, row, held, digests = index, rows, 0, []
    if rows > row:
        ranges.append(Range(start, index, row, digest_of_all(digests)))
    return Survey(tuple(ranges), rows)


def digest_of_all(digests: Iterable[Digest]) -> Digest:
    """The digest of a range by those of its units."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:32]


class Cutter:
    """Takes a file block by block. What it keeps of the blocks before is a few hundred bytes."""

    def __init__(self, unit: Unit, size: int) -> None:
        self._ends = _lines if unit == "line" else _Paragraphs()
        self._least, self._most, self._mean = max(1, size // 2), max(1, size * 3 // 2), max(1, size // 4)
        self._held = 0
        self._kept = bytes(_WINDOW)
        self._lengths: Ints = np.empty(0, np.int64)
        self.unfinished = 0
        """The bytes since the last end of a unit."""
        self.ends: Ints = np.empty(0, np.int64)
        """The ends of units in the last block."""

    def cuts(self, block: bytes) -> list[int]:
        """Where ranges end in `block`, each as the number of bytes before."""
        self.ends = ends = self._ends(block)
        self._lengths = np.diff(ends, prepend=-self.unfinished)
        text, shift = self._kept + block, len(self._kept)
        found = self._chosen(text, shift, ends)
        start, cuts = -self._held, list[int]()
        while (least := np.searchsorted(ends, start + self._least)) < len(ends):
            most = int(np.searchsorted(ends, start + self._most))
            next = int(np.searchsorted(found, least))
            at = min(int(found[next]), most) if next < len(found) else most
            if at == len(ends):
                break
            start = int(ends[at])
            cuts.append(start)
        self._held = len(block) - start
        begin = shift + int(ends[-1]) if len(ends) else _WINDOW
        self.unfinished = len(text) - begin if len(ends) else self.unfinished + len(block)
        self._kept = text[begin - _WINDOW : begin] + _ends_of(text[begin:])
        return cuts

    def overlong(self, most: int) -> int | None:
        """Which of the units in the last block, the unfinished one too, is the first of more than `most` bytes."""
        found = np.flatnonzero(np.append(self._lengths, self.unfinished) > most)
        return int(found[0]) if len(found) else None

    def _chosen(self, text: bytes, shift: int, ends: Ints) -> Ints:
        """Of the units that end in a block, those after which a range may end: their numbers. Looks at no others than may."""
        first = int(np.searchsorted(ends, self._least - self._held))
        starts = np.concatenate([[_WINDOW], shift + ends[:-1]])[first:]
        lengths = self._lengths[first:]
        if not len(lengths):
            return lengths
        limits = np.minimum(lengths, self._mean) * (2**32 // self._mean)
        return first + np.flatnonzero(_hashes(text, starts, shift + ends[first:], lengths) < limits)


def _ends_of(unit: bytes) -> bytes:
    """As much of an unfinished unit as its hash depends on."""
    return unit if len(unit) <= 2 * _WINDOW else unit[:_WINDOW] + unit[-_WINDOW:]


def _hashes(text: bytes, starts: Ints, ends: Ints, lengths: Ints) -> Ints:
    """Per unit `[start, end)` of `text`, which has at least 64 bytes before, a number in [0, 2^32)."""
    words: npt.NDArray[np.uint64] = np.ndarray(len(text) - _WORD + 1, "<u8", text, strides=(1,))
    mixed = lengths.astype(np.uint64)
    for offset in range(0, _WINDOW, _WORD):
        for place in (ends - _WORD - offset, np.minimum(starts + offset, ends - _WORD)):
            mixed = (mixed ^ words[place]) * _FACTOR
            mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(32)).astype(np.int64)


def _lines(block: bytes) -> Ints:
    return np.flatnonzero(np.frombuffer(block, np.uint8) == _BREAK) + 1


class _Paragraphs:
    """The ends of paragraphs: after each blank line but a first one."""

    def __init__(self) -> None:
        self._inked = True

    def __call__(self, block: bytes) -> Ints:
        breaks = _lines(block)
        if not len(breaks):
            self._inked = self._inked or bool(block.strip())
            return breaks
        ink: Bools = _INK[np.frombuffer(block, np.uint8)]
        filled = np.logical_or.reduceat(ink[: breaks[-1]], np.concatenate([[0], breaks[:-1]]))
        filled[0] |= self._inked
        self._inked = bool(ink[breaks[-1] :].any())
        return breaks[~filled]
