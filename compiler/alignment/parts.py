"""The parts that the context cuts a text into.

A token's place in the text's own tokens is its *content* place; the tokens that a tokenizer adds before and after a text are
no content, and every part repeats them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...dsl import checked
from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Diagnostic, Failure
from ..batch import TextBatch, TokenTable
from ..ragged import Ints, offsets, owners, ranks


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a batch, `P` in all, in the order of its records; a record may have none.

    Per part: `record[P]`; `part[P]`, from 0 in its record; `begin[P]`, `end[P]`, its content; `fresh[P]`, where the content
    that no part before it held begins. Per record: `first`, the row of its first part; `count`, of parts; `capacity`, the
    content that one part holds; `step`, from one part to the next; `content`, in all; `prefix`, `suffix`, added tokens.
    """

    record: Ints
    part: Ints
    begin: Ints
    end: Ints
    fresh: Ints
    first: Ints
    count: Ints
    capacity: Ints
    step: Ints
    content: Ints
    prefix: Ints
    suffix: Ints

    def reaching(self, record: Ints, end: Ints) -> Ints:
        """The first part, counted in its record, that reaches as far as the content place `end`; it may not exist."""
        part: Ints = -(-np.maximum(end - self.capacity[record], 0) // self.step[record])
        return part

    def whole(self, record: Ints, start: Ints, end: Ints) -> Ints:
        """The first part, counted in its record, in which the content `[start, end)` is whole; -1 where none is.

        Added tokens, whose places lie outside the content, are whole where its own beginning or end is.
        """
        start, end = np.maximum(start, 0), np.minimum(end, self.content[record])
        part = self.reaching(record, end)
        return np.where((part * self.step[record] <= start) & (part < self.count[record]), part, -1)

    def position(self, row: Ints, place: Ints) -> Ints:
        """The token position in part `row` of a content place, or of a token added before the content, whose place is below 0."""
        found: Ints = place - np.where(place < 0, 0, self.begin[row]) + self.prefix[self.record[row]]
        return found

    def positions(self, row: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """The token positions in parts `row` of ranges that these hold: of content, or of an added token."""
        return self.position(row, start), self.position(row, end - 1) + 1


def cut_records(batch: TextBatch, model: checked.Model) -> Parts:
    """The parts of each record. One without a token, or too long where `overflow` is `drop`, has none.

    Raises Failure where `overflow` is `error` and a text is too long.
    """
    prefix, content, suffix = _added(batch.tokens)
    capacity = np.maximum(model.context - prefix - suffix, 0)
    overflow = model.overflow
    step = capacity - overflow.stride if overflow.how == "split" else np.maximum(content, 1)
    if (capacity < 1).any() or (step < 1).any():
        raise Failure(_too_short(model, int(prefix.max()), int(suffix.max())))
    long = content > capacity
    if overflow.how == "error" and long.any():
        raise Failure(_too_long(batch, model, int(np.flatnonzero(long)[0]), content + prefix + suffix))
    count = (content + prefix + suffix > 0).astype(np.int64)
    if overflow.how == "drop":
        count[long] = 0
    elif overflow.how == "split":
        count += -(-np.maximum(content - capacity, 0) // step)
    record = owners(count)
    part = ranks(record)
    begin = part * step[record]
    end = np.minimum(begin + capacity[record], content[record])
    fresh = np.where(part > 0, np.minimum(begin + overflow.stride, end), begin)
    first = offsets(count)[:-1]
    return Parts(record, part, begin, end, fresh, first, count, capacity, step, content, prefix, suffix)


def _added(tokens: TokenTable) -> tuple[Ints, Ints, Ints]:
    """Per record: added tokens before its content, content tokens, added tokens after it."""
    total = np.diff(tokens.offsets)
    own = offsets((~tokens.added).astype(np.int64))
    content = own[tokens.offsets[1:]] - own[tokens.offsets[:-1]]
    places = np.append(np.flatnonzero(~tokens.added), 0)
    first = np.minimum(own[tokens.offsets[:-1]], len(places) - 1)
    prefix = np.where(content > 0, places[first] - tokens.offsets[:-1], total)
    return prefix, content, total - content - prefix


def _too_short(model: checked.Model, prefix: int, suffix: int) -> Diagnostic:
    stride = f" and `split` repeats {model.overflow.stride}" if model.overflow.how == "split" else ""
    return codes.CONTEXT_TOO_SHORT.at(
        model.place,
        f"a context of {model.context} tokens leaves no room for a text: the tokenizer adds {prefix + suffix}{stride}",
    )


def _too_long(batch: TextBatch, model: checked.Model, record: int, tokens: Ints) -> Diagnostic:
    return codes.TEXT_TOO_LONG.at(
        batch.place(record),
        f"record {batch.rows[record] + 1} of source `{batch.source}` has {tokens[record]} tokens,"
        f" and the context of model `{model.name}` has {model.context}",
        help="`overflow = truncate`, `drop` or `split(stride: n)` takes longer texts",
    )
