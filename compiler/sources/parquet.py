"""Parquet files: a task is a run of row groups."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.parquet as pq

from .base import Limits, Origin, Rows, Survey, Tally, Task, Want, grouped, reading
from .columns import chosen, to_rows
from .files import arrow_input


def survey(origin: Origin, blocks: Iterator[bytes]) -> Survey:
    """The row groups, from the file's footer."""
    with reading(origin), pq.ParquetFile(arrow_input(origin)) as file:
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        return grouped((group.num_rows, group.total_byte_size) for group in groups)


def read(task: Task, origin: Origin, want: Want, limits: Limits, tally: Tally) -> Iterator[Rows]:
    """The records of the task's row groups."""
    with reading(origin), pq.ParquetFile(arrow_input(origin)) as file:
        names = chosen(file.schema_arrow.names, origin, want)
        groups = list(range(task.range.start, task.range.stop))
        size = sum(file.metadata.row_group(i).total_byte_size for i in groups)
        rows = sum(file.metadata.row_group(i).num_rows for i in groups)
        step = max(1, min(limits.records, limits.bytes * rows // max(1, size)))
        batches = file.iter_batches(step, row_groups=groups, columns=names, use_threads=False)
        yield from to_rows(batches, origin, want, limits, tally, task.range.row)
