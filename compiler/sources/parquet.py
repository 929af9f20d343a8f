"""Parquet files: a task is a run of row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow.parquet as pq

from ..plan import Digest
from .base import Limits, Origin, Rows, Survey, Tally, Task, Want, reading
from .columns import chosen, to_rows
from .cuts import Whole, digest_of_all, grouped
from .digests import Part, digest_of, digests
from .files import arrow_file
from .parquet_footer import Group, footer, largest_dictionary

_EXPANDED = 128 << 20
"""How many bytes a column of a batch has at most, if each row has all of a dictionary."""


def survey(origin: Origin, blocks: Iterator[bytes]) -> Survey:
    """The row groups, from the file's footer."""
    with reading(origin), _opened(origin) as (file, groups, schema):
        parts = _parts(file, groups, schema)
    taken = zip(groups, digests(parts, blocks), strict=True)
    return grouped(Whole(group.rows, group.bytes, digest) for group, digest in taken)


def digest(task: Task, origin: Origin) -> Digest:
    """The digest of the task's row groups."""
    with reading(origin):
        with _opened(origin) as (file, groups, schema):
            parts = _parts(file, groups[task.range.start : task.range.stop], schema)
        return digest_of_all(digest_of(origin, part) for part in parts)


def read(task: Task, origin: Origin, want: Want, limits: Limits, tally: Tally) -> Iterator[Rows]:
    """The records of the task's row groups."""
    with reading(origin), arrow_file(origin) as data, _opened(origin) as (file, groups, _):
        names = chosen(file.schema_arrow.names, origin, want)
        mine = groups[task.range.start : task.range.stop]
        rows, size = sum(group.rows for group in mine), sum(group.bytes for group in mine)
        largest = largest_dictionary(data, _chunks(mine, names))
        step = max(1, min(limits.records, limits.bytes * rows // max(1, size), _EXPANDED // largest))
        numbers = range(task.range.start, task.range.stop)
        batches = file.iter_batches(step, row_groups=numbers, columns=names, use_threads=False)
        yield from to_rows(batches, origin, want, limits, tally, task.range.row)


def _chunks(groups: Sequence[Group], names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The bytes of the chunks of some columns."""
    wanted = set(names)
    return ((start, stop) for group in groups for name, start, stop in group.chunks if name in wanted)


@contextmanager
def _opened(origin: Origin) -> Iterator[tuple[pq.ParquetFile, Sequence[Group], bytes]]:
    """The file, its row groups, and its schema as it is written."""
    with arrow_file(origin) as data:
        found = footer(data)
        with pq.ParquetFile(data) as file:
            yield file, found.groups, found.schema


def _parts(file: pq.ParquetFile, groups: Sequence[Group], schema: bytes) -> list[Part]:
    """The bytes of row groups and what the footer says of each: neither statistics nor where they lie in the file."""
    types = file.schema_arrow.to_string(show_field_metadata=False, show_schema_metadata=False)
    return [Part(group.start, group.stop, repr((schema, types, group.said)).encode()) for group in groups]
