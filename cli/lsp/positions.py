"""Character offsets <-> the lines and columns of an editor, which counts in UTF-16 or UTF-8 units, or in characters.

A line ends with `\\n`, `\\r\\n` or `\\r`, as the protocol says. `SourceText` knows the first alone; offsets are what both share.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache

from lsprotocol import types

_BREAK = re.compile(r"\r\n|\n|\r")


class Lines:
    """The lines of a text, for an editor that counts columns in `encoding`."""

    def __init__(self, text: str, encoding: types.PositionEncodingKind | str) -> None:
        self.text = text
        self._encoding = encoding
        breaks = list(_BREAK.finditer(text))
        self._starts = [0, *(match.end() for match in breaks)]
        self._ends = [*(match.start() for match in breaks), len(text)]

    def offset(self, position: types.Position) -> int:
        """The character that a position is before. One beyond a line or the text is at its end."""
        if position.line >= len(self._starts):
            return len(self.text)
        start, end = self._starts[position.line], self._ends[position.line]
        line = self.text[start:end]
        return start + (
            min(position.character, len(line)) if self._plain(line) else self._characters(line, position.character)
        )

    def position(self, offset: int) -> types.Position:
        """The position of a character offset."""
        at = bisect_right(self._starts, offset) - 1
        before = self.text[self._starts[at] : min(offset, self._ends[at])]
        return types.Position(at, len(before) if self._plain(before) else sum(map(self._width, before)))

    def range(self, start: int, end: int) -> types.Range:
        """The range of the characters `[start, end)`."""
        return types.Range(self.position(start), self.position(end))

    def line_end(self, offset: int) -> int:
        """Where the line that `offset` is on ends."""
        return self._ends[bisect_right(self._starts, offset) - 1]

    def whole(self) -> types.Range:
        """The range of the whole text."""
        return self.range(0, len(self.text))

    def _plain(self, text: str) -> bool:
        return self._encoding == types.PositionEncodingKind.Utf32 or text.isascii()

    def _characters(self, line: str, units: int) -> int:
        """How many characters of `line` are within `units`; one that they cut counts as a whole."""
        count = 0
        for char in line:
            if units <= 0:
                break
            units -= self._width(char)
            count += 1
        return count

    def _width(self, char: str) -> int:
        if self._encoding == types.PositionEncodingKind.Utf8:
            return len(char.encode("utf-8", "surrogatepass"))
        return 2 if ord(char) > 0xFFFF else 1


@lru_cache(maxsize=64)
def lines(text: str, encoding: types.PositionEncodingKind | str) -> Lines:
    """The lines of a text, worked out once while it is asked for."""
    return Lines(text, encoding)


def changed(text: str, change: types.TextDocumentContentChangeEvent, encoding: types.PositionEncodingKind | str) -> str:
    """`text` after a change of a part of it, or of all."""
    if not isinstance(change, types.TextDocumentContentChangePartial):
        return change.text
    found = lines(text, encoding)
    start, end = found.offset(change.range.start), found.offset(change.range.end)
    return text[:start] + change.text + text[max(start, end) :]
