"""`linked(.field, query.index, key.index)`: pairs of spans that each record lists by their indices, with weights.

What stands in the data is checked here, entry by entry, and reported with the record that has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ...dsl import checked as c
from ...dsl.codes.sources import LINKS_OUTSIDE, LINKS_SHAPE, LINKS_WEIGHT
from ...dsl.diagnostics import Code, Failure
from ..batch import Bools, Ints, Spans, TextBatch
from ..ragged import changes, in_order, offsets, owners, ranges
from ..written import field_text
from .attributes import plain

Floats = npt.NDArray[np.float64]

LARGEST = float(np.finfo(np.float32).max)
EXPECTED = "expected a list of `[query, key]` or `[query, key, weight]`, indices from 0 and weights of at least 0"


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a join: its spans, and how many indices each record has there (None where its set says nothing of this
    source)."""

    spans: Spans
    indices: Ints | None


@dataclass(frozen=True, eq=False)
class Links:
    """The listed pairs: rows of the query set and of the key set, in order, each once; `weight` above 0, those of a pair that
    is listed more than once added up. `keys`: the size of the key set."""

    query: Ints
    key: Ints
    weight: Floats
    keys: int

    def among(self, query: Ints, key: Ints) -> tuple[Bools, Floats]:
        """Of each pair, whether it is listed, and its weight, 1 where it is not."""
        codes = self.query * self.keys + self.key
        wanted = query * self.keys + key
        at = np.searchsorted(codes, wanted)
        inside = np.minimum(at, max(len(codes) - 1, 0))
        there = (at < len(codes)) & (codes[inside] == wanted) if len(codes) else np.zeros(len(wanted), np.bool_)
        weight = np.ones(len(wanted))
        weight[there] = self.weight[at[there]]
        return there, weight


def listed(node: c.Linked, batch: TextBatch, query: Side, key: Side) -> Links:
    """The pairs that a field lists; none in a source without it. Raises Failure (MCD570 to MCD572)."""
    column = batch.fields.get(node.path)
    if column is None or query.indices is None or key.indices is None:
        return _pairs(np.zeros((2, 0), np.int64), np.zeros(0), query.spans, key.spans, np.zeros(0, np.int64))
    entries = _Entries(node, batch)
    record, numbers, lengths = entries.read(column)
    starts = offsets(lengths)[:-1]
    sides = (query.indices, key.indices) if node.first == "query" else (key.indices, query.indices)
    ends = [entries.index(record, numbers[starts + place], counts) for place, counts in enumerate(sides)]
    weight = np.ones(len(record))
    weighed = np.flatnonzero(lengths == 3)
    weight[weighed] = entries.weight(record[weighed], numbers[starts[weighed] + 2])
    kept = weight > 0
    pair = np.stack(ends if node.first == "query" else ends[::-1])
    return _pairs(pair[:, kept], weight[kept], query.spans, key.spans, record[kept])


def _pairs(pair: Ints, weight: Floats, query: Spans, key: Spans, record: Ints) -> Links:
    """From indices to rows: all spans that have them. In an anonymous union, two may have one index."""
    width = 1 + max((int(side.max(initial=0)) for side in (*pair, query.index, key.index)), default=0)
    entry, query_row = _spans_at(query, record * width + pair[0], width)
    at, key_row = _spans_at(key, record[entry] * width + pair[1][entry], width)
    query_row, weight = query_row[at], weight[entry][at]
    codes = query_row * len(key) + key_row
    order = in_order(codes)
    first = np.flatnonzero(changes(codes[order]))
    total = np.add.reduceat(weight[order], first) if len(first) else np.zeros(0)
    chosen = order[first]
    return Links(query_row[chosen], key_row[chosen], np.minimum(total, LARGEST), len(key))


def _spans_at(spans: Spans, wanted: Ints, width: int) -> tuple[Ints, Ints]:
    """Every (place in `wanted`, row of a span) whose codes of record and index agree."""
    codes = spans.record * width + spans.index
    order = in_order(codes)
    low, high = (np.searchsorted(codes[order], wanted, side) for side in ("left", "right"))
    return owners(high - low), order[ranges(low, high - low)]


@dataclass(frozen=True, eq=False)
class _Entries:
    """The entries of a batch being read."""

    node: c.Linked
    batch: TextBatch

    def read(self, column: pa.Array) -> tuple[Ints, Floats, Ints]:
        """Per entry its record, then the numbers of all entries, and how many each has: 2 or 3."""
        present = _valid(column)
        nothing = np.zeros(0, np.int64)
        if not present.any():
            return nothing, np.zeros(0), nothing
        record = np.arange(len(column))
        record, entries = self._flat(record, column, "the field")
        if not len(entries):
            return nothing, np.zeros(0), nothing
        inner, numbers = self._flat(record, entries, "an entry")
        lengths = _lengths(entries)
        odd = np.flatnonzero((lengths != 2) & (lengths != 3))
        if len(odd):
            self._fail(LINKS_SHAPE, int(record[odd[0]]), f"an entry has {lengths[odd[0]]} numbers")
        numbers = plain(numbers)
        if not (pt.is_integer(numbers.type) or pt.is_floating(numbers.type)):
            self._fail(LINKS_SHAPE, int(inner[0]), f"an entry holds a value of type `{numbers.type}`")
        if numbers.null_count:
            self._fail(LINKS_SHAPE, int(inner[np.argmin(_valid(numbers))]), "an entry holds a null")
        return record, numbers.to_numpy(zero_copy_only=False).astype(np.float64), lengths

    def _flat(self, record: Ints, column: pa.Array, what: str) -> tuple[Ints, pa.Array]:
        """The elements of a column of lists, with their records. Null fields have none; a null entry is an error."""
        kind = column.type
        present = _valid(column)
        if what == "an entry" and not present.all():
            self._fail(LINKS_SHAPE, int(record[np.argmin(present)]), "an entry is null")
        if not (pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind)):
            self._fail(LINKS_SHAPE, int(record[np.argmax(present)]), f"{what} is of type `{kind}`")
        return np.repeat(record, _lengths(column)), pc.list_flatten(column)

    def index(self, record: Ints, numbers: Floats, counts: Ints) -> Ints:
        """Numbers as indices below the `counts` of their records."""
        whole = numbers == np.floor(numbers)
        if not whole.all():
            at = int(np.argmin(whole))
            self._fail(LINKS_SHAPE, int(record[at]), f"{numbers[at]:g} is no index")
        inside = (numbers >= 0) & (numbers < counts[record])
        if not inside.all():
            at = int(np.argmin(inside))
            count = int(counts[record[at]])
            has = f"0..{count - 1}" if count else "none"
            self._fail(LINKS_OUTSIDE, int(record[at]), f"an entry has index {numbers[at]:.0f}, of {has}")
        found: Ints = numbers.astype(np.int64)
        return found

    def weight(self, record: Ints, numbers: Floats) -> Floats:
        """Numbers as weights."""
        right = (numbers >= 0) & (numbers <= LARGEST)
        if not right.all():
            at = int(np.argmin(right))
            self._fail(LINKS_WEIGHT, int(record[at]), f"an entry has weight {numbers[at]:g}")
        return numbers

    def _fail(self, code: Code, record: int, fact: str) -> NoReturn:
        batch = self.batch
        row, name = int(batch.rows[record]) + 1, batch.ids[record].as_py()
        message = f"`{field_text(self.node.path)}` of record `{name}` (source `{batch.source}`, row {row}): {fact}"
        raise Failure(code.at(batch.place(record), message, help=EXPECTED))


def _lengths(column: pa.Array) -> Ints:
    found: Ints = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _valid(column: pa.Array) -> Bools:
    valid: npt.NDArray[Any] = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return valid
