"""The tokens of whole texts, and where they lie: by the lengths of the tokens, else by the library's offsets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from ..batch import Bools, Ints
from .bytelevel import ByteLengths
from .inklevel import InkLengths
from .lengths import Lengths, Texts, Tokens
from .text import CodePoints

MARK = "▁"
SAMPLES = (
    "The quick brown fox, isn't it?  Two spaces.\tTab\n\nlines 12345 + 67,890 == x_y",
    " leading and trailing ",
    "naïve café 日本語　テスト 😀👩‍👩‍👧 مرحبا\u00a0z e\u0301",
    "MixedCase ÅÉ ß İ\r\nend",
    "",
)
"""Texts on which a tokenizer shows how it works: white space of several kinds, cases, scripts, bytes that no merge joins."""


class WholeTexts:
    """Tokenises texts one by one. `lengths` is None where they do not give what the library gives on sample texts."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        self._blank = np.zeros(max(vocabulary.values(), default=-1) + 1, np.bool_)
        self._blank[[id for name, id in vocabulary.items() if not name.strip(MARK)]] = True
        self.lengths: Lengths | None = next(
            (kind(tokenizer) for kind in (ByteLengths, InkLengths) if kind.fits(tokenizer)), None
        )
        if self.lengths is not None and not self._agrees(self.lengths, vocabulary):
            self.lengths = None

    def tokens(self, given: Texts) -> Tokens:
        """The tokens of every text."""
        rest = np.arange(len(given))
        parts: list[tuple[Ints, Tokens]] = []
        if self.lengths is not None:
            rows, tokens = self._by_lengths(given, self.lengths)
            rest = np.setdiff1d(rest, rows, assume_unique=True)
            parts.append((rows, tokens))
        if len(rest):
            parts.append((rest, self._by_library(given.take(rest))))
        return in_order(parts, len(given))

    def _by_lengths(self, given: Texts, lengths: Lengths) -> tuple[Ints, Tokens]:
        """The texts that lengths place, and their tokens."""
        rows = np.flatnonzero(lengths.promising(given))
        promising = given.take(rows)
        ids, counts = ids_of(self._tokenizer.encode_batch_fast(promising.strings, add_special_tokens=False))
        start, end, sure = lengths.ranges(promising, ids, counts)
        if sure.all():
            return rows, Tokens(ids, start, end, counts)
        kept = np.repeat(sure, counts)
        return rows[sure], Tokens(ids[kept], start[kept], end[kept], counts[sure])

    def _by_library(self, given: Texts) -> Tokens:
        """The tokens of the texts by the library's offsets."""
        encodings = self._tokenizer.encode_batch(given.strings, add_special_tokens=False)
        ids, counts = ids_of(encodings)
        pairs = chain.from_iterable(encoding.offsets for encoding in encodings)
        chars = np.fromiter(chain.from_iterable(pairs), np.int64, 2 * len(ids)).reshape(-1, 2)
        origin = np.repeat(given.begin, counts)
        points = CodePoints(given.buffer)
        start, end = points.byte_of_char(origin, chars[:, 0]), points.byte_of_char(origin, chars[:, 1])
        start, end = _ordered(start, end, origin, self._blank[ids])
        return Tokens(ids, *_apart(*given.trimmer.trim(start, end)), counts)

    def _agrees(self, lengths: Lengths, vocabulary: dict[str, int]) -> bool:
        """Whether lengths give what the library gives on sample texts, one of them of words that the tokenizer knows."""
        names = (name.strip(MARK) for name, _ in sorted(vocabulary.items(), key=itemgetter(1)))
        words = " ".join([name for name in names if name.isascii() and name.isalnum()][-100:])
        given = Texts.of(pa.array([*SAMPLES, words], pa.string()))
        rows, fast = self._by_lengths(given, lengths)
        slow = self._by_library(given.take(rows))
        if not len(fast.ids) or not np.array_equal(fast.ids, slow.ids):
            return False
        points = CodePoints(given.buffer)
        (start, end), (slow_start, slow_end) = points.widen(fast.start, fast.end), points.widen(slow.start, slow.end)
        empty = (start == end) & (slow_start == slow_end)
        return bool((empty | ((start == slow_start) & (end == slow_end))).all())


def ids_of(encodings: Sequence[Any]) -> tuple[Ints, Ints]:
    """The ids of all texts, one after another, and the number of each."""
    lists = [encoding.ids for encoding in encodings]
    counts = np.fromiter(map(len, lists), np.int64, len(lists))
    return np.fromiter(chain.from_iterable(lists), np.int64, int(counts.sum())), counts


def in_order(parts: Sequence[tuple[Ints, Tokens]], texts: int) -> Tokens:
    """The tokens of `texts` texts in their order; every part has those of some, and a text in no part has none."""
    parts = [part for part in parts if len(part[0])]
    if len(parts) == 1 and len(parts[0][0]) == texts:
        return parts[0][1]
    counts = np.zeros(texts, np.int64)
    for rows, part in parts:
        counts[rows] = part.counts
    first = np.cumsum(counts) - counts
    ids, start, end = np.empty((3, int(counts.sum())), np.int64)
    for rows, part in parts:
        at = np.repeat(first[rows] - (np.cumsum(part.counts) - part.counts), part.counts) + np.arange(len(part.ids))
        ids[at], start[at], end[at] = part.ids, part.start, part.end
    return Tokens(ids, start, end, counts)


def _ordered(start: Ints, end: Ints, origin: Ints, blank: Bools) -> tuple[Ints, Ints]:
    """Ranges with starts and ends non-decreasing. A `blank` token (a mark that stands for a space, to which libraries may give
    the character after it) becomes empty, at the end of what is before it."""
    end = np.maximum.accumulate(np.where(blank, origin, np.maximum(start, end)))
    start = np.maximum.accumulate(np.where(blank, end, start))
    return start, end


def _apart(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Ranges such that no two are equal, where several tokens share the bytes of one character: they divide it evenly."""
    equal = (start[1:] == start[:-1]) & (end[1:] == end[:-1]) & (start[1:] < end[1:])
    if not equal.any():
        return start, end
    run = np.cumsum(np.append(True, ~equal)) - 1
    share = np.bincount(run)[run]
    rank = np.arange(len(run)) - np.flatnonzero(np.append(True, ~equal))[run]
    length = end - start
    first = start + rank * length // share
    last = np.maximum(start + (rank + 1) * length // share, np.minimum(first + 1, end))
    return np.maximum.accumulate(first), last
