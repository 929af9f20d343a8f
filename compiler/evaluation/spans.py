"""Array operations on span sets: in order and distinct, ranked, joined, compared by extent. No loop over spans or tokens.

Two spans are one if their extents are equal. Tokens are the exception: a token of white space alone has no extent, and a
character that the tokenizer splits gives several tokens of one extent. Such *twins* stay apart, each told by its own row
in the token table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from ..batch import Bools, Ints, Spans, TokenTable
from ..ragged import changes, ranks
from .attributes import aligned, first_present

NONE = -1
"""Where a row of the token table, or of a span set, is expected and there is none."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of a batch that a tokenizer did not add, and what spans have to do with them. Rows are of the token table."""

    table: TokenTable

    @cached_property
    def rows(self) -> Ints:
        """Every token but the added ones."""
        return np.flatnonzero(~self.table.added)

    @cached_property
    def inked(self) -> Ints:
        """The tokens of `rows` that are not white space alone."""
        return self.rows[self.table.start[self.rows] < self.table.end[self.rows]]

    @cached_property
    def _extents(self) -> tuple[Ints, Ints]:
        return self.table.start[self.inked], self.table.end[self.inked]

    @cached_property
    def rank(self) -> Ints:
        """Per row of the table, the token's rank from 0 in its record (of the next such token, for an added one)."""
        before = np.concatenate([[0], np.cumsum(~self.table.added)])
        ranks: Ints = before[:-1] - before[self.table.offsets[:-1]][self.table.record]
        return ranks

    @cached_property
    def twins(self) -> Bools:
        """Per row of the table, whether the token's extent does not tell it from another."""
        start, end = self._extents
        same = (start[1:] == start[:-1]) & (end[1:] == end[:-1])
        twins: Bools = self.table.start == self.table.end
        twins[self.inked[1:][same]] = twins[self.inked[:-1][same]] = True
        return twins

    def identity(self, token: Ints) -> Ints:
        """What tells spans of equal extents apart: the token's row for a twin, else -1. `token[n]` is as in Spans."""
        if not len(self.twins):
            return token
        return np.where((token != NONE) & self.twins[token], token, NONE)

    def inside(self, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Half-open ranges of `inked` that hold the tokens which share a character with the trimmed extents."""
        starts, ends = self._extents
        first = np.searchsorted(ends, start, side="right")
        return first, np.maximum(np.searchsorted(starts, end, side="left"), first)

    def edge(self, start: Ints, end: Ints, token: Ints, side: str) -> Ints:
        """Row of the `first` or the `last` token of each span, -1 where it has none. A span that is a token has itself."""
        first, stop = self.inside(start, end)
        at = first if side == "first" else stop - 1
        found = np.full(len(start), NONE)
        full = (first < stop) & (start < end)
        found[full] = self.inked[at[full]]
        return np.where(token != NONE, token, found)

    def step(self, token: Ints, side: str) -> Ints:
        """Row of the `next` or the `previous` token in the record, added tokens left out; -1 where there is none."""
        found = np.full(len(token), NONE)
        present = np.flatnonzero(token != NONE)
        if side == "next":
            at = np.searchsorted(self.rows, token[present], side="right")
        else:
            at = np.searchsorted(self.rows, token[present]) - 1
        within = (at >= 0) & (at < len(self.rows))
        present, at = present[within], at[within]
        there = self.rows[at]
        same = self.table.record[there] == self.table.record[token[present]]
        found[present[same]] = there[same]
        return found

    def spans(self, rows: Ints) -> Spans:
        """The tokens at `rows`, ranked. `rows` are distinct and in order."""
        record = self.table.record[rows]
        return Spans(record, self.table.start[rows], self.table.end[rows], ranks(record), rows)


def empty() -> Spans:
    """A set without spans."""
    none = np.zeros(0, np.int64)
    return Spans(none, none, none, none, none)


def found(record: Ints, start: Ints, end: Ints, attributes: Mapping[str, pa.Array] | None = None) -> Spans:
    """Spans that are no tokens, not ranked yet. Those without extent are left out."""
    spans = Spans(record, start, end, np.zeros_like(start), np.full(len(start), NONE), attributes or {})
    full = start < end
    return spans if full.all() else spans.take(full)


def ranked(spans: Spans) -> Spans:
    """The same spans, numbered from 0 in each record."""
    return replace(spans, index=ranks(spans.record))


def distinct(spans: Spans, tokens: Tokens) -> Spans:
    """The spans in order, equal ones made one: it has the index of the first, and of each attribute the first value present."""
    own = tokens.identity(spans.token)
    order = np.lexsort((own, spans.end, spans.start, spans.record))
    keys = [column[order] for column in (spans.record, spans.start, spans.end, own)]
    heads = np.flatnonzero(np.logical_or.reduce([changes(key) for key in keys]))
    if len(heads) == len(order):
        return spans.take(order)
    chosen = order[heads]
    return Spans(
        spans.record[chosen],
        spans.start[chosen],
        spans.end[chosen],
        spans.index[chosen],
        np.maximum.reduceat(spans.token[order], heads),
        {name: first_present(column, order, heads) for name, column in spans.attributes.items()},
    )


def concatenate(parts: Sequence[Spans], source: str) -> Spans:
    """All spans of `parts`, one part after another, with the attributes of any. Raises Failure (MCD555) where two parts have
    an attribute of one name and different types."""
    parts = [part for part in parts if len(part)] or list(parts[:1])
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part.attributes)
    lengths = [len(part) for part in parts]
    record, start, end, index, token = (np.concatenate(columns) for columns in zip(*map(_columns, parts), strict=True))
    attributes = {name: aligned(name, [part.attributes.get(name) for part in parts], lengths, source) for name in names}
    return Spans(record, start, end, index, token, attributes)


def _columns(spans: Spans) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    return spans.record, spans.start, spans.end, spans.index, spans.token


def shares(spans: Spans, others: Spans) -> Bools:
    """Per span, whether it shares a character that is no white space with one of `others`.

    Outer white space is off every span, so that two extents that meet at all meet in such a character. A token of white
    space alone shares with itself only.
    """
    start, reach = _reach(others)
    before = np.searchsorted(start, spans.end, side="left")
    overlap = reach[before] > spans.start
    return np.where(spans.start < spans.end, overlap, _same_token(spans, others))


def within(spans: Spans, others: Spans) -> Bools:
    """Per span, whether it lies inside one of `others`. A token of white space alone lies inside itself only."""
    start, reach = _reach(others)
    before = np.searchsorted(start, spans.start, side="right")
    inside = reach[before] >= spans.end
    return np.where(spans.start < spans.end, inside, _same_token(spans, others))


def _reach(spans: Spans) -> tuple[Ints, Ints]:
    """The starts of the spans that have an extent, and how far the first k of them reach, for k = 0, 1, ..."""
    full = spans.start < spans.end
    return spans.start[full], np.maximum.accumulate(np.concatenate([[NONE], spans.end[full]]))


def _same_token(spans: Spans, others: Spans) -> Bools:
    blank = others.token[others.start == others.end]
    return np.isin(spans.token, blank)
