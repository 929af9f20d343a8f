"""Joins: which query span and which key span of a record make an edge.

`matching` gives, per alternative of the condition, the range of keys that each query span can meet, and what is left to try on
pairs. Here edges are made of that: `nearest`, `first` and `last` read their key off the range where nothing is left to try;
otherwise pairs are laid out, a bounded number at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ...dsl import checked as c
from ..batch import Edges, Ints
from ..ragged import changes, offsets, ranks
from .links import Links
from .matching import Alternative, alternatives
from .scalars import Scope, explained
from .spans import NONE

CHUNK = 1 << 20
"""Pairs laid out at a time, unless a single query span has more."""

Pair = tuple[Ints, Ints]
"""Rows of the query set and of the key set, sorted."""


def joined(node: c.Join, query: Scope, key: Scope, links: Mapping[c.Linked, Links]) -> Edges:
    """The edges of a join over two sets of one batch. `links`: what each `linked` of its condition lists.

    At most `max_edges` for every token of a record: those of the later query spans, then of the later keys, are left out and
    counted. Raises Failure (MCD556) where the types of a comparison do not go together.
    """
    limit = _Limit(query, node.max_edges)
    with explained(node, query.text.batch.source):
        ways = alternatives(node.condition, query, key, links)
        if node.pick != "all":
            best = _picked(ways, query, key, node.pick)
            chosen = np.flatnonzero(best != NONE)
            parts = [limit.keep(chosen, best[chosen])]
        elif len(ways) == 1 and not ways[0].rest:
            parts = [limit.lay_out(ways[0])]
        else:
            parts = [limit.keep(*pairs) for pairs in _every(ways, len(key.spans))]
    nothing = np.zeros(0, np.int64)
    rows, keys = (np.concatenate([nothing, *columns]) for columns in zip((nothing, nothing), *parts, strict=True))
    return Edges(rows, keys, limit.surplus, _weights(rows, keys, links) if links else None)


def _weights(query: Ints, key: Ints, links: Mapping[c.Linked, Links]) -> npt.NDArray[np.float32]:
    """The product of the weights of all links that list an edge, 1 where none does, as far as float32 reaches."""
    limits = np.finfo(np.float32)
    weight = np.ones(len(query))
    for found in links.values():
        weight = np.clip(weight * found.among(query, key)[1], float(limits.tiny), float(limits.max))
    return weight.astype(np.float32)


class _Limit:
    """How many edges each record may still have. Pairs are given in order, all of a query span at once."""

    def __init__(self, query: Scope, max_edges: int) -> None:
        table = query.text.batch.tokens
        tokens = np.diff(offsets((~table.added).astype(np.int64))[table.offsets])
        self._record = query.spans.record
        self._left = tokens * max_edges
        self.surplus = np.zeros(len(tokens), np.int64)

    def keep(self, query: Ints, key: Ints) -> Pair:
        """The pairs within the limit."""
        record = self._record[query]
        kept = ranks(record) < self._left[record]
        self._take(np.bincount(record, minlength=len(self._left)))
        return query[kept], key[kept]

    def lay_out(self, way: Alternative) -> Pair:
        """Every pair of an alternative without anything left to try, within the limit: no other pair is made."""
        counts = way.high - way.low
        before = offsets(counts)[:-1]
        if len(counts):
            first = np.flatnonzero(changes(self._record))
            before -= np.repeat(before[first], np.diff(first, append=len(counts)))
        allowed = np.clip(self._left[self._record] - before, 0, counts)
        totals = np.zeros_like(self._left)
        np.add.at(totals, self._record, counts)
        self._take(totals)
        return way.pairs(np.arange(len(counts)), allowed)

    def _take(self, wanted: Ints) -> None:
        taken = np.minimum(wanted, self._left)
        self._left -= taken
        self.surplus += wanted - taken


def _every(ways: Sequence[Alternative], keys: int) -> Iterator[Pair]:
    """All pairs that meet any alternative, in order, some query spans at a time."""
    for rows in _chunks(sum((way.high - way.low for way in ways), np.zeros_like(ways[0].low))):
        parts = [way.tried(rows) for way in ways]
        if len(parts) == 1:
            yield parts[0]
        else:
            codes = np.unique(np.concatenate([query * keys + key for query, key in parts]))
            yield codes // max(keys, 1), codes % max(keys, 1)


def _chunks(counts: Ints) -> Iterator[Ints]:
    """Rows with a count, in runs of about CHUNK in all."""
    rows = np.flatnonzero(counts)
    reach = np.cumsum(counts[rows])
    first = 0
    while first < len(rows):
        done = reach[first - 1] if first else 0
        stop = max(first + 1, int(np.searchsorted(reach, done + CHUNK, side="right")))
        yield rows[first:stop]
        first = stop


def _picked(ways: Sequence[Alternative], query: Scope, key: Scope, pick: c.Pick) -> Ints:
    """The row of the key that each query span keeps, -1 where it has none. The best of all is the best of each one's best."""
    best = np.full(len(query.spans), NONE)
    for way in ways:
        for offer in _offers(way, query, key, pick):
            best = _better(best, offer, query, key, pick)
    return best


def _offers(way: Alternative, query: Scope, key: Scope, pick: c.Pick) -> Iterator[Ints]:
    """Keys per query span, -1 for none, among them the one that it keeps."""
    if pick in ("first", "last") and not way.rest:
        yield way.end(pick)
        return
    near = way.nearest() if pick == "nearest" else None
    if near is not None:
        yield from near
        return
    for rows in _chunks(way.high - way.low):
        query_rows, key_rows = way.tried(rows)
        at = _best_pair(query_rows, key_rows, query, key, pick)
        offer = np.full(len(query.spans), NONE)
        offer[query_rows[at]] = key_rows[at]
        yield offer


def _best_pair(query_rows: Ints, key_rows: Ints, query: Scope, key: Scope, pick: c.Pick) -> Ints:
    """Of pairs in order, the place of the one that each query span keeps."""
    if not len(query_rows):
        return query_rows
    first = np.flatnonzero(changes(query_rows))
    last = np.append(first[1:], len(query_rows)) - 1
    if pick != "nearest":
        return first if pick == "first" else last
    gaps = gap(query_rows, key_rows, query, key)
    smallest = np.repeat(np.minimum.reduceat(gaps, first), last - first + 1)
    return np.maximum.reduceat(np.where(gaps == smallest, np.arange(len(gaps)), NONE), first)


def _better(left: Ints, right: Ints, query: Scope, key: Scope, pick: c.Pick) -> Ints:
    """Per query span, which of two keys it keeps."""
    both = np.flatnonzero((left != NONE) & (right != NONE) & (left != right))
    better = np.where(left == NONE, right, left)
    one, other = left[both], right[both]
    if pick == "nearest":
        gap_one, gap_other = gap(both, one, query, key), gap(both, other, query, key)
        wins = (gap_other < gap_one) | ((gap_other == gap_one) & (other > one))
    else:
        wins = other < one if pick == "first" else other > one
    better[both] = np.where(wins, other, one)
    return better


def gap(query_rows: Ints, key_rows: Ints, query: Scope, key: Scope) -> Ints:
    """Code points between the two spans of each pair, on whichever side; 0 where they overlap."""
    points = query.text.points
    start, end = query.spans.start[query_rows], query.spans.end[query_rows]
    key_start, key_end = key.spans.start[key_rows], key.spans.end[key_rows]
    ahead = points.char_of_byte(np.minimum(key_end, start), start)
    behind = points.char_of_byte(np.minimum(end, key_start), key_start)
    return np.maximum(ahead, behind)
