"""Spans of bytes -> ranges of tokens, in the parts that the context cuts a text into.

Takes a batch with its tokens before any cut, and the spans and edges that were found in it. Establishes what shards hold:
every part has at most `context` tokens; a stored range lies inside its part, begins and ends with a token that is no white
space (unless the span is that token), and acts in one part, the first in which it is whole; an edge in the first in which
both its spans are. What is lost on the way is counted, by set and record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..batch import Bools, Edges, Spans, TextBatch
from ..counted import Counted
from ..manifest import Cause
from ..plan import Digest
from ..ragged import Ints, in_order, join, owners, ranges, uncovered
from ..recipe import Recipe
from ..sets import BLANK, COUNTED, RECORD, REPEAT, TOKENS, again, cut, set_keys
from .fields import attribute_columns
from .locate import Locator
from .parts import Parts, cut_records

EdgeSet = tuple[Spans, Spans, Edges]


@dataclass(frozen=True, eq=False)
class Ranges:
    """Token ranges of parts, sorted by part and set: `row[n]`, the part; `set[n]`, place in `Aligned.keys`; `[start, end)`.

    `origin[n]`: place of the span among the spans of all stored sets, in the order of their digests; -1 for reserved sets.
    """

    row: Ints
    set: Ints
    start: Ints
    end: Ints
    origin: Ints


@dataclass(frozen=True, eq=False)
class Pairs:
    """Edges of parts, sorted by part and set. `weight[n]`: float32, 1 where no link gives one."""

    row: Ints
    set: Ints
    query_start: Ints
    query_end: Ints
    key_start: Ints
    key_end: Ints
    weight: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Aligned:
    """A batch as shards hold it, one row per part. `keys` is what the numbers in `spans.set` and `edges.set` stand for.

    `input_ids[N]` with `token_offsets[P + 1]`; `attributes`: per stored attribute an Arrow array along `spans`, null where the
    span or its set has none; `dropped[records]`: records without a row, since they are too long or have no token.
    """

    keys: tuple[str, ...]
    parts: Parts
    token_offsets: Ints
    input_ids: npt.NDArray[np.int32]
    spans: Ranges
    attributes: dict[str, pa.Array]
    edges: Pairs
    dropped: Bools
    counts: Counted

    @property
    def rows(self) -> int:
        return len(self.parts.record)


def align(batch: TextBatch, recipe: Recipe, spans: Mapping[Digest, Spans], edges: Mapping[Digest, EdgeSet]) -> Aligned:
    """The rows of a batch. `spans` and `edges` hold every set that the recipe stores.

    Raises Failure for a text that is too long where `overflow` is `error`, and for an attribute of the wrong type.
    """
    keys = set_keys(recipe)
    parts = cut_records(batch, recipe.model)
    locator = Locator(batch.tokens, parts)
    counts = Counted((*keys, *COUNTED), batch.records)
    aligner = _Aligner(locator, parts, {key: place for place, key in enumerate(counts.names)}, counts)
    aligner.count_unstored()
    placed = aligner.spans({each.digest: spans[each.digest] for each in recipe.sets})
    paired = aligner.edges({each.digest: edges[each.digest] for each in recipe.edges}, recipe.model.causal)
    rows = pa.array(placed.origin, mask=placed.origin < 0)
    return Aligned(
        keys=keys,
        parts=parts,
        token_offsets=locator.token_offsets,
        input_ids=batch.tokens.ids[locator.laid].astype(np.int32),
        spans=placed,
        attributes={name: column.take(rows) for name, column in attribute_columns(batch, recipe, spans).items()},
        edges=paired,
        dropped=parts.count == 0,
        counts=counts,
    )


@dataclass(frozen=True, eq=False)
class _Located:
    """Spans as content ranges, one set after another, without those that have no token or whose record is dropped."""

    set: Ints
    record: Ints
    start: Ints
    end: Ints
    origin: Ints


@dataclass(frozen=True)
class _Aligner:
    """One batch being aligned. `number`: the place of each key."""

    locator: Locator
    parts: Parts
    number: dict[str, int]
    counts: Counted

    # --- spans

    def spans(self, sets: Mapping[Digest, Spans]) -> Ranges:
        """Every span in the parts that show it, and the reserved sets."""
        located = self._located(sets)
        home = self.parts.whole(located.record, located.start, located.end)
        whole = home >= 0
        self.counts.add("cut", located.set[~whole], located.record[~whole])
        acting = self._placed(located, np.flatnonzero(whole), home[whole], located.set[whole])
        self._count_rows(acting.set, acting.row, acting.start, acting.end, acting.end - acting.start == 1)
        found = [acting, self._remainders(located, home), self._repeated(located, home), *self._reserved()]
        columns = {f.name: join([getattr(each, f.name) for each in found]) for f in fields(Ranges)}
        order = in_order(columns["row"] * len(self.number) + columns["set"])
        return Ranges(**{name: column[order] for name, column in columns.items()})

    def _located(self, sets: Mapping[Digest, Spans]) -> _Located:
        ordered = sorted(sets)
        number = join([np.full(len(sets[key]), self.number[key]) for key in ordered])
        record = join([sets[key].record for key in ordered])
        found = [self.locator.find(sets[key]) for key in ordered]
        first, end, ragged = (join([columns[i] for columns in found]) for i in range(3))
        kept = (self.parts.count > 0)[record]
        there = kept & (end > first)
        self._count_matches(ordered, number[kept], record[kept])
        self.counts.add("between", number[kept & ~there], record[kept & ~there])
        self.counts.add("ragged", number[there], record[there], ragged[there])
        origin = np.flatnonzero(there)
        number, record = number[there], record[there]
        start, end = self.locator.content(record, first[there]), self.locator.content(record, end[there])
        return _Located(number, record, start, end, origin)

    def _placed(self, spans: _Located, chosen: Ints, part: Ints, number: Ints) -> Ranges:
        """The spans `chosen` in part `part` of their records, which shows them whole, under set `number`."""
        row = self.parts.first[spans.record[chosen]] + part
        start, end = self.parts.positions(row, spans.start[chosen], spans.end[chosen])
        return Ranges(row, number, start, end, spans.origin[chosen])

    def _remainders(self, spans: _Located, home: Ints) -> Ranges:
        """What parts show of a span besides the one it acts in, each token once: in the first part that has it."""
        parts, record = self.parts, spans.record
        from_part = parts.reaching(record, spans.start + 1)
        to_part = np.where(home >= 0, home, np.minimum(parts.reaching(record, spans.end) + 1, parts.count[record]))
        chosen, part = _each(from_part, to_part)
        row = parts.first[record[chosen]] + part
        start, end = self.locator.trim(
            record[chosen],
            np.maximum(spans.start[chosen], parts.fresh[row]),
            np.minimum(spans.end[chosen], parts.end[row]),
        )
        seen = end > start
        row, chosen = row[seen], chosen[seen]
        number = self._derived(spans.set[chosen], cut)
        start, end = parts.position(row, start[seen]), parts.position(row, end[seen])
        return Ranges(row, number, start, end, spans.origin[chosen])

    def _repeated(self, spans: _Located, home: Ints) -> Ranges:
        """The later parts that show a span whole once more: all of them, where it is a token added before the text."""
        last = self.parts.count[spans.record] - 1
        within = np.minimum(spans.start // self.parts.step[spans.record], last)
        last = np.where(spans.start < 0, last, within)
        chosen, part = _each(home + 1, np.where(home >= 0, last + 1, 0))
        return self._placed(spans, chosen, part, self._derived(spans.set[chosen], again))

    def _derived(self, sets: Ints, derive: Callable[[str], str]) -> Ints:
        keys = self.counts.names
        table = np.array([self.number.get(derive(key), -1) for key in keys], dtype=np.int64)
        return table[sets]

    def _reserved(self) -> list[Ranges]:
        """Tokens of white space, tokens that are context alone, and what is left of records that the context cuts."""
        parts = self.parts
        rows = np.arange(len(parts.record), dtype=np.int64)
        prefix, suffix = parts.prefix[parts.record], parts.suffix[parts.record]
        length = np.diff(self.locator.token_offsets)
        fresh = parts.position(rows, parts.fresh)
        goes_on = parts.end < parts.content[parts.record]
        broken = goes_on | (parts.part > 0)
        start, end = self.locator.trim(parts.record, parts.fresh, parts.end)
        return [
            self._reserve(BLANK, *self.locator.blank_runs()),
            self._reserve(REPEAT, rows, np.zeros_like(rows), np.where(parts.part > 0, fresh, 0)),
            self._reserve(REPEAT, rows, length - suffix, np.where(goes_on, length, 0)),
            self._reserve(
                cut(RECORD), rows, start - parts.begin + prefix, np.where(broken, end - parts.begin + prefix, 0)
            ),
        ]

    def _reserve(self, key: str, row: Ints, start: Ints, end: Ints) -> Ranges:
        there = end > start
        row, start, end = row[there], start[there], end[there]
        return Ranges(row, np.full_like(row, self.number[key]), start, end, np.full_like(row, -1))

    # --- edges

    def edges(self, sets: Mapping[Digest, EdgeSet], causal: bool) -> Pairs:
        """Every edge in the first part in which both its spans are whole."""
        ordered = sorted(sets)
        number = join([np.full(len(sets[key][2].query), self.number[key]) for key in ordered])
        ends = [self._edge_ends(self.number[key], *sets[key]) for key in ordered]
        record, query_start, query_end, key_start, key_end = (join([columns[i] for columns in ends]) for i in range(5))
        weight = np.concatenate([np.zeros(0, np.float32), *(_weights(sets[key][2]) for key in ordered)])
        kept = (self.parts.count > 0)[record]
        there = kept & (query_end > query_start) & (key_end > key_start)
        self._count_matches(ordered, number[kept], record[kept])
        self.counts.add("between", number[kept & ~there], record[kept & ~there])
        number, record, query_start, query_end, key_start, key_end = (
            column[there] for column in (number, record, query_start, query_end, key_start, key_end)
        )
        everywhere = key_start < 0  # a key that the tokenizer adds before the text stands in every part
        part = self.parts.whole(
            record,
            np.minimum(query_start, np.where(everywhere, query_start, key_start)),
            np.maximum(query_end, np.where(everywhere, query_end, key_end)),
        )
        whole = part >= 0
        self.counts.add("cut", number[~whole], record[~whole])
        row = self.parts.first[record[whole]] + part[whole]
        query_start, query_end = self.parts.positions(row, query_start[whole], query_end[whole])
        key_start, key_end = self.parts.positions(row, key_start[whole], key_end[whole])
        pairs = Pairs(row, number[whole], query_start, query_end, key_start, key_end, weight[there][whole])
        self._count_edges(pairs, causal)
        order = in_order(pairs.row * len(self.number) + pairs.set)
        return Pairs(**{f.name: getattr(pairs, f.name)[order] for f in fields(Pairs)})

    def _edge_ends(self, number: int, query: Spans, key: Spans, edges: Edges) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """Record, and content ranges of query and key, of every edge; counts what spans of it are ragged, and `surplus`."""
        record = query.record[edges.query]
        columns = [record]
        for spans, chosen in ((query, edges.query), (key, edges.key)):
            first, end, ragged = self.locator.find(spans)
            joined = np.zeros(len(spans), np.bool_)
            joined[chosen] = True
            used = np.flatnonzero(joined & (self.parts.count > 0)[spans.record])
            self.counts.add("ragged", np.full_like(used, number), spans.record[used], ragged[used])
            columns += [self.locator.content(record, first[chosen]), self.locator.content(record, end[chosen])]
        lossy = np.flatnonzero((edges.surplus > 0) & (self.parts.count > 0))
        self.counts.add("surplus", np.full_like(lossy, number), lossy, edges.surplus[lossy])
        return columns[0], columns[1], columns[2], columns[3], columns[4]

    def _count_edges(self, pairs: Pairs, causal: bool) -> None:
        """Edges that only point forward, and the query tokens that are left to the others."""
        possible = pairs.key_start < pairs.query_end if causal else np.ones(len(pairs.row), dtype=np.bool_)
        record = self.parts.record[pairs.row]
        self.counts.add("forward", pairs.set[~possible], record[~possible])
        start = np.maximum(pairs.query_start, pairs.key_start) if causal else pairs.query_start
        sets, row, start, end = (column[possible] for column in (pairs.set, pairs.row, start, pairs.query_end))
        self._count_rows(sets, row, start, end, end - pairs.query_start[possible] == 1)

    # --- counts

    def count_unstored(self) -> None:
        """Tokens and records, which no shard stores: what there is of them, and what the context leaves."""
        parts, kept = self.parts, np.flatnonzero(self.parts.count > 0)
        there = np.zeros(len(parts.count), dtype=np.int64)
        np.add.at(there, parts.record, parts.end - parts.fresh)
        self._count_all(TOKENS, "matched", kept, parts.content[kept])
        self._count_all(TOKENS, "rows", kept, there[kept])
        self._count_all(TOKENS, "cut", kept, (parts.content - there)[kept])
        uncut = (parts.count == 1) & (there == parts.content)
        whole, row = np.flatnonzero(uncut), parts.first[uncut]
        rows = self.locator.inked(row, parts.position(row, parts.begin[row]), parts.position(row, parts.end[row]))
        self._count_all(RECORD, "matched", kept, np.ones_like(kept))
        self._count_all(RECORD, "cut", kept, (~uncut[kept]).astype(np.int64))
        self._count_all(RECORD, "between", whole, (rows == 0).astype(np.int64))
        self._count_all(RECORD, "rows", whole, rows)

    def _count_all(self, key: str, cause: Cause, record: Ints, amount: Ints) -> None:
        self.counts.add(cause, np.full_like(record, self.number[key]), record, amount)

    def _count_matches(self, keys: list[Digest], number: Ints, record: Ints) -> None:
        """What each set holds, and the records in which it holds nothing."""
        self.counts.add("matched", number, record)
        held = np.zeros((len(self.number), self.counts.records), dtype=np.bool_)
        held[number, record] = True
        mine = np.array([self.number[key] for key in keys], dtype=np.int64)
        place, empty = np.nonzero(~held[mine] & (self.parts.count > 0))
        self.counts.add("unmatched", mine[place], empty)

    def _count_rows(self, sets: Ints, row: Ints, start: Ints, end: Ints, alone: Bools) -> None:
        """Token rows of ranges, each once per set. White space is none, but where a span is that token alone."""
        rest = ~self._one_each(sets, row, start, alone)[sets]
        self.counts.add("rows", sets[~rest], self.parts.record[row[~rest]])
        sets, row, start, end = (column[rest] for column in (sets, row, start, end))
        group = sets * len(self.parts.record) + row
        order = in_order(group * (int(start.max(initial=0)) + 1) + start)
        sets, row, group = sets[order], row[order], group[order]
        start, end = uncovered(group, start[order], end[order])
        rows = np.where(alone[rest][order], end - start, self.locator.inked(row, start, end))
        self.counts.add("rows", sets, self.parts.record[row], rows)

    def _one_each(self, sets: Ints, row: Ints, start: Ints, alone: Bools) -> Bools:
        """Of each set, whether all its ranges are single tokens, in order and none twice: [sets]. Sets of tokens are."""
        again = (sets[1:] == sets[:-1]) & ((row[1:] < row[:-1]) | ((row[1:] == row[:-1]) & (start[1:] <= start[:-1])))
        found = np.ones(len(self.number), dtype=np.bool_)
        found[sets[1:][again]] = False
        found[sets[~alone]] = False
        return found


def _weights(edges: Edges) -> npt.NDArray[np.float32]:
    return np.ones(len(edges.query), np.float32) if edges.weight is None else edges.weight


def _each(from_part: Ints, to_part: Ints) -> tuple[Ints, Ints]:
    """Every whole number of each range `[from, to)`, with the place of its range."""
    lengths = np.maximum(to_part - from_part, 0)
    return owners(lengths), ranges(from_part, lengths)
