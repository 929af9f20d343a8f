"""Where the tokens of a batch are, and what ranges of them mean: shared by everything that makes rows."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from ..compiler.plan import Plan
from ..compiler.ragged import Bools, Ints, join, owners, ranges
from .gather import Flat, Gathered, paint
from .readers import Readers

_FLAT = tuple(column.name for column in fields(Flat))


class Layout:
    """`records` x `width` positions. `there`: tokens, not padding; `blank`: white space alone; `scored`: tokens with a loss, of
    a model that is not causal those that may be masked; `end[B]`: behind the last token of a text, or behind what the tokenizer
    adds to it where the text does not go on.

    `spans`: the stored ranges, then those that are never stored: every token, the whole record. `B`, `T` in shapes below are
    `records` and `width`.
    """

    def __init__(self, plan: Plan, readers: Readers, gathered: Gathered, records: int, width: int) -> None:
        self.records, self.width = records, width
        self.causal = plan.model.causal
        self.there: Bools = np.arange(width) < gathered.length[:, None]
        self.blank = self._painted(gathered.spans, readers.blank)
        repeat = self._painted(gathered.spans, readers.repeat)
        self.scored: Bools = self.there & ~repeat
        last = np.maximum(gathered.length - 1, 0)
        goes_on = repeat[np.arange(records), last]
        prefix = np.where(gathered.bare, 0, plan.tokenizer.prefix)
        suffix = np.where(gathered.bare, 0, plan.tokenizer.suffix)
        self.end: Ints = gathered.length - np.where(goes_on, suffix, 0)
        place = np.arange(width)
        content = (place >= prefix[:, None]) & (place < (gathered.length - suffix)[:, None])
        if self.causal:
            self.scored[:, :1] = False
        else:
            self.scored &= content
        spans = [gathered.spans]
        if readers.reads_tokens:
            spans.append(self._tokens(content & ~repeat, readers.tokens, prefix))
            spans.append(self._tokens(content & repeat, readers.tokens_again, prefix))
        if readers.reads_record:
            cut = np.unique(gathered.spans.record[gathered.spans.key == readers.record_cut])
            content[cut] = False
            spans.append(self._records(content & ~self.blank, readers.record))
        self.spans = Flat(*(join([getattr(each, name) for each in spans]) for name in _FLAT))

    def tokens(self, record: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """The tokens of ranges, as (place of the range, position), without white space inside longer ranges."""
        length = end - start
        place, position = owners(length), ranges(start, length)
        kept = ~self.blank[record[place], position] | (length[place] == 1)
        return (place, position) if kept.all() else (place[kept], position[kept])

    def code(self, slot: Ints, record: Ints, position: Ints) -> Ints:
        """One number per (slot, record, position), in their order."""
        return (slot * self.records + record) * self.width + position

    def decode(self, code: Ints) -> tuple[Ints, Ints, Ints]:
        """Slot, record and position of a code."""
        rest, position = np.divmod(code, self.width)
        slot, record = np.divmod(rest, self.records)
        return slot, record, position

    def per_record(self, slot: Ints, record: Ints, counted: Bools | None = None) -> Ints:
        """For every row, the rows of its slot in its record; of `counted` rows alone, where that is given."""
        cell = slot * self.records + record
        found = np.bincount(cell if counted is None else cell[counted], minlength=int(cell.max(initial=-1)) + 1)
        return found[cell] if len(cell) else cell

    def _painted(self, spans: Flat, key: int) -> Bools:
        mask = np.zeros((self.records, self.width), dtype=np.bool_)
        mine = spans.key == key
        paint(mask, spans.record[mine], spans.start[mine], spans.end[mine])
        return mask

    def _tokens(self, mask: Bools, key: int, prefix: Ints) -> Flat:
        record, start = np.nonzero(mask)
        return Flat(record, np.full_like(record, key), start, start + 1, start - prefix[record])

    def _records(self, mask: Bools, key: int) -> Flat:
        record = np.flatnonzero(mask.any(axis=1))
        start = mask[record].argmax(axis=1)
        end = self.width - mask[record, ::-1].argmax(axis=1)
        return Flat(record, np.full_like(record, key), start, end, np.zeros_like(record))


def distinct(codes: Ints) -> Ints:
    """The different codes in order. What is in order already, as most is, is not sorted again."""
    if len(codes) < 2 or (codes[1:] > codes[:-1]).all():
        return codes
    return np.unique(codes)
