"""Characters in a buffer of UTF-8: word characters, and case folding that keeps every position where it is."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..batch import Bools, Ints
from ..tokens.text import Bytes, is_ascii

CODE_POINTS = 0x110000


class _Property:
    """A property of code points, asked of Python once for each that occurs."""

    def __init__(self, ask: Callable[[str], int]) -> None:
        self._ask = ask
        self._known = np.full(CODE_POINTS, -1, np.int32)

    def of(self, points: Ints) -> Ints:
        values = self._known[points]
        unknown = np.unique(points[values < 0])
        if len(unknown):
            self._known[unknown] = [self._ask(chr(point)) for point in unknown.tolist()]
            values = self._known[points]
        return values.astype(np.int64)


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_" or unicodedata.category(char).startswith("M")


def _folded(char: str) -> int:
    """The character in lower case if that is one character of as many bytes, else the character."""
    lower = char.lower()
    return ord(lower if len(lower) == 1 and len(lower.encode()) == len(char.encode()) else char)


_WORD = _Property(_is_word)
_FOLD = _Property(_folded)
_ASCII_WORD: Bools = np.array([i < 0x80 and _is_word(chr(i)) for i in range(256)], np.bool_)
_ASCII_FOLD: Bytes = np.array([i + 32 if 0x41 <= i <= 0x5A else i for i in range(256)], np.uint8)


@dataclass(frozen=True, eq=False)
class Words:
    """The words of a buffer: runs of letters, digits and underscores within a record; Unicode says what those are.

    `inside`, per byte position and for the end of the buffer: whether a word goes on there; False within a character.
    `marked`: the buffer with the high bit set on every ASCII character that begins a word.
    """

    inside: Bools
    marked: Bytes


def words(buffer: Bytes, bounds: Ints) -> Words:
    """The words of the records that `bounds` cut from a buffer."""
    before, after = (np.zeros(len(buffer) + 1, np.bool_) for _ in range(2))
    after[:-1] = before[1:] = _ASCII_WORD[buffer]
    begins = after[:-1]
    if not is_ascii(buffer):
        begins = begins.copy()
        leads = np.flatnonzero(buffer >= 0xC0)
        points, sizes = _decode(buffer, leads)
        after[leads] = before[leads + sizes] = _WORD.of(points) == 1
    before[bounds] = False
    return Words(before & after, buffer | (begins & ~before[:-1]).astype(np.uint8) << np.uint8(7))


def fold(buffer: Bytes) -> Bytes:
    """Valid UTF-8 in lower case, byte for byte in place.

    A character changes if its lower case is one character of the same length in UTF-8; so `İ`, `ẞ` and the Kelvin sign stay,
    and the final sigma keeps apart from the other one.
    """
    folded = _ASCII_FOLD[buffer]
    if is_ascii(buffer):
        return folded
    leads = np.flatnonzero(buffer >= 0xC0)
    points, sizes = _decode(buffer, leads)
    small = _FOLD.of(points)
    changed = small != points
    leads, small, sizes = leads[changed], small[changed], sizes[changed]
    for place in range(4):
        there = sizes > place
        bits = small[there] >> 6 * (sizes[there] - 1 - place)
        folded[leads[there] + place] = bits & 0x3F | 0x80 if place else bits | _LEAD[sizes[there]]
    return folded


_LEAD = np.array([0, 0, 0xC0, 0xE0, 0xF0])
"""The marks of the first byte, by the length of the character."""


def _decode(buffer: Bytes, leads: Ints) -> tuple[Ints, Ints]:
    """Code point and length in bytes of the characters beyond ASCII that begin at `leads`."""
    first = buffer[leads].astype(np.int64)
    sizes = 2 + (first >= 0xE0).astype(np.int64) + (first >= 0xF0)
    points = first & (0x7F >> sizes)
    for place in (1, 2, 3):
        longer = sizes > place
        points[longer] = points[longer] << 6 | buffer[leads[longer] + place] & 0x3F
    return points, sizes
