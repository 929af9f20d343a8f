"""The rows of shards once more, as a teacher with a tokenizer of its own reads them, and whose token pairs with whose.

The texts are read again from the sources, since shards hold none; nothing is written. A row is the part of a text that a shard's
row holds: the teacher reads those of its tokens that lie within, as many as it has positions for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...dsl import checked
from ..batch import TextBatch, TokenTable
from ..ragged import Ints, join, offsets, owners, ranges
from ..recipe import Recipe
from ..sources.base import Tally, Task
from ..sources.reader import read_batches
from ..teaching import TeacherTokens
from ..tokens.tokenize import Encoder
from .locate import Locator
from .parts import Parts, cut_records


@dataclass(frozen=True, eq=False)
class Reading:
    """How a teacher reads. `positions`: how many tokens at most; `last`: a token pairs with one of the teacher's, see `pairs`."""

    encoder: Encoder
    positions: int | None
    last: bool


class Retokenizer:
    """Gives the rows of the shards of any task. `encoder` is the one that the shards were made with."""

    def __init__(self, recipe: Recipe, root: Path, encoder: Encoder, tasks: tuple[Task, ...], reading: Reading) -> None:
        self._recipe, self._root, self._encoder, self._tasks = recipe, root, encoder, tasks
        self._reading = reading
        self._sources: dict[str, checked.Source] = {source.name: source for source in recipe.sources}

    def __call__(self, number: int) -> Mapping[str, TeacherTokens]:
        """The rows of task `number` by split, in the order of its shards. Raises Failure as compiling does."""
        task = self._tasks[number]
        found: dict[str, list[TeacherTokens]] = {}
        for batch, splits in read_batches(self._sources[task.source], self._root, task, (), self._encoder, Tally()):
            parts = cut_records(batch, self._recipe.model)
            tokens = self._reading.encoder.encode(_texts(batch))
            whole = reread(batch.tokens, tokens, parts, self._reading)
            split = splits.index[parts.record]
            for place, name in enumerate(splits.names):
                mine = np.flatnonzero(split == place)
                if len(mine):
                    found.setdefault(name, []).append(_rows(whole, mine))
        return {name: _stacked(pieces) for name, pieces in found.items()}


def _texts(batch: TextBatch) -> pa.StringArray:
    """The texts of a batch as Arrow has them, on the batch's own buffer."""
    bounds = pa.py_buffer(batch.bounds.astype(np.int32))
    return pa.StringArray.from_buffers(batch.records, bounds, pa.py_buffer(batch.buffer))


def reread(own: TokenTable, other: TokenTable, parts: Parts, reading: Reading) -> TeacherTokens:
    """The parts of a batch in the tokens `other` of the same texts, paired with the tokens `own` of the parts."""
    locator = Locator(own, parts)
    row = owners(np.diff(locator.token_offsets))
    content = np.flatnonzero(~other.added)
    first, count = _window(own, other, parts, content, reading)
    prefix = len(reading.encoder.prefix)
    place, at = pairs(
        own.start[locator.laid], own.end[locator.laid], other.start[content], other.end[content], reading.last
    )
    inside = (at >= first[row[place]]) & (at < (first + count)[row[place]])
    place, at = place[inside], at[inside]
    row_of = row[place]
    lengths = count + prefix + len(reading.encoder.suffix)
    ids = _laid(reading.encoder, other.ids[content], first, count)
    return TeacherTokens(
        ids, offsets(lengths), row_of, place - locator.token_offsets[row_of], at - first[row_of] + prefix
    )


def pairs(start: Ints, end: Ints, other_start: Ints, other_end: Ints, last: bool) -> tuple[Ints, Ints]:
    """Which of the tokens `[start, end)` goes with which of the others, as (place, place of the other), sorted.

    A token overlaps one of the others where they share a byte; one that is empty overlaps none. With `last` it goes with the
    last of those that end no later than it does, if there is one: a causal model has read as much text there, and no more.
    Without, it goes with all that it overlaps. Starts and ends of the others are non-decreasing.
    """
    solid = np.flatnonzero(other_end > other_start)
    other_start, other_end = other_start[solid], other_end[solid]
    place = np.flatnonzero(end > start)
    low = np.searchsorted(other_end, start[place], side="right")
    high = np.searchsorted(other_start, end[place], side="left")
    if last:
        at = np.minimum(high, np.searchsorted(other_end, end[place], side="right")) - 1
        found = at >= low
        return place[found], solid[at[found]]
    counts = np.maximum(high - low, 0)
    return np.repeat(place, counts), solid[ranges(low, counts)]


def _window(own: TokenTable, other: TokenTable, parts: Parts, content: Ints, reading: Reading) -> tuple[Ints, Ints]:
    """Per part the first of the other tokens that it holds, counted among those of `content`, and how many they are."""
    bounds = offsets((~other.added).astype(np.int64))[other.offsets]
    first, stop = bounds[parts.record], bounds[parts.record + 1]
    base = own.offsets[parts.record] + parts.prefix[parts.record]
    cut = np.flatnonzero(parts.begin > 0)
    low = own.start[(base + parts.begin)[cut]]
    first[cut] = np.maximum(first[cut], np.searchsorted(other.start[content], low, side="left"))
    cut = np.flatnonzero(parts.end < parts.content[parts.record])
    high = own.end[(base + parts.end - 1)[cut]]
    stop[cut] = np.minimum(stop[cut], np.searchsorted(other.end[content], high, side="right"))
    count = np.maximum(stop - first, 0)
    if reading.positions is not None:
        room = reading.positions - len(reading.encoder.prefix) - len(reading.encoder.suffix)
        count = np.minimum(count, max(room, 0))
    return first, count


def _laid(encoder: Encoder, ids: Ints, first: Ints, count: Ints) -> Ints:
    """The ids of every part, one after another, with those that the tokenizer adds around a text."""
    before, after = len(encoder.prefix), len(encoder.suffix)
    lengths = count + before + after
    begin = offsets(lengths)[:-1]
    found = np.empty(int(lengths.sum()), dtype=np.int64)
    found[ranges(begin, np.full_like(count, before))] = np.tile(encoder.prefix, len(count))
    found[ranges(begin + before, count)] = ids[ranges(first, count)]
    found[ranges(begin + before + count, np.full_like(count, after))] = np.tile(encoder.suffix, len(count))
    return found


def _rows(whole: TeacherTokens, rows: Ints) -> TeacherTokens:
    """Some rows, in their order."""
    lengths = np.diff(whole.offsets)
    if len(rows) == len(lengths):
        return whole
    number = np.full(len(lengths), -1)
    number[rows] = np.arange(len(rows))
    kept = np.flatnonzero(number[whole.row] >= 0)
    ids = whole.ids[ranges(whole.offsets[rows], lengths[rows])]
    return TeacherTokens(ids, offsets(lengths[rows]), number[whole.row[kept]], whole.token[kept], whole.at[kept])


def _stacked(pieces: list[TeacherTokens]) -> TeacherTokens:
    """The rows of all pieces, one piece after another."""
    before = np.cumsum([0, *(len(piece.offsets) - 1 for piece in pieces)])
    lengths = join([np.diff(piece.offsets) for piece in pieces])
    return TeacherTokens(
        join([piece.ids for piece in pieces]),
        offsets(lengths),
        join([piece.row + count for piece, count in zip(pieces, before, strict=False)]),
        join([piece.token for piece in pieces]),
        join([piece.at for piece in pieces]),
    )
