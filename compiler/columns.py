"""Rows of cells as lines of text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from ..dsl.render import text_width


def in_columns(rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """A line for each row, its cells padded to the width of their column; those of the columns `right` end at its right."""
    table = list(rows)
    widths = [max(map(text_width, column)) for column in zip(*table, strict=True)]
    return ["  ".join(_padded(row, widths, right)).rstrip() for row in table]


def _padded(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> Iterator[str]:
    for at, (cell, wide) in enumerate(zip(row, widths, strict=True)):
        room = " " * (wide - text_width(cell))
        yield room + cell if at in right else cell + room
