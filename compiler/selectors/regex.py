"""`regex("...")`: patterns of RE2, an engine without backtracking, over the bytes of each text.

Leftmost-longest whatever the order of alternatives, without overlap; an empty match is none. `^` and `$` are the ends of the
text, `.` leaves out the line break; `(?m)`, `(?s)` and `(?i)` change that.
"""

from __future__ import annotations

import numpy as np
import re2

from ...dsl import checked
from ...dsl.codes.sources import PATTERN_BYTES, PATTERN_REJECTED
from ...dsl.diagnostics import Failure
from ..batch import Ints, Spans, TextBatch
from .base import Context


def regex(node: checked.Regex, context: Context) -> Spans:
    """The matches of a pattern."""
    return context.select(*context.regex(node))


class Pattern:
    """A compiled pattern. Raises Failure (MCD557) where the engine rejects it."""

    def __init__(self, node: checked.Regex) -> None:
        options = re2.Options()
        options.log_errors = False
        options.longest_match = True
        options.never_capture = True
        options.case_sensitive = not node.ignore_case
        self._written = node.pattern
        try:
            self._compiled = re2.compile(node.pattern.encode(), options)
        except re2.error as error:
            said = error.args[0] if error.args else ""
            reason = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            message = f"the pattern `{node.pattern}` is rejected: {reason}"
            raise Failure(PATTERN_REJECTED.at(None, message)) from None

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
