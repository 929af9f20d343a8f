"""`phrases(...)`: literal phrases, by the thousand, over many sets at once.

All sets of a program with the same options share one Aho-Corasick automaton, which goes over each text once and reports every
occurrence, overlapping ones too. What a set keeps of them is decided afterwards by array operations: whole words where the
set asks for them, then the leftmost and of these the longest, without overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from ahocorasick_rs import BytesAhoCorasick

from ...dsl import checked
from ..batch import Ints, Spans, TextBatch
from ..ragged import offsets, ranges
from .base import Context
from .letters import fold, words

STRETCH = 1 << 16
"""Bytes of whole records that one call of the automaton reads, at least. A call costs about a microsecond."""


def phrases(node: checked.Phrases, context: Context) -> Spans:
    """The occurrences of a set's phrases."""
    return context.select(*context.phrases(node))


@dataclass(frozen=True, eq=False)
class Matches:
    """What the sets of one automaton found in a batch, sorted by (set, start): `offsets[sets + 1]` cuts them by set."""

    offsets: Ints
    record: Ints
    start: Ints
    end: Ints

    def of(self, number: int) -> tuple[Ints, Ints, Ints]:
        cut = slice(self.offsets[number], self.offsets[number + 1])
        return self.record[cut], self.start[cut], self.end[cut]


class PhraseIndex:
    """One automaton over the phrases of several sets that read the text alike.

    For whole words, text and phrases have the first letter of each word *marked* by its high bit, so that the automaton finds
    a phrase nowhere but at the beginning of a word: without that, most of what it reports for `a` or `is` lies within words.
    A marked letter can look like a byte of another character; the first and the last byte of what was found tell.
    """

    def __init__(self, sets: Sequence[checked.Phrases]) -> None:
        self._sets = len(sets)
        self._fold, self._words = sets[0].ignore_case, sets[0].words
        owners: dict[bytes, list[int]] = {}
        for number, node in enumerate(sets):
            for phrase in dict.fromkeys(map(self._folded, node.phrases)):
                if phrase:
                    owners.setdefault(phrase, []).append(number)
        self._first, self._last = (np.array([phrase[at] for phrase in owners], np.uint8) for at in (0, -1))
        self._owners = np.fromiter(chain.from_iterable(owners.values()), np.int64)
        self._owner_offsets = offsets(np.fromiter(map(len, owners.values()), np.int64, len(owners)))
        self._automaton = BytesAhoCorasick(self._marked(list(owners)))

    def _folded(self, phrase: str) -> bytes:
        encoded = phrase.encode()
        return fold(np.frombuffer(encoded, np.uint8)).tobytes() if self._fold else encoded

    def _marked(self, phrases: list[bytes]) -> list[bytes]:
        if not self._words:
            return phrases
        ends = offsets(np.fromiter(map(len, phrases), np.int64, len(phrases)))
        marked = words(np.frombuffer(b"".join(phrases), np.uint8), ends).marked.tobytes()
        return [marked[start:stop] for start, stop in pairwise(ends.tolist())]

    def find(self, batch: TextBatch) -> Matches:
        """Every match of every set, in one pass over the texts."""
        pattern, record, start, end = self._occurrences(batch)
        counts = np.diff(self._owner_offsets)[pattern]
        owner = self._owners[ranges(self._owner_offsets[pattern], counts)]
        row = np.repeat(np.arange(len(pattern)), counts)
        order = np.lexsort((-end[row], start[row], owner))
        owner, row = owner[order], row[order]
        chosen = _leftmost_longest(owner, start[row], end[row])
        owner, row = owner[chosen], row[chosen]
        return Matches(np.searchsorted(owner, np.arange(self._sets + 1)), record[row], start[row], end[row])

    def _occurrences(self, batch: TextBatch) -> tuple[Ints, Ints, Ints, Ints]:
        """Phrase, record, start and end of every occurrence within one record, of whole words where those are asked for."""
        text = fold(batch.buffer) if self._fold else batch.buffer
        found = words(text, batch.bounds) if self._words else None
        view = np.ascontiguousarray(found.marked if found else text).data
        search = self._automaton.find_matches_as_indexes
        parts = [np.zeros((0, 3), np.int64)]
        for first, last in _stretches(batch.bounds):
            matches = search(view[first:last], overlapping=True)
            part = np.fromiter(chain.from_iterable(matches), np.int64, 3 * len(matches)).reshape(-1, 3)
            part[:, 1:] += first
            if found:
                pattern, start, end = part.T
                real = (text[start] == self._first[pattern]) & (text[end - 1] == self._last[pattern])
                part = part[real & ~found.inside[start] & ~found.inside[end]]
            parts.append(part)
        pattern, start, end = np.concatenate(parts).T
        record = np.searchsorted(batch.bounds, start, side="right") - 1
        whole = end <= batch.bounds[record + 1]
        return pattern[whole], record[whole], start[whole], end[whole]


def _stretches(bounds: Ints) -> Iterator[tuple[int, int]]:
    """Runs of whole records of about STRETCH bytes."""
    first, stop = int(bounds[0]), int(bounds[-1])
    while first < stop:
        last = int(bounds[min(int(np.searchsorted(bounds, first + STRETCH)), len(bounds) - 1)])
        yield first, last
        first = last


def _leftmost_longest(owner: Ints, start: Ints, end: Ints) -> Ints:
    """Rows of the matches that stay: from the left, the longest at each place, none that overlaps the one before.

    Sorted by (owner, start, -end). Most matches touch no other, so that the walk is over the few knots of those that do.
    """
    if not len(owner):
        return np.zeros(0, np.int64)
    apart = int(end.max()) + 1
    base = owner * apart
    reach = np.maximum.accumulate(base + end)
    head = np.concatenate([[True], base[1:] + start[1:] >= reach[:-1]])
    chosen = head & np.append(head[1:], True)
    knotted = np.flatnonzero(~chosen)
    free = -1
    for row, begin, stop in zip(
        knotted.tolist(), (base + start)[knotted].tolist(), (base + end)[knotted].tolist(), strict=True
    ):
        if begin >= free:
            chosen[row] = True
            free = stop
    return np.flatnonzero(chosen)
