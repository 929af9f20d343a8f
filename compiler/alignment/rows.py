"""Rows that only an aligned batch can count: spans with an equal one to be pulled to, and rows with a token ahead of them.

Both are counted part by part, as the runtime sees them: what acts in another part of a record is out of reach. A *place* is that
of a token among all tokens of the batch's parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..batch import Spans, TextBatch
from ..counted import Counted
from ..manifest import Cause
from ..plan import Digest
from ..ragged import Ints, changes, owners, ranges
from ..recipe import AheadCheck, ContrastCheck, Recipe
from ..sets import BLANK, RECORD, TOKENS
from .align import Aligned
from .fields import FieldColumn, span_values

Tally = Iterator[tuple[Cause, Ints]]
"""Causes, each with the records in which it was met."""


def count_rows(
    batch: TextBatch,
    recipe: Recipe,
    spans: Mapping[Digest, Spans],
    columns: Mapping[str, FieldColumn],
    aligned: Aligned,
) -> Counted:
    """By rule: its `rows`; of a contrast the spans that are `lonely` or `null`, of a look ahead the rows `beyond` the text."""
    counted = Counted(tuple(check.rule for check in recipe.rows), batch.records)
    if not recipe.rows:
        return counted
    layout = _Layout(aligned, spans)
    for number, check in enumerate(recipe.rows):
        if isinstance(check, AheadCheck):
            found = _ahead(check, layout)
        else:
            found = _contrast(check, layout, *span_values(batch, check, spans, columns, "key"))
        for cause, record in found:
            counted.add(cause, np.full_like(record, number), record)
    return counted


def _ahead(check: AheadCheck, layout: _Layout) -> Tally:
    last = layout.last_tokens(layout.acting(check.set), check.pool)
    row = layout.row_of(last)
    there = last + check.ahead < layout.end[row]
    yield "rows", layout.record[row[there]]
    yield "beyond", layout.record[row[~there]]


def _contrast(check: ContrastCheck, layout: _Layout, owner: Ints, values: pa.Array) -> Tally:
    """`values`: the key of each span of the set, of record `owner`. Under `each`, the distinct tokens of a key are compared."""
    null = ~np.asarray(pc.is_valid(values))
    yield "null", owner[null & ~layout.dropped[owner]]
    codes = np.asarray(pc.fill_null(pc.dictionary_encode(values).indices, -1)).astype(np.int64)
    acting = layout.acting(check.set)
    acting = acting.take(np.flatnonzero(codes[acting.origin] >= 0))
    keys, many = codes[acting.origin], len(values) + 1
    groups = acting.row * many + keys
    units = groups
    if check.each:
        of, place = layout.tokens(acting)
        key, place = np.divmod(np.unique(keys[of] * layout.size + place), layout.size)
        units = layout.row_of(place) * many + key
    distinct, count = np.unique(units, return_counts=True)
    yield "rows", layout.record[np.repeat(distinct, np.where(count > 1, count, 0)) // many]
    if check.scope == "record":
        yield "lonely", layout.record[acting.row[count[np.searchsorted(distinct, groups)] < 2]]


@dataclass(frozen=True, eq=False)
class _Acting:
    """Ranges that act: `row[n]`, the part; `start[n]`, a place; `length[n]`; `origin[n]`, the place of the span in its set."""

    row: Ints
    start: Ints
    length: Ints
    origin: Ints

    def take(self, chosen: Ints) -> _Acting:
        return _Acting(self.row[chosen], self.start[chosen], self.length[chosen], self.origin[chosen])


class _Layout:
    """The tokens of a batch's parts. `record[P]`; `end[P]`, the place behind a part's text, or behind the tokens that the
    tokenizer adds where the text ends there; `dropped[records]`; `size`, of all parts."""

    def __init__(self, aligned: Aligned, spans: Mapping[Digest, Spans]) -> None:
        parts, offsets, ranged = aligned.parts, aligned.token_offsets, aligned.spans
        self.record, self.dropped, self.size = parts.record, aligned.dropped, len(aligned.input_ids) + 1
        self._aligned, self._spans, self._begin = aligned, spans, offsets[:-1]
        self._goes_on = parts.end < parts.content[parts.record]
        self.end = offsets[1:] - np.where(self._goes_on, parts.suffix[parts.record], 0)
        self._blank = np.zeros(self.size, dtype=np.bool_)
        blank = ranged.set == aligned.keys.index(BLANK)
        self._blank[
            ranges(self._begin[ranged.row[blank]] + ranged.start[blank], (ranged.end - ranged.start)[blank])
        ] = True

    def row_of(self, place: Ints) -> Ints:
        """The part of each token."""
        return np.searchsorted(self._begin, place, side="right") - 1

    def tokens(self, acting: _Acting) -> tuple[Ints, Ints]:
        """The tokens of ranges as (number of the range, place), without white space inside longer ranges."""
        of, place = owners(acting.length), ranges(acting.start, acting.length)
        kept = ~self._blank[place] | (acting.length[of] == 1)
        return of[kept], place[kept]

    def last_tokens(self, acting: _Acting, pool: str) -> Ints:
        """The place of the last token of every row that `pool` makes of the ranges."""
        of, place = self.tokens(acting)
        if pool == "each":
            return np.unique(place)
        new = changes(of)
        return place[new if pool == "first" else np.append(new[1:], True)] if len(of) else place

    def acting(self, key: str) -> _Acting:
        """The ranges of a set that act, each in one part."""
        parts, rows = self._aligned.parts, np.arange(len(self.record), dtype=np.int64)
        if key == TOKENS:
            length = parts.end - parts.fresh
            row = np.repeat(rows, length)
            start = ranges(self._begin + parts.position(rows, parts.fresh), length)
            return _Acting(row, start, np.ones_like(row), row)
        if key == RECORD:
            start, length = self._begin + parts.position(rows, parts.begin), parts.end - parts.begin
            whole = _Acting(rows, start, length, self.record).take(np.flatnonzero((parts.part == 0) & ~self._goes_on))
            return whole.take(np.unique(self.tokens(whole)[0]))
        ranged = self._aligned.spans
        mine = np.flatnonzero(ranged.set == self._aligned.keys.index(key))
        before = sum(len(found) for other, found in self._spans.items() if other < key)
        start, length = self._begin[ranged.row[mine]] + ranged.start[mine], (ranged.end - ranged.start)[mine]
        return _Acting(ranged.row[mine], start, length, ranged.origin[mine] - before)
