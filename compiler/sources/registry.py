"""The one table of source formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..plan import Digest
from ..sources import arrow, conllu, csv, inline, jsonl, parquet
from .base import Limits, Origin, Rows, Survey, Tally, Task, Want


class Format(NamedTuple):
    """How a format is surveyed and read. `survey` takes the file's bytes as they are digested, for formats that look at them;
    both raise `Failure`. `digest` takes the digest of a task's range from the file as it is now, for formats whose reader does
    not see the bytes."""

    survey: Callable[[Origin, Iterator[bytes]], Survey]
    read: Callable[[Task, Origin, Want, Limits, Tally], Iterator[Rows]]
    digest: Callable[[Task, Origin], Digest] | None = None


FORMATS: dict[str, Format] = {
    "jsonl": Format(jsonl.survey, jsonl.read),
    "parquet": Format(parquet.survey, parquet.read, parquet.digest),
    "csv": Format(csv.survey, csv.read, csv.digest),
    "arrow": Format(arrow.survey, arrow.read),
    "conllu": Format(conllu.survey, conllu.read),
    "inline": Format(inline.survey, inline.read),
}
