"""JSON Lines: a task is a range of bytes that begins at the start of a line. Blank lines hold no record and have a number."""

from __future__ import annotations

from collections.abc import Iterator

from ..sources import lines
from .base import Limits, Origin, Rows, Survey, Tally, Task, Want
from .records import Records


def survey(origin: Origin, blocks: Iterator[bytes]) -> Survey:
    """Ranges of lines."""
    return lines.survey(origin, blocks, "line")


def read(task: Task, origin: Origin, want: Want, limits: Limits, tally: Tally) -> Iterator[Rows]:
    """The records of the task's lines."""
    records = Records(origin, want, tally)
    for row, block in lines.blocks(task, origin, limits, "line"):
        yield records.rows(block, range(row, row + len(block)))
