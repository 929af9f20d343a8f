"""`regex("...")`: patterns of RE2, an engine without backtracking, over the bytes of each text.

Leftmost-longest whatever the order of alternatives, without overlap; an empty match is none. `^` and `$` are the ends of the
text, `.` leaves out the line break; `(?m)`, `(?s)` and `(?i)` change that.
"""

from __future__ import annotations

import numpy as np

from ...dsl import checked, patterns
from ...dsl.codes.sources import PATTERN_BYTES
from ...dsl.diagnostics import Failure
from ..batch import Ints, Spans, TextBatch
from .base import Context


def regex(node: checked.Regex, context: Context) -> Spans:
    """The matches of a pattern."""
    return context.select(*context.regex(node))


class Pattern:
    """A compiled pattern, which the checker accepted."""

    def __init__(self, node: checked.Regex) -> None:
        self._written = node.pattern
        self._compiled = patterns.compiled(node.pattern, node.ignore_case)

    def find(self, batch: TextBatch) -> tuple[Ints, Ints, Ints]:
        """Record, start and end of every match, in order. Raises Failure (MCD558) where one cuts a character."""
        search = self._compiled.finditer
        view = np.ascontiguousarray(batch.buffer).data
        bounds = batch.bounds.tolist()
        spans: list[tuple[int, int]] = []
        counts = np.zeros(batch.records, np.int64)
        for record in range(batch.records):
            before = len(spans)
            spans.extend(match.span() for match in search(view[bounds[record] : bounds[record + 1]]))
            counts[record] = len(spans) - before
        record_of = np.repeat(np.arange(batch.records), counts)
        start, end = np.array(spans, np.int64).reshape(-1, 2).T + batch.bounds[record_of]
        full = start < end
        found = record_of[full], start[full], end[full]
        self._check(batch, *found)
        return found

    def _check(self, batch: TextBatch, record: Ints, start: Ints, end: Ints) -> None:
        padded = np.append(batch.buffer, np.uint8(0))
        cut = np.flatnonzero(((padded[start] & 0xC0) == 0x80) | ((padded[end] & 0xC0) == 0x80))
        if len(cut):
            name = batch.ids[int(record[cut[0]])].as_py()
            message = f"the pattern `{self._written}` matches a part of a character in record `{name}`"
            raise Failure(PATTERN_BYTES.at(None, message, help="`\\C` matches a byte; `(?s:.)` matches a character"))
