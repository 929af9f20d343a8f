"""Rows of cells as lines of text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def in_columns(rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """A line for each row, its cells padded to the width of their column; those of the columns `right` end at its right."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
