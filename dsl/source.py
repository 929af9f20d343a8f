"""Source text and places in it: where every tree node and every diagnostic points."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True, eq=False)
class SourceText:
    """One spec file as read. `path` is what a person is shown: relative to the project root, or to the working folder.

    `file` is the file that it was read from, resolved; None for what was typed elsewhere.
    """

    path: str
    text: str = field(repr=False)
    file: Path | None = None

    @cached_property
    def line_starts(self) -> list[int]:
        """Character offset of the first character of each line."""
        starts = [0]
        starts.extend(i + 1 for i, char in enumerate(self.text) if char == "\n")
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both counted from 1."""
        line = bisect_right(self.line_starts, offset) - 1
        return line + 1, offset - self.line_starts[line] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line break."""
        start = self.line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : len(self.text) if end < 0 else end].rstrip("\r")


@dataclass(frozen=True, slots=True)
class Place:
    """A half-open range `[start, end)` of characters in one spec file."""

    source: SourceText
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters at this place, as typed."""
        return self.source.text[self.start : self.end]

    def to(self, other: Place) -> Place:
        """The place from the start of this one to the end of `other`."""
        return Place(self.source, self.start, other.end)


@dataclass(frozen=True, slots=True)
class DataPlace:
    """A place in a data file: a source, a shard, a model file. `line` counts from 1."""

    path: str
    line: int | None = None
