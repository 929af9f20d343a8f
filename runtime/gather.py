"""The sparse records of a batch, gathered from the record batches that hold them into flat arrays.

The loop is over records, whose lists are taken as slices and joined, not over spans or tokens: records that are shuffled lie in
as many record batches. Flat arrays say to which record of the batch an entry belongs; their order says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.files.shard_reader import Chunk, Lists
from ..compiler.ragged import Bools, Ints, offsets, owners, ranges
from .dataset import Rows
from .readers import Readers, Source


@dataclass(frozen=True, eq=False)
class Flat:
    """Ranges of tokens: `record[n]`, `key[n]`, `start[n]`, `end[n]`, `index[n]` (-1 where it is not stored)."""

    record: Ints
    key: Ints
    start: Ints
    end: Ints
    index: Ints


@dataclass(frozen=True, eq=False)
class FlatEdges:
    """Edges: `record[n]`, `key[n]`, the ranges of query and key tokens, and `weight[n]`, None where no rule reads it."""

    record: Ints
    key: Ints
    query_start: Ints
    query_end: Ints
    key_start: Ints
    key_end: Ints
    weight: npt.NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Values:
    """A source's values, flat. Along lists of the record, `start[B]` and `count[B]` of the list of each, in values of `width`
    numbers; along spans, entry i belongs to stored span i."""

    flat: npt.NDArray[Any]
    start: Ints
    count: Ints


@dataclass(frozen=True, eq=False)
class States:
    """Stored states of a teacher, in no order: `record[n]`, `position[n]`, `states` [n, width]."""

    record: Ints
    position: Ints
    states: npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Gathered:
    """A batch of `B` records: `length[B]`; `bare[B]`, whether the tokenizer added nothing to a text; the `tokens` of each, and of
    each measure what it says of them; spans, edges, sources and stored states, by `HiddenOf.key`, that rules read."""

    length: Ints
    bare: Bools
    tokens: list[npt.NDArray[np.int32]]
    spans: Flat
    edges: FlatEdges
    values: dict[Source, Values]
    measures: list[list[npt.NDArray[np.float32]]]
    states: dict[str, States]


class Reach:
    """Where the lists of some rows lie, in columns that share their offsets."""

    def __init__(self, columns: Sequence[Lists], at: Sequence[int]) -> None:
        offsets = [lists.offsets for lists in columns]
        self.bounds = [(each.item(row), each.item(row + 1)) for each, row in zip(offsets, at, strict=True)]

    @cached_property
    def count(self) -> Ints:
        """Elements of each list: [rows]."""
        return np.array([end - start for start, end in self.bounds], dtype=np.int64)

    @property
    def longest(self) -> int:
        """Elements of the longest list."""
        return max(end - start for start, end in self.bounds)

    def slices(self, columns: Sequence[Lists]) -> list[npt.NDArray[Any]]:
        """The list of each row, a view."""
        pairs = zip(columns, self.bounds, strict=True)
        return [lists.values[start:end] for lists, (start, end) in pairs]

    def numbers(self, columns: Sequence[Lists]) -> Ints:
        """Whole numbers of all rows, one list after another."""
        return np.concatenate(self.slices(columns), dtype=np.int64)

    def values(self, columns: Sequence[Lists]) -> npt.NDArray[Any]:
        """Values of all rows, in the type that they have."""
        return np.concatenate(self.slices(columns))


def gather(rows: Rows, readers: Readers) -> Gathered:
    """What the rules of `readers` read of the rows."""
    found = _Rows(rows, readers)
    tokens = [chunk.tokens for chunk in rows.chunks]
    reach = Reach(tokens, rows.at)
    spans, of_spans = found.spans()
    edges = found.edges()
    values = {source: found.of_source(source, of_spans) for source in readers.sources}
    states = {key: found.states(key) for key in readers.targets}
    measures = [found.measure(term.file, term.column) for term in readers.measures]
    return Gathered(reach.count, found.bare(), reach.slices(tokens), spans, edges, values, measures, states)


class _Rows:
    """The rows of a batch, column by column."""

    def __init__(self, rows: Rows, readers: Readers) -> None:
        self._rows, self._readers = rows, readers
        self._chunks, self._at = rows.chunks, rows.at

    def bare(self) -> Bools:
        readers = self._readers
        if not readers.bare:
            return np.zeros(len(self._rows), np.bool_)
        return np.fromiter((row.source in readers.bare for row in self._rows), np.bool_, len(self._rows))

    def spans(self) -> tuple[Flat, Callable[[Sequence[Lists]], npt.NDArray[Any]]]:
        """The spans that anything reads, and what takes another column at them."""
        sets, starts, ends = zip(*(chunk.spans for chunk in self._chunks), strict=True)
        reach = Reach(sets, self._at)
        record, key, read = self._read(reach, sets)

        def taken(columns: Sequence[Lists]) -> npt.NDArray[Any]:
            return reach.values(columns)[read]

        indices = [chunk.columns.get("span.at.index") for chunk in self._chunks]
        known = [lists for lists in indices if lists is not None]
        index = taken(known).astype(np.int64) if len(known) == len(indices) else np.full(len(read), -1)
        return Flat(record, key, reach.numbers(starts)[read], reach.numbers(ends)[read], index), taken

    def edges(self) -> FlatEdges:
        if not self._chunks[0].edges:
            nothing = np.zeros(0, dtype=np.int64)
            return FlatEdges(*(nothing,) * 6, weight=None)
        sets, *ends = zip(*(chunk.edges for chunk in self._chunks), strict=True)
        reach = Reach(sets, self._at)
        record, key, read = self._read(reach, sets)
        weight = None
        if self._readers.reads_weights:
            weights = [chunk.weights for chunk in self._chunks if chunk.weights is not None]
            weight = reach.values(weights)[read]
        query_start, query_end, key_start, key_end = (reach.numbers(column)[read] for column in ends)
        return FlatEdges(record, key, query_start, query_end, key_start, key_end, weight)

    def _read(self, reach: Reach, sets: Sequence[Lists]) -> tuple[Ints, Ints, Ints]:
        """Record and key of the entries that anything reads, and their places among all entries of the rows."""
        maps = [self._readers.numbered(chunk) for chunk in self._chunks]
        if all(each is maps[0] for each in maps):
            key = maps[0][reach.values(sets)]
        else:
            key = np.concatenate([each[part] for each, part in zip(maps, reach.slices(sets), strict=True)])
        read = np.flatnonzero(key >= 0)
        return owners(reach.count)[read], key[read], read

    def of_source(self, source: Source, of_spans: Callable[[Sequence[Lists]], npt.NDArray[Any]]) -> Values:
        """A source's values in these rows; along spans, those of the spans that are read."""
        columns = [_column(chunk, source) for chunk in self._chunks]
        if source.along_spans:
            nothing = np.zeros(len(self._rows), dtype=np.int64)
            return Values(of_spans(columns), nothing, nothing)
        reach = Reach(columns, self._at)
        count = reach.count // source.width
        return Values(reach.values(columns), offsets(count)[:-1], count)

    def states(self, key: str) -> States:
        """The stored states of these rows."""
        targets = [chunk.targets[key] for chunk in self._chunks]
        positions = [each.positions for each in targets]
        reach = Reach(positions, self._at)
        states = [each.states[start:end] for each, (start, end) in zip(targets, reach.bounds, strict=True)]
        return States(owners(reach.count), reach.numbers(positions), np.concatenate(states))

    def measure(self, file: str, column: str) -> list[npt.NDArray[np.float32]]:
        """A measure of the tokens of each row."""
        columns = [chunk.measures[file, column] for chunk in self._chunks]
        return Reach(columns, self._at).slices(columns)


def _column(chunk: Chunk, source: Source) -> Lists:
    if source.key:
        return chunk.keys(source.column)
    if source.classes is not None:
        return chunk.labels(source.column, source.classes)
    return chunk.columns[source.column]


def paint(mask: Bools, record: Ints, start: Ints, end: Ints) -> None:
    """Set `mask[record, start:end]` for every range. `mask` is [B, T]."""
    width = mask.shape[1]
    mask.reshape(-1)[ranges(record * width + start, end - start)] = True
