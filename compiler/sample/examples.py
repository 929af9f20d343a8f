"""One span or edge of a sample, as a person is shown it: its record, and the text around it with the tokens' boundaries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...dsl.source import DataPlace
from ..batch import Spans, TextBatch

AROUND = 32
"""Bytes of text that are shown on either side of a span."""
LONGEST = 80
"""Bytes of a span that are shown; of a longer one its two ends."""
CUT = "…"


@dataclass(frozen=True, slots=True)
class Example:
    """A record and a part of its text. `text` has `[` and `]` around what the example is of, and `|` where one token ends and
    another begins; `…` stands for what is left out."""

    record: str
    place: DataPlace
    text: str


def of_record(batch: TextBatch, record: int, named: bool) -> Example:
    """The beginning of a record."""
    begin = int(batch.bounds[record])
    return _example(batch, record, begin, begin, named)


def of_span(batch: TextBatch, spans: Spans, at: int, named: bool) -> Example:
    """A span with what stands around it. `named`: records have ids of their own."""
    return _example(batch, int(spans.record[at]), int(spans.start[at]), int(spans.end[at]), named)


def of_edge(batch: TextBatch, query: Spans, at: int, key: Spans, to: int, named: bool) -> Example:
    """A query and a key, each with what stands around it."""
    first, second = of_span(batch, query, at, named), of_span(batch, key, to, named)
    return Example(first.record, first.place, f"{first.text} -> {second.text}")


def _example(batch: TextBatch, record: int, start: int, end: int, named: bool) -> Example:
    begin, stop = int(batch.bounds[record]), int(batch.bounds[record + 1])
    first, last = _whole(batch, max(begin, start - AROUND)), _whole(batch, min(stop, end + AROUND))
    bounds = _boundaries(batch, record)
    before, inside, after = (_split(batch, bounds, *piece) for piece in ((first, start), (start, end), (end, last)))
    opening, closing = ("|" * (at in bounds) for at in (start, end))
    text = f"{CUT * (first > begin)}{before}{opening}[{inside}]{closing}{after}{CUT * (last < stop)}"
    place = batch.place(record)
    name = str(batch.ids[record].as_py()) if named else f"{place.path}:{place.line}" if place.line else place.path
    return Example(name, place, text)


def _boundaries(batch: TextBatch, record: int) -> list[int]:
    """Where the tokens of a record begin that show some text, the first one aside."""
    rows = slice(*batch.tokens.offsets[record : record + 2])
    starts, ends = batch.tokens.start[rows], batch.tokens.end[rows]
    found: list[int] = np.unique(starts[ends > starts])[1:].tolist()
    return found


def _split(batch: TextBatch, bounds: list[int], start: int, end: int) -> str:
    """The text in `[start, end)` with `|` at the boundaries inside it, its middle left out where it is long."""
    if end - start > LONGEST:
        half = LONGEST // 2
        cuts = _whole(batch, start + half), _whole(batch, end - half)
        return f"{_split(batch, bounds, start, cuts[0])}{CUT}{_split(batch, bounds, cuts[1], end)}"
    edges = [start, *(bound for bound in bounds if start < bound < end), end]
    return "|".join(bytes(batch.buffer[one:other]).decode() for one, other in pairwise(edges))


def _whole(batch: TextBatch, at: int) -> int:
    """The start of the character that the byte `at` is in."""
    while at < len(batch.buffer) and batch.buffer[at] & 0xC0 == 0x80:
        at -= 1
    return at
