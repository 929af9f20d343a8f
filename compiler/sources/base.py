"""What the formats share: the types that they take and give, and how their failures become diagnostics."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...dsl import checked
from ...dsl.checked import FieldPath
from ...dsl.codes.sources import SOURCE_CORRUPT, SOURCE_LIMIT, SOURCE_UNREADABLE
from ...dsl.diagnostics import Code, Diagnostic, Failure
from ...dsl.source import DataPlace
from ..batch import Bools, Ints
from ..manifest import ChatCause
from ..plan import Digest

LINE_FORMATS = ("jsonl", "conllu")
TASK_BYTES = 32 << 20
"""About how much of a file one task reads. Part of the shards' identity: a change cuts them elsewhere."""

RECORD_BYTES = 16 << 20
"""The longest record, as it is written in formats of lines and csv, and the longest text in others."""
COLUMNS = 1 << 14
"""The most columns of a file."""
KEYS = 1 << 12
"""The most names that the objects in one field of JSON records have: in a batch, each has room for each of them."""
DEPTH = 64
"""How deep types of columns may be nested, as Arrow's own reader of files has it."""


class Beyond(Exception):
    """A file asks for more than a limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a batch may hold. They bound memory and never change a result."""

    records: int = 4096
    bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a file: `[start, stop)` in bytes, row groups, record batches or records, as the format counts; `row` is
    the number of its first row in the file.

    `digest` covers all that its rows depend on, but for the number of the first, see `digests`. It is empty where it was not
    taken, for a look at a few records; then it is not held to.
    """

    start: int
    stop: int
    row: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over a file finds: its ranges, its rows in all, and types that only the whole file can show (csv)."""

    ranges: tuple[Range, ...]
    rows: int
    types: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A range of one file of a source. Tasks depend on the content of the files alone.

    `number` counts the tasks of the source; `file` is the position in `Source.files`; `base` is the number of rows in the
    files before, so that `base + row` numbers a row over the whole source; `bytes` is the size of the file when surveyed.
    """

    source: str
    number: int
    file: int
    range: Range
    base: int
    bytes: int
    types: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Want:
    """The fields to read: `texts` as strings (numbers and booleans written out), `fields` as they are, `raw` as JSON values."""

    texts: tuple[FieldPath, ...]
    fields: tuple[FieldPath, ...]
    raw: tuple[FieldPath, ...] = ()


@dataclass(slots=True)
class Tally:
    """What reading a task counts: records dropped, by cause, the fields that some record had, and messages, by what became of
    them."""

    dropped: Counter[str] = field(default_factory=Counter)
    seen: set[FieldPath] = field(default_factory=set)
    chat: Counter[ChatCause] = field(default_factory=Counter)


@dataclass(frozen=True, eq=False)
class Rows:
    """Records as columns, null where a record lacks the field. `rows[n]`: their numbers in the file."""

    rows: Ints
    texts: Mapping[FieldPath, pa.StringArray]
    fields: Mapping[FieldPath, pa.Array]
    raw: Mapping[FieldPath, list[Any]] = field(default_factory=dict)

    def filter(self, kept: Bools) -> Rows:
        """The rows that are `kept`."""
        mask = pa.array(kept)
        return Rows(
            self.rows[kept],
            {path: column.filter(mask) for path, column in self.texts.items()},
            {path: column.filter(mask) for path, column in self.fields.items()},
            {path: list(compress(values, kept.tolist())) for path, values in self.raw.items()},
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """The file, or the inline records, that rows come from, for reading and for diagnostics.

    `path` is what a person is shown. Rows of line formats are shown by their line, from 1, others by their number, from 0,
    as generated ids have it.
    """

    source: checked.Source
    file: Path
    path: str

    def at(
        self, code: Code, fact: str, row: int | None = None, help: str | None = None, line: int | None = None
    ) -> Diagnostic:
        """A finding in this file: `fact` follows the name of the file and the row, or the line, from 1."""
        if self.source.format == "inline":
            record = "" if row is None else f" record {row}"
            return code.at(self.source.place, f"source `{self.source.name}`{record}: {fact}", help=help)
        if row is not None and self.source.format in LINE_FORMATS:
            line = row + 1
        if line is not None:
            return code.at(DataPlace(self.path, line), f"`{self.path}` line {line}: {fact}", help=help)
        if row is None:
            return code.at(DataPlace(self.path), f"`{self.path}`: {fact}", help=help)
        return code.at(DataPlace(self.path), f"`{self.path}` row {row}: {fact}", help=help)


@contextmanager
def reading(origin: Origin) -> Iterator[None]:
    """Turns what the operating system and the format's library raise while a file is read into a `Failure`."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # pyarrow raises a bare OSError for content it cannot read
            raise Failure(origin.at(SOURCE_CORRUPT, f"broken {origin.source.format}: {shorten(error)}")) from error
        raise Failure(origin.at(SOURCE_UNREADABLE, f"cannot be read: {os.strerror(error.errno)}")) from error
    except Beyond as error:
        raise Failure(origin.at(SOURCE_LIMIT, str(error))) from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise Failure(origin.at(SOURCE_CORRUPT, f"broken {origin.source.format}: {shorten(error)}")) from error


def check_columns(count: int) -> None:
    """Raises Beyond where a file has too many columns."""
    if count > COLUMNS:
        raise Beyond(f"{count} columns, where {COLUMNS} are the limit")


def shorten(error: Exception, limit: int = 160) -> str:
    """The first line of what a library said, cut to `limit` characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= limit else lines[0][: limit - 3] + "..."
