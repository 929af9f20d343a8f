"""The tokens of texts by those of their chunks (`cuts.py`), of which every distinct one is tokenised once.

Texts repeat their chunks, so that most are known from those before. New ones are tokenised many at a time, joined to texts of
their own: a place between two of them is a cut there as well. Which tokens are whose follows from the lengths of the tokens;
where these do not add up, a chunk is tokenised alone. A chunk that lengths cannot place even then, or that holds an added
token, sends the texts that it stands in to the library, whole.

What is kept from one batch to the next is bounded, and changes no result.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import compress, pairwise, product, repeat

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from ..batch import Bools, Ints
from ..ragged import changes, offsets, ranges
from .cuts import Cuts, cuts
from .lengths import Lengths, Texts, Tokens
from .text import strings
from .whole import SAMPLES, WholeTexts, ids_of, in_order

KEPT = 1 << 17
"""Chunks, and eight times as many tokens, that are kept from one batch to the next. When there are more, those of the last
batch stay."""
LONGEST = 48
"""Bytes of a chunk that is kept, at most: longer ones hardly come again."""
GROUP = 1 << 10
"""Bytes of new chunks that are tokenised as one text."""
USEFUL, IDLE = 0.25, 7
"""Of a batch of which known chunks give a smaller share, as where no spaces are, or none of what a vocabulary has, chunks are
not worth their cost: then so many batches are left to the library."""
LEAD = " a"
"""A chunk put before another that cannot begin a text, or follow any other."""


@dataclass(frozen=True, eq=False)
class _Table:
    """Tokens of chunks. Per chunk: `placed[n]`, whether its tokens are known; `first[n]` and `counts[n]`, its range of tokens.
    Per token: `ids`, and its byte range in the chunk, without outer white space."""

    placed: Bools
    first: Ints
    counts: Ints
    ids: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.placed)

    def then(self, other: _Table) -> _Table:
        """These chunks, and those of another table after them."""
        return _Table(
            np.concatenate((self.placed, other.placed)),
            np.concatenate((self.first, other.first + len(self.ids))),
            np.concatenate((self.counts, other.counts)),
            np.concatenate((self.ids, other.ids)),
            np.concatenate((self.start, other.start)),
            np.concatenate((self.end, other.end)),
        )

    def take(self, rows: Ints) -> _Table:
        """Some of the chunks, in that order."""
        counts = self.counts[rows]
        at = ranges(self.first[rows], counts)
        return _Table(self.placed[rows], offsets(counts)[:-1], counts, self.ids[at], self.start[at], self.end[at])


def _none() -> _Table:
    ints, small = np.zeros(0, np.int64), np.zeros(0, np.int32)
    return _Table(np.zeros(0, np.bool_), ints, ints, small, small, small)


class Chunks:
    """Tokenises texts by their chunks, and keeps those of chunks from one batch to the next."""

    def __init__(self, tokenizer: Tokenizer, cuts: Cuts, lengths: Lengths) -> None:
        self._tokenizer, self._cuts, self._lengths = tokenizer, cuts, lengths
        self._added = np.zeros(len(lengths.table), np.bool_)
        self._added[list(tokenizer.get_added_tokens_decoder())] = True
        self._lead = int(lengths.sizes(Texts.of(pa.array([LEAD], pa.string())))[0])
        self._codes: dict[str, int] = {}
        self._table = _none()
        self._idle = 0

    def tokens(self, given: Texts) -> tuple[Ints, Tokens]:
        """The texts all of whose chunks have a place, and their tokens. The texts tile their buffer."""
        if self._idle:
            self._idle -= 1
            none = np.zeros(0, np.int64)
            return none, Tokens(none, none, none, none)
        places = self._cuts.places(given.buffer, given.begin, given.stop)
        coded = strings(given.buffer, places).dictionary_encode()
        codes, table, fresh = self._known(coded.dictionary)
        chunk = codes[coded.indices.to_numpy()]
        first, last = np.searchsorted(places, given.begin), np.searchsorted(places, given.stop)
        counts = table.counts[chunk]
        before = offsets(counts)
        of_text = before[last] - before[first]
        origin = places[:-1]
        chosen = self._placed(given, offsets(~table.placed[chunk]), first, last)
        given_by_known = int((given.stop - given.begin)[chosen].sum()) - fresh
        self._idle = IDLE if given_by_known < USEFUL * len(given.buffer) else 0
        if not chosen.all():
            kept = np.repeat(chosen, last - first)
            chunk, counts, origin = chunk[kept], counts[kept], origin[kept]
        at = ranges(table.first[chunk], counts)
        origin = np.repeat(origin, counts)
        found = Tokens(
            table.ids[at].astype(np.int64), table.start[at] + origin, table.end[at] + origin, of_text[chosen]
        )
        return np.flatnonzero(chosen), found

    def _placed(self, given: Texts, lost: Ints, first: Ints, last: Ints) -> Bools:
        """The texts whose chunks give their tokens; `lost[k]`, of how many of the first k chunks no place is known."""
        placed: Bools = lost[last] == lost[first]
        if not self._cuts.spaced:
            placed &= np.append(given.buffer, np.uint8(0))[given.begin] != 0x20
        return placed

    def _known(self, chunks: pa.StringArray) -> tuple[Ints, _Table, int]:
        """The places of distinct chunks in a table, the table, and how many bytes of chunks are new, which are tokenised."""
        names: list[str] = chunks.to_pylist()
        codes = np.fromiter(map(self._codes.get, names, repeat(-1)), np.int64, len(names))
        fresh = np.flatnonzero(codes < 0)
        if not len(fresh):
            return codes, self._table, 0
        new = Texts.of(chunks.take(pa.array(fresh)))
        made = self._tokenized(new)
        codes[fresh] = len(self._table) + np.arange(len(fresh))
        table = self._table.then(made)
        short = np.fromiter(map(len, names), np.int64, len(names)) <= LONGEST
        if len(table) > KEPT or len(table.ids) > 8 * KEPT:
            self._table = table.take(codes[short])
            self._codes = {name: code for code, name in enumerate(compress(names, short.tolist()))}
        else:
            kept = fresh[short[fresh]]
            self._codes.update(
                zip([names[row] for row in kept.tolist()], range(len(self._table), len(table)), strict=False)
            )
            self._table = (
                table if len(kept) == len(fresh) else self._table.then(made.take(codes[kept] - len(self._table)))
            )
        return codes, table, len(new.buffer)

    def _tokenized(self, chunks: Texts) -> _Table:
        """The tokens of distinct chunks."""
        rows = np.flatnonzero(self._lengths.promising(chunks))
        sure, found = self._in_groups(chunks.take(rows))
        again = rows[~sure]
        alone, rest = self._in_groups(chunks.take(again), alone=True)
        parts = [(rows[sure], found), (again[alone], rest)]
        tokens = in_order(parts, len(chunks))
        placed = np.zeros(len(chunks), np.bool_)
        placed[rows[sure]] = placed[again[alone]] = True
        owner = np.repeat(np.arange(len(chunks)), tokens.counts)
        origin = chunks.begin[owner]
        start, end = (tokens.start - origin).astype(np.int32), (tokens.end - origin).astype(np.int32)
        return _Table(placed, offsets(tokens.counts)[:-1], tokens.counts, tokens.ids.astype(np.int32), start, end)

    def _by_lengths(self, chunks: Texts, ids: Ints, counts: Ints) -> tuple[Bools, Tokens]:
        """Which chunks have tokens that take them up as a whole, and the tokens of those."""
        start, end, sure = self._lengths.ranges(chunks, ids, counts)
        kept = np.repeat(sure, counts)
        return sure, Tokens(ids[kept], start[kept], end[kept], counts[sure])

    def _in_groups(self, chunks: Texts, alone: bool = False) -> tuple[Bools, Tokens]:
        """The same, of chunks that are tokenised many at a time, or alone. Of a group whose tokens do not add up none is sure,
        nor of one with an added token, around which the library takes a text for several."""
        spaced, attached = self._cuts.follow(chunks.buffer, chunks.begin, chunks.stop)
        begins = alone | changes(chunks.begin // GROUP) | ~(spaced | attached)
        begins[1:] |= ~self._cuts.closed(chunks.buffer, chunks.stop)[:-1]
        led = np.where(begins, spaced & (not self._cuts.spaced), attached)
        first = np.append(np.flatnonzero(begins), len(begins))
        texts = [LEAD + text if lead else text for text, lead in zip(chunks.strings, led.tolist(), strict=True)]
        joined = ["".join(texts[start:stop]) for start, stop in pairwise(first.tolist())]
        ids, counts = ids_of(self._tokenizer.encode_batch_fast(joined, add_special_tokens=False))
        sizes = np.stack((np.where(led, self._lead, 0), self._lengths.sizes(chunks)), axis=1)
        group = np.cumsum(begins) - 1
        wanted = np.bincount(group, sizes.sum(axis=1), len(counts)).astype(np.int64)
        ends = offsets(counts)
        whole = np.diff(offsets(self._lengths.table[ids])[ends]) == wanted
        whole &= np.diff(offsets(self._added[ids].astype(np.int64))[ends]) == 0
        sure = whole[group]
        ids, counts = ids[np.repeat(whole, counts)], counts[whole]
        first, last = self._shares(ids, offsets(counts), sizes[sure], begins[sure])
        mine, found = self._by_lengths(
            chunks.take(np.flatnonzero(sure)), ids[ranges(first, last - first)], last - first
        )
        sure[sure] = mine
        return sure, found

    def _shares(self, ids: Ints, groups: Ints, sizes: Ints, begins: Bools) -> tuple[Ints, Ints]:
        """The range of tokens of each chunk; `sizes[n, 2]`, of what leads it and of itself; the tokens of the groups, which begin
        with chunks that `begins` says, begin at `groups`. A token without length belongs to what comes after it in its group."""
        at = np.searchsorted(offsets(self._lengths.table[ids])[:-1], offsets(sizes.ravel()))
        head = np.flatnonzero(begins)
        at[2 * head] = groups[:-1]
        bare = sizes[head, 0] == 0
        at[2 * head[bare] + 1] = groups[:-1][bare]
        at[-1] = len(ids)
        return at[1::2], at[2::2]


def chunks_of(tokenizer: Tokenizer, whole: WholeTexts) -> Chunks | None:
    """What tokenises by chunks, where a tokenizer is known to have cuts, and gives the same tokens on sample texts."""
    found = cuts(tokenizer)
    if found is None or whole.lengths is None:
        return None
    made = Chunks(tokenizer, found, whole.lengths)
    pieces = ("a", "'", "1", ".", " ", "  ", "\n", "\t", "é", "\u00a0", "_", "Z", "s")
    texts = [*SAMPLES, *map("".join, product(pieces, repeat=3))]
    given = Texts.of(pa.array(texts, pa.string()))
    rows, tokens = made.tokens(given)
    same = whole.tokens(given.take(rows))
    agrees = all(np.array_equal(getattr(tokens, each.name), getattr(same, each.name)) for each in fields(Tokens))
    return Chunks(tokenizer, found, whole.lengths) if agrees else None
