"""Shard files: their schema, the rows of a batch, and the writer.

A shard is one Arrow IPC file without compression, so that a reader maps it into memory. A row is a part of a record; every
column is flat or a list of primitives. The schema's metadata holds `mcd.format` and `mcd.sets`, the JSON list of the keys that
the numbers in `span.set` and `edge.set` stand for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..alignment.align import Aligned
from ..alignment.fields import FieldColumn, attribute_kinds
from ..batch import TextBatch
from ..manifest import ShardEntry
from ..ragged import Ints, offsets
from ..recipe import Recipe
from ..sets import set_keys
from . import disk
from .arrow_file import ArrowFile
from .shard_reader import EDGE_COLUMNS, EDGE_WEIGHT, MAX_ELEMENTS, MAX_TOKENS, SHARD_FORMAT, SPAN_COLUMNS, TYPES

INTS = pa.list_(pa.int32())


def shard_path(split: str, number: int) -> str:
    """Where the shard of a split that a task writes is, below the dataset."""
    return f"shards/{split}/{number:05}.arrow"


def shard_schema(recipe: Recipe) -> pa.Schema:
    """The columns of every shard of `recipe`, in their order."""
    columns: list[tuple[str, pa.DataType]] = [
        ("id", pa.string()),
        ("part", pa.int32()),
        ("source", pa.string()),
        ("input_ids", INTS),
        *((name, INTS) for name in SPAN_COLUMNS),
        *((f"span.at.{name}", pa.list_(TYPES[kind])) for name, kind in attribute_kinds(recipe).items()),
        *((name, INTS) for name in (EDGE_COLUMNS if recipe.edges else ())),
        *([(EDGE_WEIGHT, pa.list_(TYPES["factor"]))] if recipe.weighted else []),
        *((f"field.{each.name}", pa.list_(TYPES[each.type])) for each in sorted(recipe.fields, key=lambda f: f.name)),
    ]
    metadata = {"mcd.format": str(SHARD_FORMAT), "mcd.sets": json.dumps(set_keys(recipe))}
    return pa.schema([pa.field(name, kind, nullable=name.startswith("field.")) for name, kind in columns], metadata)


def shard_rows(
    batch: TextBatch, recipe: Recipe, aligned: Aligned, columns: Mapping[str, FieldColumn], schema: pa.Schema
) -> pa.RecordBatch:
    """The rows of a batch, one per part, in the order of its records. `aligned.parts.record` tells their records."""
    parts, spans, edges = aligned.parts, aligned.spans, aligned.edges
    record = pa.array(parts.record)
    along_spans, along_edges = _row_offsets(spans.row, aligned.rows), _row_offsets(edges.row, aligned.rows)
    found: dict[str, pa.Array] = {
        "id": batch.ids.take(record),
        "part": pa.array(parts.part, pa.int32()),
        "source": pa.array([batch.source] * aligned.rows, pa.string()),
        "input_ids": _list(aligned.token_offsets, pa.array(aligned.input_ids)),
    }
    for name, values in zip(SPAN_COLUMNS, (spans.set, spans.start, spans.end), strict=True):
        found[name] = _list(along_spans, pa.array(values, pa.int32()))
    for name, attribute in aligned.attributes.items():
        found[f"span.at.{name}"] = _list(along_spans, attribute)
    if recipe.edges:
        ends = (edges.set, edges.query_start, edges.query_end, edges.key_start, edges.key_end)
        for name, values in zip(EDGE_COLUMNS, ends, strict=True):
            found[name] = _list(along_edges, pa.array(values, pa.int32()))
    if recipe.weighted:
        found[EDGE_WEIGHT] = _list(along_edges, pa.array(edges.weight))
    for name, column in columns.items():
        found[f"field.{name}"] = column.take(parts.record)
    return pa.RecordBatch.from_arrays([found[name] for name in schema.names], schema=schema)


def _row_offsets(row: Ints, rows: int) -> Ints:
    return offsets(np.bincount(row, minlength=rows))


def _list(starts: Ints, values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), values)


class ShardWriter:
    """Writes one shard, under a temporary name until `close`. Record batches are cut by their content alone, so that the
    bytes of a file do not depend on how its rows arrived.

    As a context manager it removes an unfinished file.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._pending: list[pa.RecordBatch] = []
        self._room = np.array([MAX_TOKENS, MAX_ELEMENTS])
        self._records = 0
        self._tokens = 0
        self._batches: list[int] = []
        disk.make(path.parent)
        self._file = ArrowFile(path, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows. Raises Failure for a row that no record batch can hold."""
        sizes = _sizes(batch)
        if (sizes > (MAX_TOKENS, MAX_ELEMENTS)).any():
            raise _too_large(batch, sizes)
        done = 0
        while done < batch.num_rows:
            used = np.cumsum(sizes[done:], axis=0)
            fits = min(int(np.searchsorted(used[:, i], self._room[i], side="right")) for i in range(2))
            if fits:
                self._pending.append(batch.slice(done, fits))
                self._room = self._room - used[fits - 1]
                done += fits
            if done < batch.num_rows:
                self._flush()
        self._records += int((np.asarray(batch.column("part")) == 0).sum())
        self._tokens += int(sizes[:, 0].sum())

    def close(self, split: str, root: Path, source: str | None = None) -> ShardEntry:
        """Finish the file and give it its name; the entry's path is relative to `root`. `source`: where its records come from."""
        self._flush()
        digest, size = self._file.finish()
        self._file.publish()
        path = self._file.path.relative_to(root).as_posix()
        counts = {"records": self._records, "tokens": self._tokens}
        batches = tuple(self._batches)
        return ShardEntry(path=path, bytes=size, sha256=digest, split=split, source=source, batches=batches, **counts)

    def _flush(self) -> None:
        if self._pending:
            self._batches.append(sum(batch.num_rows for batch in self._pending))
            # The empty array makes Arrow copy: of a slice it would write the values around it as well.
            pieces = zip(*(batch.columns for batch in self._pending), strict=True)
            self._file.write([pa.concat_arrays([*columns, columns[0][:0]]) for columns in pieces])
        self._pending = []
        self._room = np.array([MAX_TOKENS, MAX_ELEMENTS])

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.discard()


def _sizes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Per row: its tokens (at least 1), and the elements of its longest list."""
    lists = [np.asarray(pc.fill_null(pc.list_value_length(c), 0)) for c in batch.columns if pa.types.is_list(c.type)]
    tokens = np.maximum(np.asarray(pc.list_value_length(batch.column("input_ids"))), 1)
    return np.stack((tokens, np.maximum.reduce(lists)), axis=1).astype(np.int64)


def _too_large(batch: pa.RecordBatch, sizes: npt.NDArray[np.int64]) -> Failure:
    row = int(np.flatnonzero((sizes > (MAX_TOKENS, MAX_ELEMENTS)).any(axis=1))[0])
    source, name = batch.column("source")[row].as_py(), batch.column("id")[row].as_py()
    message = (
        f"record `{name}` of source `{source}` has {sizes[row, 0]} tokens and a list of {sizes[row, 1]} entries;"
        f" a record batch holds {MAX_TOKENS} and {MAX_ELEMENTS}"
    )
    return Failure(codes.ROW_TOO_LARGE.at(DataPlace(source), message))
