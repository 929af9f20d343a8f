"""A row as a report: its ranges by set, with the rules that read them and the values that go with them.

This is for the few rows that a person looks at: it loops over the spans of a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..files.shard_reader import Chunk, Lists
from ..manifest import ShardEntry
from ..plan import Plan, TowardPlan
from ..ragged import Bools
from ..sets import BLANK, RECORD, REPEAT, TOKENS, again, cut
from .ranges import Ranges
from .reads import reads
from .report import EdgeReport, HeldReport, RangeReport, RowReport, Value

Texts = Callable[[Sequence[int]], tuple[str, ...]]
"""Token ids -> the text of each."""

Fields = Mapping[str, tuple[Value, ...] | None]


class View:
    """Makes reports of rows. `texts`: None where no tokenizer is at hand."""

    def __init__(self, plan: Plan, texts: Texts | None) -> None:
        self._plan, self._texts = plan, texts
        self._readers: dict[str, list[str]] = {}
        self._fields: dict[str, list[str]] = {}
        """Key -> the fields that rules read along its spans."""
        self._vectors = {f"field.{rule.field}" for rule in plan.rules if isinstance(rule, TowardPlan) and rule.field}
        for rule in plan.rules:
            read = reads(rule)
            for key in read.keys:
                self._readers.setdefault(key, []).append(rule.id)
            if read.column is not None and read.column.startswith("field.") and read.column not in self._vectors:
                self._fields.setdefault(read.first, []).append(read.column)

    def row(self, ranges: Ranges, at: int, shard: ShardEntry, number: int) -> RowReport:
        """What is stored of row `at` of a record batch, which is row `number` of its split."""
        chunk = ranges.chunk
        ids = _list(chunk.tokens, at)
        texts = None if self._texts is None else self._texts(ids)
        fields, vectors = self._values(chunk, at)
        one = _Row(ranges, at, texts, fields, self._fields)
        spans = one.spans()
        apart = {BLANK, REPEAT} | ({cut(RECORD)} - set(self._readers))
        read = {key: found for key, found in spans.items() if key not in apart}
        read |= {key: found for key, found in one.unstored() if key in self._readers}
        held = [self._held(key, spans=found) for key, found in read.items()]
        held += [self._held(key, edges=found) for key, found in one.edges().items()]
        return RowReport(
            split=shard.split,
            number=number,
            shard=shard.path,
            id=chunk.id(at),
            part=int(chunk.part[at]),
            source=chunk.source(at),
            input_ids=tuple(ids),
            texts=texts,
            fields={name.removeprefix("field."): found for name, found in fields.items()},
            vectors={name.removeprefix("field."): found for name, found in vectors.items()},
            held=tuple(held),
            blank=tuple(spans.get(BLANK, ())),
            repeat=tuple(spans.get(REPEAT, ())),
            whole=cut(RECORD) not in spans,
        )

    def _values(self, chunk: Chunk, at: int) -> tuple[dict[str, tuple[Value, ...] | None], dict[str, int]]:
        """The fields of a row, and how many numbers its vectors have."""
        fields: dict[str, tuple[Value, ...] | None] = {}
        vectors: dict[str, int] = {}
        for name, kind in chunk.wanted.columns.items():
            if not name.startswith("field."):
                continue
            found = chunk.arrow(name)[at]
            if name in self._vectors or kind == "vector":
                vectors[name] = len(found) if found.is_valid else 0
            else:
                fields[name] = tuple(map(_plain, found.as_py())) if found.is_valid else None
        return fields, vectors

    def _held(self, key: str, spans: Sequence[RangeReport] = (), edges: Sequence[EdgeReport] = ()) -> HeldReport:
        base, _, derived = key.partition("/")
        return HeldReport(
            key=key,
            written=self._plan.sets[base].written if base in self._plan.sets else base,
            role="cut" if derived == "cut" else "again" if derived == "again" else "acts",
            rules=tuple(self._readers.get(key, ())),
            spans=tuple(spans),
            edges=tuple(edges),
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """Row `at` of a record batch, with its texts and fields. `along`: key -> the fields that are read along its spans."""

    ranges: Ranges
    at: int
    texts: tuple[str, ...] | None
    fields: Fields
    along: Mapping[str, Sequence[str]]

    def spans(self) -> dict[str, list[RangeReport]]:
        """The stored spans, by the key of their set."""
        chunk = self.ranges.chunk
        columns = [_list(lists, self.at) for lists in chunk.spans]
        named = {
            name.removeprefix("span.at."): chunk.arrow(name)[self.at].as_py()
            for name in chunk.wanted.columns
            if name.startswith("span.at.")
        }
        found: dict[str, list[RangeReport]] = {}
        for place, (number, start, end) in enumerate(zip(*columns, strict=True)):
            key = chunk.sets[number]
            attributes = {name: values[place] for name, values in named.items() if values[place] is not None}
            found.setdefault(key, []).append(self._range(start, end, attributes | self._along(key, attributes)))
        return found

    def unstored(self) -> Iterator[tuple[str, list[RangeReport]]]:
        """The tokens and the record, whose ranges follow from the row."""
        ranges = self.ranges
        mine = slice(int(ranges.first[self.at]), int(ranges.first[self.at] + ranges.lengths[self.at]))
        content, repeat, blank = ranges.content[mine], ranges.repeat[mine], ranges.blank[mine]
        for key, mask in ((TOKENS, content & ~repeat), (again(TOKENS), content & repeat)):
            if mask.any():
                yield key, [self._range(start, end, self._along(key, {})) for start, end in _runs(mask)]
        places = np.flatnonzero(content & ~blank)
        if len(places) and self.at in ranges.held(RECORD).row:
            yield RECORD, [self._range(int(places[0]), int(places[-1]) + 1, self._along(RECORD, {"index": 0}))]

    def edges(self) -> dict[str, list[EdgeReport]]:
        """The stored edges, by the key of their set."""
        chunk = self.ranges.chunk
        if not chunk.edges:
            return {}
        columns = [_list(lists, self.at) for lists in chunk.edges]
        weights = [None] * len(columns[0]) if chunk.weights is None else _list(chunk.weights, self.at)
        found: dict[str, list[EdgeReport]] = {}
        for number, query, query_end, key, key_end, weight in zip(*columns, weights, strict=True):
            ends = self._range(query, query_end), self._range(key, key_end)
            found.setdefault(chunk.sets[number], []).append(EdgeReport(query=ends[0], key=ends[1], weight=weight))
        return found

    def _range(self, start: int, end: int, attributes: Mapping[str, Value] | None = None) -> RangeReport:
        text = None if self.texts is None else "".join(self.texts[start:end])
        return RangeReport(start=start, end=end, text=text, attributes=dict(attributes or {}))

    def _along(self, key: str, attributes: Mapping[str, Value]) -> dict[str, Value]:
        """The values of fields for one span: the record's one value, or that of the span's index."""
        found: dict[str, Value] = {}
        for column in self.along.get(key, ()):
            values, index = self.fields.get(column) or (), attributes.get("index")
            place = 0 if len(values) == 1 else index
            if isinstance(place, int) and 0 <= place < len(values):
                found[column.removeprefix("field")] = values[place]
        return found


def _list(lists: Lists, at: int) -> list[int]:
    found: list[int] = lists.values[lists.offsets[at] : lists.offsets[at + 1]].tolist()
    return found


def _runs(mask: Bools) -> list[tuple[int, int]]:
    """Where the mask is true, as ranges."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _plain(value: Value) -> Value:
    """A value that JSON has: null for a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
