"""Fields of records and attributes of spans -> columns of one type, and what of them a rule cannot use.

A field's column holds a list per record: one value for the whole record, or one per span of the set it runs along; of vectors
the numbers of one after another. A list of one entry means the same as a single value, since it stands beside one span.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl import checked
from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ..batch import Bools, Spans, TextBatch
from ..counted import Counted
from ..files.shard_reader import TYPES, Kind
from ..plan import Digest
from ..ragged import Ints, offsets, owners, ranges
from ..recipe import ContrastCheck, LabelCheck, Recipe, StoredField
from ..sets import RECORD, TOKENS
from ..tokens.text import slices
from ..tokens.tokenize import Encoder
from .convert import EXPECTED, Reader, convert, first, nulls

# --- attributes


def attribute_kinds(recipe: Recipe) -> dict[str, Kind]:
    """What each stored attribute is taken for, in the order of their names.

    What is a class number or a label to one rule is a key as well. Raises Failure where one rule takes an attribute for a class
    number and another for a label.
    """
    kinds: dict[str, Kind] = {name: "key" for each in recipe.sets for name in each.attributes}
    readers: dict[str, LabelCheck] = {}
    for check in recipe.labels:
        if check.attribute is None or check.attribute == "index":
            continue
        other = readers.setdefault(check.attribute, check)
        if isinstance(check.classes, int) != isinstance(other.classes, int):
            message = f"`{other.rule}` and `{check.rule}` read attribute `{check.attribute}` as a number and as a label"
            raise Failure(codes.FIELD_TYPE.at(None, message, help="give the attribute a second name for one of them"))
        kinds[check.attribute] = "class" if isinstance(check.classes, int) else "label"
    if "index" in kinds:
        kinds["index"] = "index"
    return dict(sorted(kinds.items()))


def attribute_columns(batch: TextBatch, recipe: Recipe, spans: Mapping[Digest, Spans]) -> dict[str, pa.Array]:
    """Per stored attribute an array along the spans of all stored sets, in the order of their digests."""
    columns = {}
    for name, kind in attribute_kinds(recipe).items():
        along = [pa.array([], TYPES[kind])]
        for each in sorted(recipe.sets, key=lambda each: each.digest):
            found = spans[each.digest]
            along.append(_attribute(batch, found, name, kind) if name in each.attributes else nulls(len(found), kind))
        columns[name] = pa.concat_arrays(along)
    return columns


def _attribute(batch: TextBatch, spans: Spans, name: str, kind: Kind) -> pa.Array:
    if name == "index":
        return pa.array(spans.index, TYPES["index"])
    if name == "text":
        values = slices(batch.buffer, spans.start, spans.end)
    elif name in spans.attributes:
        values = spans.attributes[name]
    else:
        return nulls(len(spans), kind)
    return convert(values, kind, Reader(batch, f"attribute `{name}` of a span", spans.record))


# --- fields


@dataclass(frozen=True, eq=False)
class FieldColumn:
    """A field of a batch: a list per record. `lengths[records]`; `values`, all lists one after another; `null[records]`."""

    lengths: Ints
    values: pa.Array
    null: Bools

    def take(self, record: Ints) -> pa.ListArray:
        """The lists of the records `record`, in that order and however often."""
        starts = offsets(self.lengths)[:-1]
        lengths = self.lengths[record]
        flat = self.values.take(pa.array(ranges(starts[record], lengths)))
        null = self.null[record]
        return pa.ListArray.from_arrays(
            pa.array(offsets(lengths).astype(np.int32)), flat, mask=pa.array(null) if null.any() else None
        )


def field_columns(
    batch: TextBatch, recipe: Recipe, spans: Mapping[Digest, Spans], encoder: Encoder | None = None
) -> dict[str, FieldColumn]:
    """The stored fields of a batch by name; a source without the field has nulls. `encoder`: for fields of tokens.

    Raises Failure for a value of the wrong type or range, and for a list that is not as long as the set it runs along.
    """
    return {
        each.name: _field(batch, each, _entries(batch, recipe, each.spans, spans), encoder) for each in recipe.fields
    }


@dataclass(frozen=True, eq=False)
class _Entries:
    """How many entries a list along a set has: `count[records]`, or at least that many where not `exact`. `index` counts in the
    nearest named set, so that a list along a part of one has to reach the greatest index, and may be longer."""

    count: Ints
    exact: bool

    def fit(self, lengths: Ints) -> Bools:
        """Which lists have a right length."""
        return lengths == self.count if self.exact else lengths >= self.count


def _entries(batch: TextBatch, recipe: Recipe, definition: checked.SpanSet, spans: Mapping[Digest, Spans]) -> _Entries:
    plain = definition.base if isinstance(definition, checked.Named) else definition
    for each in recipe.sets:
        if each.definition == definition:
            found = spans[each.digest]
            count = np.bincount(found.record, minlength=batch.records)
            part = plain is definition and not isinstance(plain, checked.SELECTORS)
            if part:
                np.maximum.at(count, found.record, found.index + 1)
            return _Entries(count, exact=not part)
    if isinstance(plain, checked.Record):
        return _Entries(np.ones(batch.records, dtype=np.int64), exact=True)
    if isinstance(plain, checked.Tokens):
        return _Entries(_content(batch), exact=True)
    raise ValueError(f"a field runs along a set that the recipe does not store: {definition}")


def _content(batch: TextBatch) -> Ints:
    """How many tokens of its own each record has."""
    return np.bincount(batch.tokens.record[~batch.tokens.added], minlength=batch.records)


def _field(batch: TextBatch, stored: StoredField, entries: _Entries, encoder: Encoder | None) -> FieldColumn:
    values = batch.fields.get(stored.path)
    nothing = np.zeros(batch.records, dtype=np.int64)
    if values is None or pa.types.is_null(values.type):
        return FieldColumn(nothing, nulls(0, stored.type), np.ones(batch.records, dtype=np.bool_))
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    reader = Reader(batch, f"field `.{'.'.join(stored.path)}`", np.arange(batch.records, dtype=np.int64), encoder)
    null = ~np.asarray(pc.is_valid(values))
    lengths, flat = _unlisted(values)
    if stored.type in ("vector", "vector32"):
        return _vectors(stored, entries, reader, lengths, flat, null)
    if lengths is None:
        single = (~null).astype(np.int64)
        chosen = values.take(pa.array(np.flatnonzero(~null)))
        return FieldColumn(single, convert(chosen, stored.type, _at(reader, single)), null)
    wrong = ~null & ~entries.fit(lengths)
    if wrong.any():
        record = int(np.flatnonzero(wrong)[0])
        found = f"has {lengths[record]} entries for {entries.count[record]} spans"
        raise reader.about(codes.FIELD_LENGTH, record, found)
    return FieldColumn(lengths, convert(flat, stored.type, _at(reader, lengths)), null)


def _at(reader: Reader, lengths: Ints) -> Reader:
    return replace(reader, record=reader.record[owners(lengths)])


def _unlisted(values: pa.Array) -> tuple[Ints | None, pa.Array]:
    """The lengths of lists and their values; None for the lengths where there are no lists. A null list has length 0."""
    kind = values.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return None, values
    lengths = np.asarray(pc.fill_null(pc.list_value_length(values), 0), dtype=np.int64)
    return lengths, pc.list_flatten(values)


def _vectors(
    stored: StoredField, entries: _Entries, reader: Reader, lengths: Ints | None, flat: pa.Array, null: Bools
) -> FieldColumn:
    """One vector per record, or a list of them. Either may come as numbers one after another."""
    if lengths is None:
        raise reader.failure(
            codes.FIELD_TYPE, int(np.flatnonzero(~null)[0]), f"is no list; {EXPECTED['vector']} is expected"
        )
    inner, numbers = _unlisted(flat)
    if inner is not None:
        wrong = inner != stored.width
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            found = f"holds a vector of {inner[at]} numbers; {stored.width} are expected"
            raise _at(reader, lengths).failure(codes.VECTOR_WIDTH, at, found)
        lengths = lengths * stored.width
    one = lengths == stored.width if inner is None else np.zeros(len(lengths), dtype=np.bool_)
    wrong = ~null & ~one & ~((lengths % stored.width == 0) & entries.fit(lengths // stored.width))
    if wrong.any():
        record = int(np.flatnonzero(wrong)[0])
        found = f"has {lengths[record]} numbers; {stored.width}, or that for each of {entries.count[record]} spans, are expected"
        code = codes.VECTOR_WIDTH if lengths[record] % stored.width else codes.FIELD_LENGTH
        raise reader.about(code, record, found)
    converted = convert(numbers, stored.type, _at(reader, lengths))
    if converted.null_count:
        hole = first(pc.is_null(converted)) or 0
        raise _at(reader, lengths).failure(codes.FIELD_TYPE, hole, "holds a vector with a null; a number is expected")
    return FieldColumn(lengths, converted, null)


# --- labels


def count_labels(
    batch: TextBatch,
    recipe: Recipe,
    spans: Mapping[Digest, Spans],
    columns: Mapping[str, FieldColumn],
    dropped: Bools,
) -> Counted:
    """Spans whose label is null, or outside the classes, by rule; records in `dropped` are left out."""
    counted = Counted(tuple(check.rule for check in recipe.labels), batch.records)
    for place, check in enumerate(recipe.labels):
        kind: Kind = "class" if isinstance(check.classes, int) else "label"
        record, values = span_values(batch, check, spans, columns, kind)
        null = ~np.asarray(pc.is_valid(values))
        for cause, found in (("null", null), ("outside", ~null & ~_inside(values, check.classes))):
            where = record[found & ~dropped[record]]
            counted.add(cause, np.full_like(where, place), where)  # type: ignore[arg-type]
    return counted


def span_values(
    batch: TextBatch,
    check: LabelCheck | ContrastCheck,
    spans: Mapping[Digest, Spans],
    columns: Mapping[str, FieldColumn],
    kind: Kind,
) -> tuple[Ints, pa.Array]:
    """The record and the label of every span that the rule reads, an attribute taken for `kind`."""
    if check.set == RECORD:
        record, index = np.arange(batch.records, dtype=np.int64), np.zeros(batch.records, dtype=np.int64)
    elif check.set == TOKENS:
        lengths = _content(batch)
        record, index = owners(lengths), ranges(np.zeros_like(lengths), lengths)
    else:
        record, index = spans[check.set].record, spans[check.set].index
    if check.attribute is not None:
        return record, _attribute(batch, spans[check.set], check.attribute, kind)
    column = columns[check.field or ""]
    lengths = column.lengths[record]
    at = offsets(column.lengths)[:-1][record] + np.where(lengths == 1, 0, index)
    there = (lengths == 1) | (index < lengths)
    return record, column.values.take(pa.array(np.where(there, at, 0), mask=~there))


def _inside(values: pa.Array, classes: int | tuple[str, ...]) -> Bools:
    if isinstance(classes, int):
        numbers = np.asarray(pc.fill_null(values, -1))
        return (numbers >= 0) & (numbers < classes)
    return np.asarray(pc.is_in(values, value_set=pa.array(classes, pa.string())))
