"""Rendered texts -> the token table of a batch.

Where the tokens lie follows, for most tokenizers and texts, from the lengths of the tokens alone (`lengths.py`). That is taken
only where they add up to the length of the text, and only if the tokenizer agreed with the library on sample texts when it
was opened. All else has its places from the library's offsets, which cost a quarter more time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, models

from ...dsl.codes.sources import BAD_TOKENIZER
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..batch import Bools, Ints, TokenTable
from ..plan import Digest
from ..sources.base import shorten
from .bytelevel import ByteLengths
from .inklevel import InkLengths
from .lengths import Lengths, Texts
from .text import CodePoints

_MARK = "▁"
_SAMPLES = (
    "The quick brown fox, isn't it?  Two spaces.\tTab\n\nlines 12345 + 67,890 == x_y",
    " leading and trailing ",
    "naïve café 日本語　テスト 😀👩‍👩‍👧 مرحبا\u00a0z e\u0301",
    "MixedCase ÅÉ ß İ\r\nend",
    "",
)
"""Texts on which a tokenizer shows how it works: white space of several kinds, cases, scripts, bytes that no merge joins."""


@dataclass(frozen=True, eq=False)
class _Tokens:
    """Tokens of texts without those that the post-processor adds: ids, byte ranges without outer white space, and the number of
    tokens of each text."""

    ids: Ints
    start: Ints
    end: Ints
    counts: Ints


class Encoder:
    """A tokenizer as its file defines it, but for truncation, padding and dropout. `digest` is the file's, `size` one more than
    the largest token id; `prefix` and `suffix` are the ids that the post-processor puts before and after every text.

    Raises `Failure` where the file cannot be read, is no tokenizer, or is one that adds tokens in another way. `shown` is how
    messages name the file.
    """

    def __init__(self, file: Path, shown: str | None = None) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tasks are what runs in parallel
        shown = shown or file.name
        self._tokenizer, self.digest = _load(file, shown)
        self.prefix, self.suffix = _edges(self._tokenizer, shown)
        vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.size: int = max(vocabulary.values(), default=-1) + 1
        self._blank = np.zeros(self.size, np.bool_)
        self._blank[[id for name, id in vocabulary.items() if not name.strip(_MARK)]] = True
        self._lengths: Lengths | None = next(
            (kind(self._tokenizer) for kind in (ByteLengths, InkLengths) if kind.fits(self._tokenizer)), None
        )
        if self._lengths is not None and not self._agrees(self._lengths, vocabulary):
            self._lengths = None

    @property
    def fast(self) -> bool:
        """Whether byte ranges come from lengths, where these add up."""
        return self._lengths is not None

    def single(self, texts: Sequence[str]) -> Ints:
        """For each text the id of the token that it is, -1 where it is none, several, or one that the tokenizer does not know."""
        found = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        single = (
            ids[0] if len(ids) == 1 and self._names(ids[0], text) else -1
            for ids, text in zip(found, texts, strict=True)
        )
        return np.fromiter(single, np.int64, len(found))

    def _names(self, id: int, text: str) -> bool:
        """Whether a token is `text`, and not the one that stands for every text that is unknown."""
        return id != self._unknown or self._tokenizer.id_to_token(id) == text

    @cached_property
    def _unknown(self) -> int | None:
        """The id of the token that stands for what the vocabulary does not have."""
        model = json.loads(self._tokenizer.to_str())["model"]
        return self._tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else model.get("unk_id")

    def token_id(self, name: str) -> int | None:
        """The id of the entry `name` of the vocabulary, added ones included."""
        found: int | None = self._tokenizer.token_to_id(name)
        return found

    @cached_property
    def special(self) -> Bools:
        """Per id, whether it is a special token, which a tokenizer finds in a text before all else."""
        found = np.zeros(self.size, np.bool_)
        found[[id for id, token in self._tokenizer.get_added_tokens_decoder().items() if token.special]] = True
        return found

    def encode(self, texts: pa.StringArray, bare: bool = False) -> TokenTable:
        """The tokens of `texts` (without nulls); positions are bytes in the buffer that holds all of them. `bare`: without those
        that the post-processor adds, as of a text that a chat template gave its own."""
        given = Texts(texts)
        rest = np.arange(len(given.strings))
        parts: list[tuple[Ints, _Tokens]] = []
        if self._lengths is not None:
            rows, tokens = self._by_lengths(given, self._lengths)
            rest = np.setdiff1d(rest, rows, assume_unique=True)
            parts.append((rows, tokens))
        if len(rest):
            parts.append((rest, self._by_library(given, rest)))
        tokens = _joined(parts, len(given.strings))
        return self._table(tokens, given.bounds, *(((), ()) if bare else (self.prefix, self.suffix)))

    def _by_lengths(self, given: Texts, lengths: Lengths) -> tuple[Ints, _Tokens]:
        """The texts that lengths place, and their tokens."""
        rows = np.flatnonzero(lengths.promising(given))
        strings = given.strings if len(rows) == len(given.strings) else [given.strings[row] for row in rows]
        ids, counts = _ids(self._tokenizer.encode_batch_fast(strings, add_special_tokens=False))
        start, end, sure = lengths.ranges(given, rows, ids, counts)
        if sure.all():
            return rows, _Tokens(ids, start, end, counts)
        kept = np.repeat(sure, counts)
        return rows[sure], _Tokens(ids[kept], start[kept], end[kept], counts[sure])

    def _by_library(self, given: Texts, rows: Ints) -> _Tokens:
        """The tokens of the texts `rows`, by the library's offsets."""
        encodings = self._tokenizer.encode_batch([given.strings[row] for row in rows], add_special_tokens=False)
        ids, counts = _ids(encodings)
        pairs = chain.from_iterable(encoding.offsets for encoding in encodings)
        chars = np.fromiter(chain.from_iterable(pairs), np.int64, 2 * len(ids)).reshape(-1, 2)
        origin = np.repeat(given.begin[rows], counts)
        points = CodePoints(given.buffer)
        start, end = points.byte_of_char(origin, chars[:, 0]), points.byte_of_char(origin, chars[:, 1])
        start, end = _ordered(start, end, origin, self._blank[ids])
        return _Tokens(ids, *_apart(*given.trimmer.trim(start, end)), counts)

    def _agrees(self, lengths: Lengths, vocabulary: dict[str, int]) -> bool:
        """Whether lengths give what the library gives on sample texts, one of them of words that the tokenizer knows."""
        names = (name.strip(_MARK) for name, _ in sorted(vocabulary.items(), key=itemgetter(1)))
        words = " ".join([name for name in names if name.isascii() and name.isalnum()][-100:])
        given = Texts(pa.array([*_SAMPLES, words], pa.string()))
        rows, fast = self._by_lengths(given, lengths)
        slow = self._by_library(given, rows)
        if not len(fast.ids) or not np.array_equal(fast.ids, slow.ids):
            return False
        points = CodePoints(given.buffer)
        (start, end), (slow_start, slow_end) = points.widen(fast.start, fast.end), points.widen(slow.start, slow.end)
        empty = (start == end) & (slow_start == slow_end)
        return bool((empty | ((start == slow_start) & (end == slow_end))).all())

    @staticmethod
    def _table(tokens: _Tokens, bounds: Ints, prefix: tuple[int, ...], suffix: tuple[int, ...]) -> TokenTable:
        """The tokens with `prefix` and `suffix` before and after those of every text."""
        texts = len(tokens.counts)
        before, after = len(prefix), len(suffix)
        counts = tokens.counts + before + after
        offsets = np.concatenate([[0], np.cumsum(counts)])
        record = np.repeat(np.arange(texts), counts)
        if not before + after:
            return TokenTable(tokens.ids, tokens.start, tokens.end, record, offsets, np.zeros(len(record), np.bool_))
        rank = np.arange(len(record)) - offsets[record]
        head, tail = rank < before, rank >= (counts - after)[record]
        added = head | tail
        edge = np.where(head, bounds[record], bounds[record + 1])
        ids, start, end = np.empty_like(record), edge, edge.copy()
        ids[head], ids[tail] = np.tile(prefix, texts), np.tile(suffix, texts)
        ids[~added], start[~added], end[~added] = tokens.ids, tokens.start, tokens.end
        return TokenTable(ids, start, end, record, offsets, added)


def _ids(encodings: Sequence[Any]) -> tuple[Ints, Ints]:
    """The ids of all texts, one after another, and the number of each."""
    lists = [encoding.ids for encoding in encodings]
    counts = np.fromiter(map(len, lists), np.int64, len(lists))
    return np.fromiter(chain.from_iterable(lists), np.int64, int(counts.sum())), counts


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


def _joined(parts: Sequence[tuple[Ints, _Tokens]], texts: int) -> _Tokens:
    """The tokens of all texts in their order; every part has those of some."""
    if len(parts) == 1:
        return parts[0][1]
    counts = np.zeros(texts, np.int64)
    for rows, part in parts:
        counts[rows] = part.counts
    first = np.cumsum(counts) - counts
    ids, start, end = np.empty((3, int(counts.sum())), np.int64)
    for rows, part in parts:
        at = np.repeat(first[rows] - (np.cumsum(part.counts) - part.counts), part.counts) + np.arange(len(part.ids))
        ids[at], start[at], end[at] = part.ids, part.start, part.end
    return _Tokens(ids, start, end, counts)


def _load(file: Path, shown: str) -> tuple[Tokenizer, Digest]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _failure(shown, f"cannot be read: {error.strerror}") from error
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing narrower
        raise _failure(shown, f"is no tokenizer: {shorten(error)}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None  # which would cut the same text differently every time
    return tokenizer, hashlib.sha256(content).hexdigest()[:32]


def _edges(tokenizer: Tokenizer, shown: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids before and after every text."""
    found = {_edges_of(tokenizer, text, shown) for text in _SAMPLES[:2]}
    if len(found) > 1:
        raise _failure(shown, "puts other tokens around some texts than around others, which is not supported")
    return found.pop()


def _edges_of(tokenizer: Tokenizer, text: str, shown: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    bare = tokenizer.encode(text, add_special_tokens=False).ids
    whole = tokenizer.encode(text, add_special_tokens=True)
    marks = whole.special_tokens_mask
    before = next((i for i, mark in enumerate(marks) if not mark), len(marks))
    after = len(whole.ids) - before - len(bare)
    if whole.ids[before : before + len(bare)] != bare or after < 0:
        raise _failure(shown, "adds tokens within a text, which is not supported")
    return tuple(whole.ids[:before]), tuple(whole.ids[before + len(bare) :])


def _failure(shown: str, fact: str) -> Failure:
    return Failure(BAD_TOKENIZER.at(DataPlace(shown), f"tokenizer `{shown}` {fact}"))
