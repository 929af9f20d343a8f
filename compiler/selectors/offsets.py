"""`offsets(.field, of: .slot)`: spans that the data lists as `{start, end, ...}`, counted in code points.

What stands in the data is checked here, entry by entry, and reported with the record that has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ...dsl import checked
from ...dsl.codes.sources import OFFSETS_ENTRY, OFFSETS_OUTSIDE, OFFSETS_REPEATED, OFFSETS_RESERVED, OFFSETS_SHAPE
from ...dsl.diagnostics import Code, Failure
from ..batch import Bools, Ints, Messages, Spans
from ..chat.locate import Contents
from ..chat.messages import NUMBER
from ..evaluation.attributes import plain
from ..evaluation.spans import empty
from ..ragged import owners
from ..written import field_text
from .base import Context, Extents

BUILT_IN = frozenset({"text", "start", "end", "index", "first", "last", "next", "previous"})
EDGES = ("start", "end")


def offsets(node: checked.Offsets, context: Context) -> Spans:
    """The spans that a field lists; none in a source without the field, or without the slot that they are counted in."""
    column = context.batch.fields.get(node.path)
    bounds = context.batch.bounds
    messages = context.batch.messages if node.of is not None else None
    if messages is not None and messages.path != node.of:
        messages = None
    text = (bounds[:-1], bounds[1:]) if node.of is None else context.batch.slots.get(node.of)
    if column is None or (text is None and messages is None):
        return empty()
    entries = _Entries.read(node, context, column)
    if entries is None:
        return empty()
    if messages is not None:
        return entries.in_messages(messages)
    assert text is not None, "there is a text, or there are messages"
    start, end = entries.inside(text)
    return context.select(entries.record, start, end, entries.attributes())


@dataclass(frozen=True, eq=False)
class _Entries:
    """The entries of all records, one after another: `record[n]`; `values`: an Arrow struct array without nulls."""

    node: checked.Offsets
    context: Context
    record: Ints
    values: pa.StructArray

    @classmethod
    def read(cls, node: checked.Offsets, context: Context, column: pa.Array) -> _Entries | None:
        """The entries of a column of lists, or None where there are none. Raises Failure (MCD550, MCD551)."""
        kind = column.type
        present = _valid(column)
        if not present.any():
            return None
        if not (pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind)):
            _fail(OFFSETS_SHAPE, node, context, int(np.argmax(present)), f"the field is of type `{kind}`", _EXPECTED)
        counts = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        values, record = pc.list_flatten(column), owners(counts)
        if not len(values):
            return None
        if not _valid(values).all():
            place = int(record[np.argmin(_valid(values))])
            _fail(OFFSETS_ENTRY, node, context, place, "an entry is null", _EXPECTED)
        if not pt.is_struct(kind.value_type):
            _fail(
                OFFSETS_SHAPE, node, context, int(record[0]), f"the field is a list of `{kind.value_type}`", _EXPECTED
            )
        return cls(node, context, record, values)

    def inside(self, text: Extents) -> Extents:
        """The entries in bytes. `text`: where the text that they count in stands, per record. Raises Failure (MCD551, MCD552)."""
        points = self.context.points
        start, end = self._edge("start"), self._edge("end")
        origin = text[0][self.record]
        size = points.char_of_byte(origin, text[1][self.record])
        right = (start >= 0) & (start < end) & (end <= size)
        if not right.all():
            row = int(np.argmin(right))
            where = f"`{field_text(self.node.of)}`" if self.node.of else "the text"
            fact = f"[{start[row]}, {end[row]}) is no range in {where}, which has {size[row]} characters"
            self._fail(OFFSETS_OUTSIDE, row, fact, "expected `0 <= start < end`, counted in code points")
        return points.byte_of_char(origin, start), points.byte_of_char(origin, end)

    def in_messages(self, messages: Messages) -> Spans:
        """The spans of entries that count in contents of messages, which they name by `message`; those in what the template left
        out are counted. Raises Failure (MCD551, MCD552)."""
        number, start, end = self._edge(NUMBER), self._edge("start"), self._edge("end")
        first = np.searchsorted(messages.record, self.record)
        count = np.searchsorted(messages.record, self.record, side="right") - first
        known = (number >= 0) & (number < count)
        if not known.all():
            row = int(np.argmin(known))
            self._fail(OFFSETS_OUTSIDE, row, f"there is no message {number[row]} among {count[row]}", _NUMBERED)
        message, contents = first + number, Contents(messages)
        size = contents.length(message)
        right = (start >= 0) & (start < end) & (end <= size)
        if not right.all():
            row = int(np.argmin(right))
            fact = f"[{start[row]}, {end[row]}) is no range in message {number[row]}, which has {size[row]} characters"
            self._fail(OFFSETS_OUTSIDE, row, fact, "expected `0 <= start < end`, counted in code points")
        of, begin, stop = contents.place(message, start, end)
        context = self.context
        context.unplaced += len(start) - len(np.unique(of))
        record = self.record[of]
        origin, rows = context.batch.bounds[record], pa.array(of)
        begin, stop = context.points.byte_of_char(origin, begin), context.points.byte_of_char(origin, stop)
        return context.select(
            record, begin, stop, {name: column.take(rows) for name, column in self.attributes().items()}
        )

    def _edge(self, key: str) -> Ints:
        """The whole numbers under a key. Raises Failure (MCD551)."""
        if self.values.type.get_field_index(key) < 0:
            self._fail(OFFSETS_ENTRY, 0, f"an entry has no `{key}`", _EXPECTED)
        column = plain(pc.struct_field(self.values, key))
        present = _valid(column)
        if not present.all():
            self._fail(OFFSETS_ENTRY, int(np.argmin(present)), f"an entry has no `{key}`", _EXPECTED)
        if not (pt.is_integer(column.type) or pt.is_floating(column.type)):
            fact = f"`{key}` is of type `{column.type}`"
            self._fail(OFFSETS_ENTRY, 0, fact, "expected a whole number")
        numbers = column.to_numpy(zero_copy_only=False)
        whole = (numbers == np.floor(numbers)) & (np.abs(numbers.astype(np.float64)) < 1 << 53)
        if not whole.all():
            row = int(np.argmin(whole))
            self._fail(OFFSETS_ENTRY, row, f"`{key}` is {numbers[row]}", "expected a whole number")
        integers: Ints = numbers.astype(np.int64)
        return integers

    def attributes(self) -> dict[str, pa.Array]:
        """The other keys, under their new names. Raises Failure (MCD553, MCD554)."""
        names = dict(self.node.rename)
        found: dict[str, pa.Array] = {}
        for number, key in enumerate(self.values.type.names):
            if key in EDGES:
                continue
            name = names.get(key, key)
            column = plain(pc.struct_field(self.values, [number]))
            present = _valid(column)
            if name not in BUILT_IN and name not in found:
                found[name] = column
            elif present.any():
                row = int(np.argmax(present))
                if name in BUILT_IN:
                    fact = f"key `{key}` would hide the built-in attribute `{name}`"
                    self._fail(OFFSETS_RESERVED, row, fact, f'rename it: `offsets(..., rename: {{{key}: "..."}})`')
                self._fail(OFFSETS_REPEATED, row, f"two keys become attribute `{name}`, one of them `{key}`", None)
        return found

    def _fail(self, code: Code, row: int, fact: str, help: str | None) -> NoReturn:
        _fail(code, self.node, self.context, int(self.record[row]), fact, help)


_NUMBERED = "`message` is the number of a message in its list, from 0"
_EXPECTED = "expected a list of `{start, end, ...}`, in code points"


def _valid(column: pa.Array) -> Bools:
    valid: Bools = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return valid


def _fail(code: Code, node: checked.Offsets, context: Context, record: int, fact: str, help: str | None) -> NoReturn:
    batch = context.batch
    row = int(batch.rows[record]) + 1
    name = batch.ids[record].as_py()
    message = f"`{field_text(node.path)}` of record `{name}` (source `{batch.source}`, row {row}): {fact}"
    raise Failure(code.at(batch.place(record), message, help=help))
