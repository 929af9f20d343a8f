"""Shard files, read: record batches as numpy views of the mapped file.

Nothing here trusts the file. Every way in which one can be wrong is a `Failure` that names it, and what passes cannot send an
index out of range: offsets increase, ranges lie in their row, set and token numbers exist.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl.codes import shards as codes
from .arrow_reader import Shown, open_batches

SHARD_FORMAT = 1
"""Raised by every change that an older reader would misread. A new column is none: readers ignore what they do not know."""

MAX_TOKENS = 2**20
MAX_ELEMENTS = 2**24
"""The most tokens, and elements of any one list column, that a record batch holds, so that 32-bit offsets suffice."""
MAX_SETS = 2**22
"""Bytes of the list of sets, at most: about a hundred thousand of them."""

Kind = Literal["index", "class", "label", "key", "token", "factor", "number", "vector", "vector32"]
"""What a field or an attribute is taken for."""

TYPES: dict[Kind, pa.DataType] = {
    "index": pa.int32(),
    "class": pa.int32(),
    "label": pa.string(),
    "key": pa.string(),
    "token": pa.int32(),
    "factor": pa.float32(),
    "number": pa.float32(),
    "vector": pa.float16(),
    "vector32": pa.float32(),
}
_NULL: dict[Kind, float] = {
    "index": -1,
    "class": -1,
    "token": -1,
    "factor": np.nan,
    "number": np.nan,
    "vector": np.nan,
    "vector32": np.nan,
}

SPAN_COLUMNS = ("span.set", "span.start", "span.end")
EDGE_COLUMNS = ("edge.set", "edge.query_start", "edge.query_end", "edge.key_start", "edge.key_end")
EDGE_WEIGHT = "edge.weight"
FLAT = {"id": pa.string(), "part": pa.int32(), "source": pa.string()}

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Lists:
    """A list column: row i is `values[offsets[i]:offsets[i + 1]]`."""

    offsets: npt.NDArray[np.int32]
    values: Array

    @property
    def used(self) -> Array:
        """The values of all rows."""
        return self.values[self.offsets[0] : self.offsets[-1]]


@dataclass(frozen=True, eq=False)
class Targets:
    """A teacher's hidden states beside one record batch: the tokens that have one, in order, and `states` [tokens, width]."""

    positions: Lists
    states: Array


@dataclass(frozen=True)
class Wanted:
    """What a reader needs of a shard: column -> kind for the fields and attributes, whether it reads edges, and their weights,
    and the bounds of what it reads: token ids below `vocab`, vectors of `width` numbers, rows of at most `context` tokens.
    `required`: columns that have to be there, read or not; `widths`: of columns whose vectors have another width."""

    columns: Mapping[str, Kind]
    edges: bool
    vocab: int
    width: int
    context: int
    required: tuple[str, ...] = ()
    widths: Mapping[str, int] = field(default_factory=dict)
    weights: bool = False

    def types(self) -> dict[str, pa.DataType]:
        """The Arrow type of every column that is read."""
        lists = ("input_ids", *SPAN_COLUMNS, *(EDGE_COLUMNS if self.edges else ()))
        named = {name: pa.list_(TYPES[kind]) for name, kind in self.columns.items()}
        if self.weights:
            named[EDGE_WEIGHT] = pa.list_(TYPES["factor"])
        return {**FLAT, **dict.fromkeys(lists, pa.list_(pa.int32())), **named}


class Chunk:
    """One record batch as views. `sets`: the keys that the numbers in `span.set` and `edge.set` stand for.

    `spans` and `edges`: the columns of `SPAN_COLUMNS` and `EDGE_COLUMNS`, each group with offsets of its own; `weights`: of the
    edges, None where they are not read; `columns`: fields and attributes by their column names, but for labels and keys, which
    methods read. Nulls are -1 (index, class, token) or NaN (factor, number). `shard` and `number`: the path of the shard, and
    the place of the record batch in it. Once whoever opened the shard has found them, `measures` by file and column, and
    `targets` by `HiddenOf.key`.
    """

    def __init__(
        self, batch: pa.RecordBatch, sets: tuple[str, ...], wanted: Wanted, shard: str = "", number: int = 0
    ) -> None:
        self.sets = sets
        self.shard, self.number = shard, number
        self.measures: dict[tuple[str, str], Lists] = {}
        self.rows: int = batch.num_rows
        self.wanted = wanted
        self.targets: dict[str, Targets] = {}
        self._batch = batch
        self._labels: dict[tuple[str, tuple[str, ...]], Lists] = {}
        self._keys: dict[str, Lists] = {}
        self.part: npt.NDArray[np.int32] = batch.column("part").to_numpy()
        self.tokens = self._lists("input_ids")
        self.spans = tuple(self._lists(name) for name in SPAN_COLUMNS)
        self.edges = tuple(self._lists(name) for name in EDGE_COLUMNS) if wanted.edges else ()
        self.weights = self._lists(EDGE_WEIGHT) if wanted.weights else None
        read = {name: kind for name, kind in wanted.columns.items() if kind not in ("label", "key")}
        self.columns = {name: self._lists(name, _NULL[kind]) for name, kind in read.items()}

    def id(self, row: int) -> str:
        """The record's id."""
        offsets, data = self._ids
        return str(data[offsets.item(row) : offsets.item(row + 1)], "utf-8")

    def source(self, row: int) -> str:
        """The name of the record's source."""
        return str(self._batch.column("source")[row])

    def sources(self, names: Sequence[str]) -> npt.NDArray[np.int32]:
        """The source of every row as a place in `names`, -1 for one that is not among them."""
        found = pc.index_in(self._batch.column("source"), value_set=pa.array(names, pa.string()))
        return np.asarray(pc.fill_null(found, -1))

    def arrow(self, column: str) -> pa.Array:
        """A column as Arrow has it."""
        return self._batch.column(column)

    def labels(self, column: str, classes: tuple[str, ...]) -> Lists:
        """A column of labels as places in `classes`, -1 for null and for any other string. Computed once."""
        key = (column, classes)
        if key not in self._labels:
            lists = self._batch.column(column)
            places = pc.index_in(lists.values, value_set=pa.array(classes, pa.string()))
            self._labels[key] = Lists(lists.offsets.to_numpy(), np.asarray(pc.fill_null(places, -1)))
        return self._labels[key]

    def keys(self, column: str) -> Lists:
        """A column of keys, classes or labels as numbers in 0..2^53 - 1, -1 for null. Computed once.

        Equal values have equal numbers in every shard and process, unequal ones unequal numbers: of a million different strings
        with a chance of 1 to 18,000 to the contrary. They are exact as float64.
        """
        if column not in self._keys:
            lists = self._batch.column(column)
            distinct = lists.values.dictionary_encode()
            numbers = np.array([key_number(value) for value in distinct.dictionary.to_pylist()], dtype=np.int64)
            places = np.asarray(pc.fill_null(distinct.indices, -1))
            self._keys[column] = Lists(lists.offsets.to_numpy(), np.append(numbers, -1)[places])
        return self._keys[column]

    def list_offsets(self, column: str) -> npt.NDArray[np.int32]:
        """The offsets of any list column."""
        found: npt.NDArray[np.int32] = self._batch.column(column).offsets.to_numpy()
        return found

    @cached_property
    def held(self) -> frozenset[str]:
        """The keys of which some row holds a span. Reads the column once."""
        return frozenset(self.sets[number] for number in np.unique(self.spans[0].used).tolist())

    @cached_property
    def _ids(self) -> tuple[npt.NDArray[np.int32], memoryview]:
        column = self._batch.column("id")
        _, offsets, data = column.buffers()
        count = column.offset + len(column) + 1
        return np.frombuffer(offsets, np.int32, count)[column.offset :], memoryview(b"" if data is None else data)

    def _lists(self, name: str, null: float = 0) -> Lists:
        column = self._batch.column(name)
        values = column.values
        if values.null_count:
            values = pc.fill_null(values, pa.scalar(null, values.type))
        return Lists(column.offsets.to_numpy(), values.to_numpy(zero_copy_only=True))


def key_number(value: str | int) -> int:
    """A number in 0..2^53 - 1 for a key: of a whole number itself, of a string a digest."""
    if isinstance(value, int):
        return value % 2**53
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest()) >> 11


def id_hashes(file: Path) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of the id of every record of a shard that was just written or checked."""
    with pa.memory_map(str(file)) as source:
        options = pa.ipc.IpcReadOptions(included_fields=[0, 1])
        reader = pa.ipc.open_file(source, options=options)
        ids = [_record_ids(reader.get_batch(number)) for number in range(reader.num_record_batches)]
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for found in ids for name in found)
    return np.frombuffer(digests, dtype=np.uint64)


def _record_ids(batch: pa.RecordBatch) -> list[str]:
    """The ids of a record batch, of a record in several parts that of the first alone."""
    ids: list[str] = batch.column("id").filter(pc.equal(batch.column("part"), 0)).to_pylist()
    return ids


def open_shard(file: Path, shown: str, wanted: Wanted, *, validate: bool = True) -> tuple[Chunk, ...]:
    """Map a shard into memory: its record batches. `shown` is the path that a diagnostic names.

    `validate`: check every value that will be used as an index; without it only what Arrow checks cheaply. Raises Failure for
    a file that is no Arrow file, of a newer format, or whose columns or values are not those of the format.
    """
    place = Shown(shown, "shard ")
    types = wanted.types()

    def choose(schema: pa.Schema) -> Collection[str]:
        _metadata(schema, place)
        _check_columns(schema, wanted.required, types, place)
        return types

    schema, batches = open_batches(file, place, choose, most=MAX_ELEMENTS, validate=validate)
    sets = _metadata(schema, place)
    chunks = []
    for number, batch in enumerate(batches):
        if any(batch.column(name).null_count for name in types if not name.startswith("field.")):
            raise place.failure(codes.SHARD_STRUCTURE, f"has a null row, in record batch {number}")
        chunk = Chunk(batch, sets, wanted, shown, number)
        fault = next(_faults(chunk), None) if validate else None
        if fault is not None:
            raise place.failure(codes.SHARD_STRUCTURE, f"{fault}, in record batch {number}")
        chunks.append(chunk)
    return tuple(chunks)


def _metadata(schema: pa.Schema, place: Shown) -> tuple[str, ...]:
    metadata = schema.metadata or {}
    if len(metadata.get(b"mcd.sets", b"")) > MAX_SETS:
        raise place.failure(codes.SHARD_STRUCTURE, f"has more than {MAX_SETS} bytes of `mcd.sets`")
    try:
        version = int(metadata[b"mcd.format"])
        sets = json.loads(metadata[b"mcd.sets"])
    except (KeyError, ValueError, RecursionError):
        raise place.failure(codes.SHARD_STRUCTURE, "has no `mcd.format` and `mcd.sets` in its metadata") from None
    if version > SHARD_FORMAT:
        raise place.failure(codes.NEWER_FORMAT, f"has format {version}; this version reads up to {SHARD_FORMAT}")
    if not isinstance(sets, list) or not all(isinstance(key, str) for key in sets):
        raise place.failure(codes.SHARD_STRUCTURE, "has an `mcd.sets` that is no list of strings")
    return tuple(sets)


def _check_columns(
    schema: pa.Schema, required: tuple[str, ...], types: Mapping[str, pa.DataType], place: Shown
) -> None:
    for name in dict.fromkeys((*required, *types)):
        at = schema.get_all_field_indices(name)
        if not at:
            raise place.failure(codes.COLUMN_MISSING, f"has no column `{name}`, which the plan requires")
        if len(at) > 1:
            raise place.failure(codes.SHARD_STRUCTURE, f"has {len(at)} columns `{name}`")
        found = schema.field(at[0]).type
        if found != types.get(name, found):
            raise place.failure(
                codes.SHARD_STRUCTURE, f"has column `{name}` of type {found}; {types[name]} is expected"
            )


def _faults(chunk: Chunk) -> Iterator[str]:
    """What would send an index out of range."""
    wanted, used = chunk.wanted, chunk.tokens.used
    lengths = np.diff(chunk.tokens.offsets)
    if len(used) > MAX_TOKENS:
        yield f"holds {len(used)} tokens; {MAX_TOKENS} is the most"
    if len(lengths) and lengths.max() > wanted.context:
        yield f"holds a row of {lengths.max()} tokens; the context has {wanted.context}"
    if len(used) and (used.min() < 0 or used.max() >= wanted.vocab):
        yield f"holds a token id outside 0..{wanted.vocab - 1}"
    yield from _range_faults("span", chunk.spans, ((1, 2),), lengths, len(chunk.sets))
    if chunk.edges:
        yield from _range_faults("edge", chunk.edges, ((1, 2), (3, 4)), lengths, len(chunk.sets))
    if chunk.weights is not None and chunk.edges:
        if not np.array_equal(chunk.weights.offsets, chunk.edges[0].offsets):
            yield f"has a column `{EDGE_WEIGHT}` of another length than `edge.set`"
        elif not ((chunk.weights.used > 0) & np.isfinite(chunk.weights.used)).all():
            yield f"holds a number in column `{EDGE_WEIGHT}` that is no weight above 0"
    for name, kind in wanted.columns.items():
        offsets = chunk.list_offsets(name)
        if name.startswith("span.at.") and not np.array_equal(offsets, chunk.spans[0].offsets):
            yield f"has a column `{name}` of another length than `span.set`"
        width = wanted.widths.get(name, wanted.width)
        if kind in ("vector", "vector32") and (np.diff(offsets) % width).any():
            yield f"holds a list in column `{name}` that is no number of vectors of width {width}"


def _range_faults(
    group: str, columns: tuple[Lists, ...], pairs: tuple[tuple[int, int], ...], lengths: Array, sets: int
) -> Iterator[str]:
    if any(not np.array_equal(lists.offsets, columns[0].offsets) for lists in columns[1:]):
        yield f"has {group} columns of different lengths"
        return
    flat = [lists.used for lists in columns]
    room = np.repeat(lengths, np.diff(columns[0].offsets))
    if len(flat[0]) and (flat[0].min() < 0 or flat[0].max() >= sets):
        yield f"holds a number in `{group}.set` that its metadata does not name"
    if any(((flat[a] < 0) | (flat[a] >= flat[b]) | (flat[b] > room)).any() for a, b in pairs):
        yield f"holds a range in its {group} columns that is empty or outside its row"
