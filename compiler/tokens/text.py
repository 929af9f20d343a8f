"""Bytes, code points and white space of a buffer of UTF-8, as array operations. ASCII buffers take the short way."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..batch import Bools, Ints

Bytes = npt.NDArray[np.uint8]


def is_ascii(buffer: Bytes) -> bool:
    """Whether every byte is below 0x80."""
    return len(buffer) == 0 or int(buffer.max()) < 0x80


def spaces(buffer: Bytes) -> Bools:
    """Per byte, whether it belongs to a code point with the Unicode property White_Space."""
    space: Bools = (buffer == 0x20) | ((buffer - np.uint8(9)) < 5)
    if is_ascii(buffer):
        return space
    padded = np.concatenate([buffer, np.zeros(2, np.uint8)])
    for lead, second, third in _WIDE_SPACES:
        at = np.flatnonzero(buffer == lead)
        at = at[np.isin(padded[at + 1], second)]
        if third:
            at = at[np.isin(padded[at + 2], third)]
            space[at + 2] = True
        space[at] = space[at + 1] = True
    return space


_WIDE_SPACES: tuple[tuple[int, tuple[int, ...], tuple[int, ...]], ...] = (
    (0xC2, (0x85, 0xA0), ()),  # U+0085, U+00A0
    (0xE1, (0x9A,), (0x80,)),  # U+1680
    (0xE2, (0x80,), (*range(0x80, 0x8B), 0xA8, 0xA9, 0xAF)),  # U+2000..200A, U+2028, U+2029, U+202F
    (0xE2, (0x81,), (0x9F,)),  # U+205F
    (0xE3, (0x80,), (0x80,)),  # U+3000
)
"""White space beyond ASCII in UTF-8: first byte, then the second and the third that may follow it."""


class Trimmer:
    """Takes outer white space off byte ranges of one buffer."""

    def __init__(self, buffer: Bytes) -> None:
        self._space = spaces(buffer)

    @cached_property
    def _ink(self) -> Ints:
        """Positions of the bytes that are no white space."""
        return np.flatnonzero(~self._space)

    @cached_property
    def _rank(self) -> npt.NDArray[np.int32]:
        """How many such bytes stand before each position."""
        return _running(~self._space)

    def ink(self, position: Ints) -> tuple[Ints, Ints]:
        """Where all bytes are that are no white space, and how many of them stand before each position."""
        return self._ink, self._rank[position].astype(np.int64)

    def trim(self, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """The ranges `[start, end)` without outer white space; one of white space alone becomes empty, at its start.

        Keeps the order of starts and of ends where both were non-decreasing.
        """
        first, last = self._rank[start], self._rank[end]
        full = last > first
        if len(self._ink) == 0:
            return start, start.copy()
        trimmed_start = np.where(full, self._ink[np.minimum(first, len(self._ink) - 1)], start)
        trimmed_end = np.where(full, self._ink[np.maximum(last, 1) - 1] + 1, start)
        return trimmed_start, trimmed_end


class CodePoints:
    """Converts between bytes and code points of one buffer. Positions and counts are arrays of equal length."""

    def __init__(self, buffer: Bytes) -> None:
        self._buffer = buffer
        self._ascii = is_ascii(buffer)

    @cached_property
    def _leads(self) -> Ints:
        """Where each code point begins, and the end of the buffer."""
        return np.append(np.flatnonzero((self._buffer & 0xC0) != 0x80), len(self._buffer))

    @cached_property
    def _before(self) -> npt.NDArray[np.int32]:
        """How many code points begin before each byte position."""
        return _running((self._buffer & 0xC0) != 0x80)

    def char_of_byte(self, origin: Ints, position: Ints) -> Ints:
        """Code points from byte `origin` to byte `position`. A position inside a code point counts as its end."""
        if self._ascii:
            return position - origin
        return (self._before[position] - self._before[origin]).astype(np.int64)

    def byte_of_char(self, origin: Ints, char: Ints) -> Ints:
        """The byte where the code point `char` after byte `origin` begins; at most the end of the buffer.

        Whether `char` lies inside the record is for the caller to ask: `char_of_byte(origin, end)` is its length.
        """
        if self._ascii:
            clipped: Ints = np.minimum(origin + char, len(self._buffer))
            return clipped
        rank: Ints = np.minimum(self._before[origin] + char, len(self._leads) - 1)
        return self._leads[rank]

    def widen(self, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """The smallest ranges of whole code points that hold the non-empty ranges `[start, end)`."""
        if self._ascii:
            return start, end
        inside = start < end
        first = self._leads[np.maximum(self._before[np.where(inside, start + 1, 1)], 1) - 1]
        return np.where(inside, first, start), np.where(inside, self._leads[self._before[end]], end)


def slices(buffer: Bytes, start: Ints, end: Ints) -> pa.StringArray:
    """The text of byte ranges. Where a range is no whole number of code points, its bytes stand as `\\xNN`, so that two
    ranges have equal text where they have equal bytes."""
    lengths = end - start
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    data = buffer[np.repeat(start - offsets[:-1], lengths) + np.arange(offsets[-1])]
    made = strings(data, offsets)
    if not is_ascii(data):
        try:
            made.validate(full=True)
        except pa.ArrowInvalid:
            pieces = (bytes(data[a:b]).decode(errors="backslashreplace") for a, b in pairwise(offsets))
            return pa.array(pieces, pa.string())
    return made


def strings(data: Bytes, offsets: Ints) -> pa.StringArray:
    """An Arrow array of the strings that `offsets[n + 1]` cut from valid UTF-8, without a copy of the bytes."""
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data))


def string_bytes(array: pa.StringArray) -> tuple[Bytes, Ints]:
    """The bytes of an array of strings without nulls, and `offsets[n + 1]` into them: the inverse of `strings`."""
    if len(array) == 0:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    held = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return held[offsets[0] : offsets[-1]], offsets - offsets[0]


def _running(flags: Bools) -> npt.NDArray[np.int32]:
    """How many flags are set before each position, and in all."""
    counts = np.zeros(len(flags) + 1, np.int32)
    np.cumsum(flags, out=counts[1:], dtype=np.int32)
    return counts
