"""Byte ranges -> tokens, and tokens -> parts, of one batch. Every operation takes arrays of ranges at once."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..batch import Bools, Spans, TokenTable
from ..ragged import Ints, offsets, ranges
from .parts import Parts


class Locator:
    """The tokens of a batch and the parts they are laid out in."""

    def __init__(self, tokens: TokenTable, parts: Parts) -> None:
        self.tokens = tokens
        self.parts = parts

    def find(self, spans: Spans) -> tuple[Ints, Ints, Ints]:
        """First token, end token and number of ragged edges of each span; the end is not after the first where it has none.

        A token belongs to a span that shares a byte with it: both begin and end without white space, so the first byte
        they share is none.
        """
        is_token = spans.token >= 0
        if is_token.all():
            return spans.token, spans.token + 1, np.zeros_like(spans.token)
        first = self._following[np.searchsorted(self.tokens.end, spans.start, side="right")]
        end = self._preceding[np.searchsorted(self.tokens.start, spans.end, side="left")]
        inside = (end > first) & ~is_token
        ragged = np.zeros(len(spans), dtype=np.int64)
        ragged[inside] += self.tokens.start[first[inside]] < spans.start[inside]
        ragged[inside] += self.tokens.end[end[inside] - 1] > spans.end[inside]
        return np.where(is_token, spans.token, first), np.where(is_token, spans.token + 1, end), ragged

    def content(self, record: Ints, token: Ints) -> Ints:
        """The content place of each token."""
        return token - self._base[record]

    def trim(self, record: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Content ranges without tokens of white space at either end; the end is not after the start where none is left."""
        base = self._base[record]
        return self._following[base + start] - base, self._preceding[base + end] - base

    def inked(self, row: Ints, start: Ints, end: Ints) -> Ints:
        """How many tokens of each range of positions in a part are no white space."""
        begin = self.token_offsets[row]
        inked: Ints = end - start - (self._blanks_before[begin + end] - self._blanks_before[begin + start])
        return inked

    def blank_runs(self) -> tuple[Ints, Ints, Ints]:
        """Runs of white space in the parts' own tokens: part, and range of positions in it."""
        blank = np.diff(self._blanks_before)
        edge = np.zeros(len(blank) + 1, dtype=np.bool_)
        edge[self.token_offsets] = True
        before, after = np.concatenate(([0], blank[:-1])), np.append(blank[1:], 0)
        start = np.flatnonzero((blank == 1) & ((before == 0) | edge[:-1]))
        end = np.flatnonzero((blank == 1) & ((after == 0) | edge[1:])) + 1
        row = np.searchsorted(self.token_offsets, start, side="right") - 1
        return row, start - self.token_offsets[row], end - self.token_offsets[row]

    @cached_property
    def laid(self) -> Ints:
        """The rows of the TokenTable that the parts hold, one part after another: added tokens, content, added tokens."""
        starts, lengths = self._pieces
        return ranges(starts.ravel(), lengths.ravel())

    @cached_property
    def token_offsets(self) -> Ints:
        """Where each part begins in `laid`: int64[P + 1]."""
        return offsets(self._pieces[1].sum(axis=1))

    @cached_property
    def _pieces(self) -> tuple[Ints, Ints]:
        parts, record = self.parts, self.parts.record
        prefix, suffix = parts.prefix[record], parts.suffix[record]
        starts = (
            self.tokens.offsets[record],
            self._base[record] + parts.begin,
            self.tokens.offsets[record + 1] - suffix,
        )
        return np.stack(starts, axis=1), np.stack((prefix, parts.end - parts.begin, suffix), axis=1)

    @cached_property
    def _base(self) -> Ints:
        """The row of the TokenTable where each record's content begins."""
        return self.tokens.offsets[:-1] + self.parts.prefix

    @cached_property
    def _full(self) -> Bools:
        return self.tokens.end > self.tokens.start

    @cached_property
    def _following(self) -> Ints:
        """The first token with text at or after each token."""
        n = len(self._full)
        return np.append(np.minimum.accumulate(np.where(self._full, np.arange(n), n)[::-1])[::-1], n)

    @cached_property
    def _preceding(self) -> Ints:
        """The end of the last token with text before each token."""
        places = np.arange(1, len(self._full) + 1)
        return np.concatenate(([0], np.maximum.accumulate(np.where(self._full, places, 0))))

    @cached_property
    def _blanks_before(self) -> Ints:
        """How many tokens of white space stand before each token of `laid`."""
        blank = ~self._full & ~self.tokens.added
        return offsets(blank[self.laid].astype(np.int64))
