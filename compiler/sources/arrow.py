"""Arrow IPC files, and streams as Hugging Face datasets writes them: a task is a run of record batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import pyarrow as pa

from ..plan import Digest
from .arrow_layout import MAGIC, layout
from .base import Limits, Origin, Rows, Survey, Tally, Task, Want, reading
from .columns import chosen, to_rows
from .cuts import Whole, digest_of_all, grouped
from .digests import Part, digest_of, digests, read_part


def survey(origin: Origin, blocks: Iterator[bytes]) -> Survey:
    """The record batches."""
    with reading(origin):
        with _opened(origin) as (schema, _):
            if not schema.names:
                return Survey((), 0)
        with _opened(origin, [0]) as (_, batches):
            rows = [batch.num_rows for batch in batches]
        parts = _parts(origin, 0, len(rows))
        if len(parts) != len(rows):
            raise pa.ArrowInvalid("record batches that cannot be found")
    taken = zip(rows, parts, digests(parts, blocks), strict=True)
    return grouped(Whole(count, part.stop - part.start, digest) for count, part, digest in taken)


def digest(task: Task, origin: Origin) -> Digest:
    """The digest of the task's record batches."""
    with reading(origin):
        parts = _parts(origin, task.range.start, task.range.stop)
        return digest_of_all(digest_of(origin.file, part) for part in parts)


def _parts(origin: Origin, start: int, stop: int) -> list[Part]:
    """The bytes of the record batches `[start, stop)`, and of each the schema and the dictionaries that it needs."""
    with pa.OSFile(str(origin.file)) as data:
        found = layout(data)
    with _opened(origin) as (schema, _):
        types = schema.to_string(show_field_metadata=False, show_schema_metadata=False).encode()
    digest, needed, left = hashlib.sha256(types), list[bytes](), list(reversed(found.dictionaries))
    for first, _ in found.batches[:stop]:
        while left and (left[-1][0] < first or not found.late):
            for block in read_part(origin.file, Part(*left.pop())):
                digest.update(block)
        needed.append(digest.digest())
    return [Part(*batch, meaning) for batch, meaning in zip(found.batches, needed, strict=False)][start:stop]


def read(task: Task, origin: Origin, want: Want, limits: Limits, tally: Tally) -> Iterator[Rows]:
    """The records of the task's record batches."""
    with reading(origin):
        with _opened(origin) as (schema, _):
            columns = [schema.names.index(name) for name in chosen(schema.names, origin, want)] or [0]
        with _opened(origin, columns) as (_, batches):
            mine = islice(batches, task.range.start, task.range.stop)
            yield from to_rows(mine, origin, want, limits, tally, task.range.row)


@contextmanager
def _opened(
    origin: Origin, columns: Sequence[int] | None = None
) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    """The schema and the record batches of a file or a stream, with these columns alone.

    They are no memory maps, which end the process where a file shrinks meanwhile.
    """
    options = pa.ipc.IpcReadOptions(included_fields=columns, use_threads=False)
    with pa.OSFile(str(origin.file)) as data:
        magic = data.read(len(MAGIC))
        data.seek(0)
        if magic == MAGIC:
            file = pa.ipc.open_file(data, options=options)
            yield file.schema, (file.get_batch(i) for i in range(file.num_record_batches))
        else:
            stream = pa.ipc.open_stream(data, options=options)
            yield stream.schema, iter(stream)
