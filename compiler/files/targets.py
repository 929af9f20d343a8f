"""Target files: hidden states of a teacher at some tokens of a shard, beside the shard.

`teachers/DIGEST/SPLIT/00000.arrow` has a record batch for each of the shard's and a row for each of its rows: `position`, the
tokens that have a state, in order, and `state`, the numbers of one after another. A reader maps it into memory.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ..manifest import FileEntry, TargetEntry
from ..ragged import Ints, owners
from . import disk
from .arrow_file import ArrowFile
from .arrow_reader import Shown, open_batches
from .shard_reader import Lists, Targets

TARGET_FORMAT = 1
"""Raised by every change that an older reader would misread."""

TYPES = {"float16": pa.float16(), "float32": pa.float32()}


class TargetWriter:
    """Writes the target file of one shard, a record batch for each of the shard's.

    As a context manager it removes an unfinished file.
    """

    def __init__(self, path: Path, width: int, dtype: str) -> None:
        disk.make(path.parent)
        columns = [("position", pa.list_(pa.int32())), ("state", pa.large_list(TYPES[dtype]))]
        schema = pa.schema(columns, {"mcd.format": str(TARGET_FORMAT), "mcd.width": str(width)})
        self._file = ArrowFile(path, schema)

    def write(self, offsets: Ints, positions: Ints, states: npt.NDArray[Any]) -> None:
        """Add a record batch: row i has the tokens `positions[offsets[i]:offsets[i + 1]]`, with a row of `states` each."""
        width = states.shape[1]
        columns = [
            pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(positions, pa.int32())),
            pa.LargeListArray.from_arrays(pa.array(offsets * width, pa.int64()), pa.array(states.reshape(-1))),
        ]
        self._file.write(columns)

    def close(self, root: Path) -> FileEntry:
        """Finish the file and give it its name; the entry's path is relative to `root`."""
        digest, size = self._file.finish()
        self._file.publish()
        return FileEntry(path=self._file.path.relative_to(root).as_posix(), bytes=size, sha256=digest)

    def __enter__(self) -> TargetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.discard()


def open_targets(file: Path, shown: str, entry: TargetEntry, lengths: list[Ints]) -> list[Targets]:
    """Map a target file into memory: the states beside each record batch of its shard.

    `lengths`: for each record batch the tokens of its rows. Raises Failure for a file that is no Arrow file, or whose content
    does not fit them.
    """
    wanted = {"position": pa.list_(pa.int32()), "state": pa.large_list(TYPES[entry.dtype])}

    def choose(schema: pa.Schema) -> Collection[str]:
        if schema.names != list(wanted) or schema.types != list(wanted.values()):
            found = dict(zip(schema.names, map(str, schema.types), strict=True))
            raise _failure(shown, f"has columns {found}; { ({n: str(t) for n, t in wanted.items()}) } are expected")
        return wanted

    _, batches = open_batches(file, Shown(shown), choose)
    if len(batches) != len(lengths):
        raise _failure(shown, f"has {len(batches)} record batches, its shard has {len(lengths)}")
    return [_targets(batch, shown, entry, rows) for batch, rows in zip(batches, lengths, strict=True)]


def _targets(batch: pa.RecordBatch, shown: str, entry: TargetEntry, lengths: Ints) -> Targets:
    positions, states = batch.column("position"), batch.column("state")
    if batch.num_rows != len(lengths):
        raise _failure(shown, f"has {batch.num_rows} rows where its shard has {len(lengths)}")
    if any(column.null_count or column.values.null_count for column in (positions, states)):
        raise _failure(shown, "has a null")
    lists = Lists(positions.offsets.to_numpy(), positions.values.to_numpy(zero_copy_only=True))
    if not np.array_equal(states.offsets.to_numpy(), lists.offsets.astype(np.int64) * entry.width):
        raise _failure(shown, f"has states that are not {entry.width} numbers for each of its positions")
    row, found = owners(np.diff(lists.offsets)), lists.used
    if len(found) and (found.min() < 0 or (found >= lengths[row]).any()):
        raise _failure(shown, "has a position outside its row")
    if ((found[1:] <= found[:-1]) & (row[1:] == row[:-1])).any():
        raise _failure(shown, "has positions that are not in order")
    return Targets(lists, states.values.to_numpy(zero_copy_only=True).reshape(-1, entry.width))


def _failure(shown: str, fact: str) -> Failure:
    return Shown(shown).failure(codes.SHARD_STRUCTURE, fact)
