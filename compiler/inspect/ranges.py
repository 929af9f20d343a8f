"""The token ranges of a record batch, flat, with those that are never stored, and how many tokens they cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..files.shard_reader import Chunk, Lists
from ..plan import Plan
from ..ragged import Bools, Ints, changes, in_order, offsets, owners, ranges, uncovered
from ..sets import BLANK, RECORD, REPEAT, TOKENS, again, cut
from .reads import Pool, Reads


@dataclass(frozen=True, eq=False)
class Held:
    """For the rows that hold ranges under a key, in order: `row[n]`, `count[n]` ranges, and `tokens[n]` in them."""

    row: Ints
    count: Ints
    tokens: Ints


NOTHING = Held(*(np.zeros(0, np.int64) for _ in range(3)))


class Ranges:
    """A record batch. `row[n]`, `set[n]`, `start[n]`, `end[n]` of its stored spans; of tokens, one after another, whether they
    are white space alone (`blank`), context alone (`repeat`), or not added by the tokenizer (`content`)."""

    def __init__(self, chunk: Chunk, plan: Plan) -> None:
        self.chunk = chunk
        self.lengths: Ints = np.diff(chunk.tokens.offsets).astype(np.int64)
        self.first = offsets(self.lengths)[:-1]
        self.sets = {key: number for number, key in enumerate(chunk.sets)}
        self.row, self.set, self.start, self.end = _flat(chunk.spans)
        self.blank, self.repeat = self._painted(BLANK), self._painted(REPEAT)
        bare = chunk.sources(plan.tokenizer.bare) >= 0
        self.prefix: Ints = np.where(bare, 0, plan.tokenizer.prefix)
        suffix: Ints = np.where(bare, 0, plan.tokenizer.suffix)
        owner = owners(self.lengths)
        place = np.arange(len(owner)) - self.first[owner]
        self.content: Bools = (place >= self.prefix[owner]) & (place < (self.lengths - suffix)[owner])

    def held(self, key: str) -> Held:
        """What the rows hold under a key of spans, or of edges, whose query tokens count."""
        if key == TOKENS:
            return self._tokens(self.content & ~self.repeat)
        if key == again(TOKENS):
            return self._tokens(self.content & self.repeat)
        if key == RECORD:
            return self._records()
        number = self.sets.get(key, -1)
        return self._spans.get(number) or self._edges.get(number) or NOTHING

    def acting(self, read: Reads) -> Held:
        """Where a rule acts, and what it supervises there: spans, edges, or the queries of two sets."""
        first = self.held(read.first) if read.pool is None else self._ends(read.first, read.pool)
        if read.cut is not None:
            return self._both(first, self.held(read.cut), read.first, read.cut)
        if read.other is None:
            return first
        other = self.held(read.other)
        if read.again is None or read.other_again is None:
            return _within(first, other.row)
        met = np.union1d(other.row, self.held(read.other_again).row)
        return self._both(_within(first, met), _within(self.held(read.again), other.row), read.first, read.again)

    def _ends(self, key: str, pool: Pool) -> Held:
        """The same of the first or the last token of each span alone."""
        if key in (TOKENS, RECORD):
            held = self.held(key)
            return Held(held.row, held.count, held.count)
        mine = np.flatnonzero(self.set == self.sets.get(key, -1))
        if not len(mine):
            return NOTHING
        start = self.start[mine] if pool == "first" else self.end[mine] - 1
        return self._covered(self.row[mine], np.zeros_like(mine), start, start + 1)[0]

    def _both(self, one: Held, other: Held, key: str, more: str) -> Held:
        """What rows hold under two keys, each token once."""
        if not len(other.row):
            return one
        if key in (TOKENS, RECORD):
            return _sum(one, other)
        chosen = np.zeros(len(self.row), np.bool_)
        for held, name in ((one, key), (other, more)):
            chosen |= (self.set == self.sets[name]) & np.isin(self.row, held.row)
        return self._covered(self.row[chosen], np.zeros_like(self.set[chosen]), self.start[chosen], self.end[chosen])[0]

    def _painted(self, key: str) -> Bools:
        mask = np.zeros(int(self.lengths.sum()), dtype=np.bool_)
        mine = self.set == self.sets.get(key, -1)
        mask[ranges(self.first[self.row[mine]] + self.start[mine], self.end[mine] - self.start[mine])] = True
        return mask

    @cached_property
    def _spans(self) -> dict[int, Held]:
        return self._covered(self.row, self.set, self.start, self.end)

    @cached_property
    def _edges(self) -> dict[int, Held]:
        return self._covered(*_flat(self.chunk.edges)) if self.chunk.edges else {}

    def _covered(self, row: Ints, key: Ints, start: Ints, end: Ints) -> dict[int, Held]:
        """By set, what each row holds of it; a token in several ranges is counted once."""
        if not len(row):
            return {}
        rows, width = len(self.lengths), int(self.lengths.max()) + 1
        order = in_order((key * rows + row) * width + start)
        row, key, start, end = row[order], key[order], start[order], end[order]
        group = key * rows + row
        begin, stop = uncovered(group, start, end)
        white = np.concatenate(([0], np.cumsum(self.blank)))
        begin, stop = begin + self.first[row], stop + self.first[row]
        inside = np.where(end - start == 1, 0, white[stop] - white[begin])
        firsts = np.flatnonzero(changes(group))
        count = np.diff(firsts, append=len(group))
        tokens = np.add.reduceat(stop - begin - inside, firsts)
        by = key[firsts]
        cuts = np.flatnonzero(changes(by)).tolist()
        found: dict[int, Held] = {}
        for one, other in zip(cuts, [*cuts[1:], len(by)], strict=True):
            mine = slice(one, other)
            found[int(by[one])] = Held(row[firsts[mine]], count[mine], tokens[mine])
        return found

    def _tokens(self, mask: Bools) -> Held:
        count = np.bincount(owners(self.lengths)[mask], minlength=len(self.lengths))
        row = np.flatnonzero(count)
        return Held(row, count[row], count[row])

    def _records(self) -> Held:
        whole = self._tokens(self.content & ~self.blank)
        kept = ~np.isin(whole.row, self.held(cut(RECORD)).row)
        return Held(whole.row[kept], np.ones(int(kept.sum()), np.int64), whole.tokens[kept])


def _flat(columns: Sequence[Lists]) -> tuple[Ints, Ints, Ints, Ints]:
    """Row, set, start and end of the entries of span columns; of edge columns those of their queries."""
    numbers, start, end = (lists.used.astype(np.int64) for lists in columns[:3])
    return owners(np.diff(columns[0].offsets)), numbers, start, end


def _within(held: Held, rows: Ints) -> Held:
    kept = np.isin(held.row, rows)
    return Held(held.row[kept], held.count[kept], held.tokens[kept])


def _sum(one: Held, other: Held) -> Held:
    """Both together, of sets that share no token."""
    row, place = np.unique(np.concatenate((one.row, other.row)), return_inverse=True)
    count, tokens = (
        np.bincount(place, np.concatenate(pair), len(row)).astype(np.int64)
        for pair in ((one.count, other.count), (one.tokens, other.tokens))
    )
    return Held(row, count, tokens)
