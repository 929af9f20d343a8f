"""Arrow IPC files, and streams as Hugging Face datasets writes them: a task is a run of record batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import pyarrow as pa

from .base import Limits, Origin, Rows, Survey, Tally, Task, Want, grouped, reading
from .columns import chosen, to_rows
from .files import arrow_bytes, file_size

_FILE_MAGIC = b"ARROW1"


def survey(origin: Origin, blocks: Iterator[bytes]) -> Survey:
    """The record batches, each taken to hold its share of the file's bytes."""
    with reading(origin):
        with _opened(origin) as (schema, _):
            if not schema.names:
                return Survey((), 0)
        with _opened(origin, [0]) as (_, batches):
            rows = [batch.num_rows for batch in batches]
        share = file_size(origin) / max(1, sum(rows))
        return grouped((count, count * share) for count in rows)


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
    """The schema and the record batches of a file or a stream, memory-mapped, with these columns alone."""
    options = pa.ipc.IpcReadOptions(included_fields=columns, use_threads=False)
    with arrow_bytes(origin) as data:
        magic = data.read(len(_FILE_MAGIC))
        data.seek(0)
        if magic == _FILE_MAGIC:
            file = pa.ipc.open_file(data, options=options)
            yield file.schema, (file.get_batch(i) for i in range(file.num_record_batches))
        else:
            stream = pa.ipc.open_stream(data, options=options)
            yield stream.schema, iter(stream)
