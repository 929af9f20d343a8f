"""Strings that know which of their characters are those of a message's content.

A `Traced` is a `str` with *pieces*: ranges of it that came from a content. Operations that move characters (join, cut, strip,
split, replace) move their pieces along; those that change them keep what they can: a change of case that keeps the length keeps
every place, any other keeps the range as a whole, without the places inside. What is no `Traced` came from no content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

CHANGED = -1
"""The offset of a piece whose characters are not those of the content one by one."""


class Piece(NamedTuple):
    """Characters `[start, end)` of a string are those of message `message` (from 0) from `offset` of its content, or CHANGED."""

    start: int
    end: int
    message: int
    offset: int


class Traced(str):
    """A string, some of whose characters are those of contents: `pieces`, in order and disjoint, never empty."""

    __slots__ = ("pieces",)
    pieces: tuple[Piece, ...]


def traced(text: str, pieces: Iterable[Piece]) -> str:
    """`text` with `pieces`, where there are any."""
    kept = tuple(pieces)
    if not kept:
        return text
    found = Traced(text)
    found.pieces = kept
    return found


def content(text: str, message: int, offset: int = 0) -> str:
    """The content of a message, or a part of it that begins at `offset`."""
    return traced(text, [Piece(0, len(text), message, offset)] if text else [])


def pieces_of(text: str) -> tuple[Piece, ...]:
    """The pieces of a string; none of one that came from no content."""
    return text.pieces if type(text) is Traced else ()


def joined(parts: Sequence[str], between: str = "") -> str:
    """The parts, one after another."""
    if between:
        parts = [part for each in parts for part in (between, each)][1:]
    text = "".join(parts)
    if not any(type(part) is Traced for part in parts):
        return text
    found: list[Piece] = []
    at = 0
    for part in parts:
        if type(part) is Traced:
            found += [Piece(start + at, end + at, message, offset) for start, end, message, offset in part.pieces]
        at += len(part)
    return traced(text, found)


def cut(text: str, start: int, stop: int) -> str:
    """The characters `[start, stop)`, which lie in `text`."""
    plain = text[start:stop]
    if type(text) is not Traced:
        return plain
    found = []
    for first, end, message, offset in text.pieces:
        low, high = max(first, start), min(end, stop)
        if low < high:
            moved = offset if offset == CHANGED else offset + low - first
            found.append(Piece(low - start, high - start, message, moved))
    return traced(plain, found)


def sliced(text: str, where: slice) -> str:
    """`text[where]`."""
    start, stop, step = where.indices(len(text))
    if step == 1:
        return cut(text, start, max(start, stop))
    return changed(text, text[where])


def stripped(text: str, chars: str | None = None, left: bool = True, right: bool = True) -> str:
    """`text` without outer white space, or outer `chars`, on the sides that are asked for."""
    start = len(text) - len(text.lstrip(chars)) if left else 0
    stop = len(text.rstrip(chars)) if right else len(text)
    return cut(text, start, max(start, stop))


def split(text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    """`text.split(sep, maxsplit)`."""
    return _located(text, text.split(sep, maxsplit), sep)


def rsplit(text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    """`text.rsplit(sep, maxsplit)`."""
    return _located(text, text.rsplit(sep, maxsplit), sep)


def splitlines(text: str, keepends: bool = False) -> list[str]:
    """`text.splitlines(keepends)`."""
    return _located(text, text.splitlines(keepends), None)


def _located(text: str, parts: list[str], sep: str | None) -> list[str]:
    """The parts of `text` in order, with their pieces: a separator apart, or the white space that no part begins with."""
    if type(text) is not Traced:
        return parts
    found, at = [], 0
    for part in parts:
        at = text.find(part, at) if sep is None else at
        found.append(cut(text, at, at + len(part)))
        at += len(part) + len(sep or "")
    return found


def replaced(text: str, old: str, new: str, count: int = -1) -> str:
    """`text.replace(old, new, count)`."""
    if type(text) is not Traced and type(new) is not Traced:
        return text.replace(old, new, count)
    if not old:
        return changed(text, text.replace(old, new, count))
    return joined(split(text, old, count), new)


def recased(text: str, result: str) -> str:
    """`result`, in which every character of `text` may have another case. Where the length changes, so may the places."""
    if len(text) != len(result):
        return changed(text, result)
    return traced(result, pieces_of(text))


def changed(text: str, result: str, start: int = 0, stop: int | None = None) -> str:
    """`result`, whose characters `[start, stop)` were made of `text`. Of several contents none can be told."""
    messages = {piece.message for piece in pieces_of(text)}
    stop = len(result) if stop is None else stop
    if len(messages) != 1 or start >= stop:
        return result
    if result[start:stop] == text:
        return traced(
            result, [piece._replace(start=piece.start + start, end=piece.end + start) for piece in pieces_of(text)]
        )
    return traced(result, [Piece(start, stop, messages.pop(), CHANGED)])
