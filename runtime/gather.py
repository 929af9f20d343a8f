"""The sparse records of a batch, gathered from the record batches that hold them into flat arrays.

The loop is over record batches, not over records, spans or tokens. Flat arrays say to which record of the batch an entry belongs;
their order says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.files.shard_reader import Chunk, Lists
from ..compiler.ragged import Bools, Ints, join, offsets, owners, ranges
from .dataset import Row
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
    """A batch of `B` records: `length[B]`; `bare[B]`, whether the tokenizer added nothing to a text; token ids and what they
    belong to, and the measures of the tokens, one row for each; spans, edges, sources and stored states, by `HiddenOf.key`, that
    rules read."""

    length: Ints
    bare: Bools
    token: Ints
    token_record: Ints
    token_position: Ints
    spans: Flat
    edges: FlatEdges
    values: dict[Source, Values]
    measures: npt.NDArray[np.float32]
    states: dict[str, States]


def gather(rows: Sequence[Row], readers: Readers) -> Gathered:
    """What the rules of `readers` read of the rows."""
    places: dict[Chunk, tuple[list[int], list[int]]] = {}
    for place, row in enumerate(rows):
        records, at = places.setdefault(row.chunk, ([], []))
        records.append(place)
        at.append(row.at)
    pieces = [
        _Piece(chunk, np.array(records, dtype=np.int64), np.array(at, dtype=np.int64), readers)
        for chunk, (records, at) in places.items()
    ]
    tokens = [piece.lists(piece.chunk.tokens) for piece in pieces]
    record, position, ids = (join([columns[i] for columns in tokens]) for i in range(3))
    spans = Flat(*(join(list(columns)) for columns in zip(*(piece.spans for piece in pieces), strict=True)))
    ends = [join(list(columns)) for columns in zip(*(piece.edges for piece in pieces), strict=True)]
    weight = np.concatenate([piece.weights() for piece in pieces]) if readers.reads_weights else None
    edges = FlatEdges(ends[0], ends[1], ends[2], ends[3], ends[4], ends[5], weight)
    values = {source: _values(source, pieces, len(rows)) for source in readers.sources}
    measures = np.zeros((len(readers.measures), len(ids)), dtype=np.float32)
    for place, term in enumerate(readers.measures):
        found = [piece.lists(piece.chunk.measures[term.file, term.column])[2] for piece in pieces]
        measures[place] = np.concatenate(found)
    length = np.bincount(record, minlength=len(rows))
    states = {key: _states([piece.states(key) for piece in pieces]) for key in readers.targets}
    bare = _bare(rows, readers)
    return Gathered(length, bare, ids, record, position, spans, edges, values, measures, states)


def _bare(rows: Sequence[Row], readers: Readers) -> Bools:
    if not readers.bare:
        return np.zeros(len(rows), np.bool_)
    return np.fromiter((row.source in readers.bare for row in rows), np.bool_, len(rows))


class _Piece:
    """The rows of a batch that one record batch holds. `record`: their places in the batch."""

    def __init__(self, chunk: Chunk, record: Ints, at: Ints, readers: Readers) -> None:
        self.chunk = chunk
        self.record = record
        self._at = at
        self._numbers = readers.numbered(chunk.sets)
        self._span_places, self.spans = self._spans()
        self._edge_places, self.edges = self._edges()

    def reach(self, lists: Lists) -> tuple[Ints, Ints]:
        """Where the list of each row begins, and its length."""
        start = lists.offsets[self._at].astype(np.int64)
        return start, lists.offsets[self._at + 1] - start

    def lists(self, lists: Lists) -> tuple[Ints, Ints, Ints]:
        """Record, place in its list and value of every element."""
        start, length = self.reach(lists)
        places = ranges(start, length)
        return np.repeat(self.record, length), places - np.repeat(start, length), lists.values[places]

    def _read(self, columns: tuple[Lists, ...]) -> tuple[Ints, Ints, Ints]:
        """Place, record and key of the entries that anything reads; the first column holds the sets."""
        start, length = self.reach(columns[0])
        places = ranges(start, length)
        key = self._numbers[columns[0].values[places]]
        read = np.flatnonzero(key >= 0)
        return places[read], self.record[owners(length)[read]], key[read]

    def _spans(self) -> tuple[Ints, tuple[Ints, ...]]:
        _, start, end = self.chunk.spans
        places, record, key = self._read(self.chunk.spans)
        index = self.chunk.columns.get("span.at.index")
        ranks = np.full(len(places), -1) if index is None else index.values[places]
        return places, (record, key, start.values[places], end.values[places], ranks)

    def _edges(self) -> tuple[Ints, tuple[Ints, ...]]:
        if not self.chunk.edges:
            nothing = np.zeros(0, dtype=np.int64)
            return nothing, (nothing,) * 6
        places, record, key = self._read(self.chunk.edges)
        return places, (record, key, *(lists.values[places] for lists in self.chunk.edges[1:]))

    def weights(self) -> npt.NDArray[np.float32]:
        """The weights of the edges that anything reads."""
        assert self.chunk.weights is not None, "the plan requires a column that some rule reads"
        found: npt.NDArray[np.float32] = self.chunk.weights.values[self._edge_places]
        return found

    def states(self, key: str) -> States:
        """The stored states of these rows."""
        targets = self.chunk.targets[key]
        start, length = self.reach(targets.positions)
        places = ranges(start, length)
        return States(np.repeat(self.record, length), targets.positions.values[places], targets.states[places])

    def values(self, source: Source) -> tuple[npt.NDArray[Any], Ints]:
        """A source's values in these rows, and the number of them in each (along spans: of the spans that are read)."""
        column = self._column(source)
        if source.along_spans:
            return column.values[self._span_places], np.zeros(0, dtype=np.int64)
        start, length = self.reach(column)
        return column.values[ranges(start, length)], length // source.width

    def _column(self, source: Source) -> Lists:
        if source.key:
            return self.chunk.keys(source.column)
        if source.classes is not None:
            return self.chunk.labels(source.column, source.classes)
        return self.chunk.columns[source.column]


def _states(pieces: Sequence[States]) -> States:
    record, position = (join([getattr(piece, name) for piece in pieces]) for name in ("record", "position"))
    return States(record, position, np.concatenate([piece.states for piece in pieces]))


def _values(source: Source, pieces: Sequence[_Piece], records: int) -> Values:
    found = [piece.values(source) for piece in pieces]
    flat = np.concatenate([values for values, _ in found])
    start, count = np.zeros(records, dtype=np.int64), np.zeros(records, dtype=np.int64)
    if not source.along_spans:
        lengths = join([lengths for _, lengths in found])
        record = join([piece.record for piece in pieces])
        start[record], count[record] = offsets(lengths)[:-1], lengths
    return Values(flat, start, count)


def paint(mask: Bools, record: Ints, start: Ints, end: Ints) -> None:
    """Set `mask[record, start:end]` for every range. `mask` is [B, T]."""
    width = mask.shape[1]
    mask.reshape(-1)[ranges(record * width + start, end - start)] = True
