"""Characters in a buffer of UTF-8: word characters, and case folding that keeps every position where it is."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..batch import Bools, Ints
from ..text import Bytes, is_ascii


@cache
def _is_word(code_point: int) -> bool:
    char = chr(code_point)
    return char.isalnum() or char == "_"


_ASCII_WORD: Bools = np.array([i < 0x80 and _is_word(i) for i in range(256)], np.bool_)


def joins_word(buffer: Bytes, position: Ints) -> Bools:
    """Whether a letter, digit or underscore stands both before and after each byte position inside the buffer.

    Letters and digits are what Unicode says they are; a position at either end of the buffer is inside no word.
    """
    joined = np.zeros(len(position), np.bool_)
    inside = np.flatnonzero((position > 0) & (position < len(buffer)))
    inside = inside[_word_at(buffer, position[inside])]
    joined[inside] = _word_at(buffer, position[inside] - 1)
    return joined


def _word_at(buffer: Bytes, position: Ints) -> Bools:
    """Whether the character that holds each byte is a letter, digit or underscore."""
    byte = buffer[position]
    word = _ASCII_WORD[byte]
    wide = np.flatnonzero(byte >= 0x80)
    if len(wide):
        points, which = np.unique(_decode(buffer, position[wide]), return_inverse=True)
        word[wide] = np.array([_is_word(point) for point in points.tolist()], np.bool_)[which]
    return word


def _decode(buffer: Bytes, position: Ints) -> Ints:
    """The code point that holds each byte, of the characters beyond ASCII."""
    lead = position.copy()
    for _ in range(3):
        lead -= (buffer[lead] & 0xC0) == 0x80
    first = buffer[lead].astype(np.int64)
    size = 2 + (first >= 0xE0) + (first >= 0xF0)
    point = first & (0x7F >> size)
    for place in (1, 2, 3):
        longer = size > place
        point[longer] = point[longer] << 6 | buffer[lead[longer] + place] & 0x3F
    return point


@cache
def _folded(code_point: int) -> bytes:
    """The character in lower case if that is one character of as many bytes, else the character."""
    char = chr(code_point)
    lower = char.lower()
    as_is, small = char.encode(), lower.encode()
    return small if len(lower) == 1 and len(small) == len(as_is) else as_is


_ASCII_FOLD: Bytes = np.array([i + 32 if 0x41 <= i <= 0x5A else i for i in range(256)], np.uint8)


def fold(buffer: Bytes) -> Bytes:
    """Valid UTF-8 in lower case, byte for byte in place.

    A character changes if its lower case is one character of the same length in UTF-8; so `İ`, `ẞ` and the Kelvin sign stay,
    and the final sigma keeps apart from the other one.
    """
    folded = _ASCII_FOLD[buffer]
    if is_ascii(buffer):
        return folded
    leads = np.flatnonzero(buffer >= 0xC0)
    points, which = np.unique(_decode(buffer, leads), return_inverse=True)
    for number, point in enumerate(points.tolist()):
        small = _folded(point)
        if small != chr(point).encode():
            at = leads[which == number]
            for place, byte in enumerate(small):
                folded[at + place] = byte
    return folded
