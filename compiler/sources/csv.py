"""CSV files with a header, as RFC 4180 has them: a task is a whole file.

Whether a column holds numbers shows in the whole of it alone, so the survey decides, and the task carries the answer. An
empty cell is null, a quoted empty one is an empty text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ...dsl.codes.sources import RECORD_TOO_LONG, SOURCE_CORRUPT
from ...dsl.diagnostics import Failure
from ..plan import Digest
from .base import RECORD_BYTES, Limits, Origin, Range, Rows, Survey, Tally, Task, Want, check_columns, reading
from .columns import chosen, to_rows
from .digests import Part, digest_of, shortened
from .files import csv_file
from .foreign import lines_expected

_BLOCK = 16 << 20
_TYPES: dict[str, pa.DataType] = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
_SPELLINGS = {
    "int": r"^-?(0|[1-9][0-9]{0,17})$",
    "float": r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$",
    "bool": r"^([Tt]rue|[Ff]alse)$",
}
"""How the cells of a column of that type are written. `007` and digits beyond what the type holds exactly stay texts."""


def survey(origin: Origin, blocks: Iterator[bytes]) -> Survey:
    """One range, and the first of int, float and bool that fits every cell of a column."""
    blank, digest, records = True, hashlib.sha256(), _Records(origin)
    with reading(origin):
        for block in lines_expected(origin, blocks):
            digest.update(block)
            blank = blank and not block.strip()
            records.take(block)
    records.end()
    if blank:
        return Survey((), 0)
    rows = 0
    with reading(origin):
        names = _names(origin)
        fitting = {name: list(_TYPES) for name in names}
        for batch in _open(origin, names):
            rows += batch.num_rows
            for name, column in zip(names, batch.columns, strict=True):
                fitting[name] = [
                    kind
                    for kind in fitting[name]
                    if pc.all(pc.match_substring_regex(column, _SPELLINGS[kind]), min_count=0).as_py()
                ]
    types = tuple((name, kinds[0]) for name, kinds in fitting.items() if kinds)
    return Survey((Range(0, 1, 0, shortened(digest)),) if rows else (), rows, types)


class _Records:
    """Follows where records end, so that one that is too long, or a cell that never ends, is known by its line before pyarrow
    looks for the end of it."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._quotes = self._lines = self._line = self._length = 0
        self._commas: int | None = 0

    def take(self, block: bytes) -> None:
        """Raises Failure where a record is longer than the limit, and Beyond where the header has too many columns."""
        found = np.frombuffer(block, np.uint8)
        quotes, breaks = np.flatnonzero(found == ord('"')), np.flatnonzero((found == ord("\n")) | (found == ord("\r")))
        ends = breaks[(self._quotes + np.searchsorted(quotes, breaks)) % 2 == 0] + 1
        if self._commas is not None:
            self._commas += block.count(b",", 0, ends[0] if len(ends) else len(block))
            check_columns(self._commas + 1)
            self._commas = None if len(ends) else self._commas
        lengths = np.diff(ends, prepend=-self._length, append=len(block))
        for place in np.flatnonzero(lengths > RECORD_BYTES)[:1].tolist():
            line = self._lines + block.count(b"\n", 0, ends[place - 1]) if place else self._line
            fact = f"a record of more than {RECORD_BYTES >> 20} MiB"
            raise Failure(self._origin.at(RECORD_TOO_LONG, fact, line=line + 1))
        if len(ends):
            self._line = self._lines + block.count(b"\n", 0, ends[-1])
            self._length = len(block) - int(ends[-1])
        else:
            self._length += len(block)
        self._quotes += len(quotes)
        self._lines += block.count(b"\n")

    def end(self) -> None:
        """Raises Failure where the last record does not end."""
        if self._quotes % 2:
            fact = 'broken csv: an odd number of `"`, so that a quoted cell never ends'
            raise Failure(self._origin.at(SOURCE_CORRUPT, fact, line=self._line + 1))


def digest(task: Task, origin: Origin) -> Digest:
    """The digest of the file, which its rows depend on as a whole."""
    return digest_of(origin, Part(0, task.bytes))


def read(task: Task, origin: Origin, want: Want, limits: Limits, tally: Tally) -> Iterator[Rows]:
    """The records of the file. What stands for a text is kept as it is written, whatever the type of its column."""
    types = {(name,): _TYPES[kind] for name, kind in task.types}
    with reading(origin):
        names = _names(origin)
        batches = _open(origin, chosen(names, origin, want) or names)
        for rows in to_rows(batches, origin, want, limits, tally, task.range.row):
            yield replace(rows, fields={p: c.cast(types[p]) if p in types else c for p, c in rows.fields.items()})


def _names(origin: Origin) -> list[str]:
    names: list[str] = _open(origin).schema.names
    return names


def _open(origin: Origin, columns: Sequence[str] = ()) -> csv.CSVStreamingReader:
    """The file in batches; these columns alone, as strings, or all of them where none is named."""
    return csv.open_csv(
        csv_file(origin),
        read_options=csv.ReadOptions(block_size=_BLOCK, use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            include_columns=list(columns),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )
