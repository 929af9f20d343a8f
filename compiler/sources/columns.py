"""Arrow record batches -> `Rows`: projection out of structs, plain types, text slots. Shared by parquet, arrow and csv."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl.checked import FieldPath
from ...dsl.codes.sources import BAD_ENCODING, NOT_A_TEXT, RECORD_TOO_LONG, REPEATED_COLUMN, SOURCE_CORRUPT
from ...dsl.diagnostics import Failure
from ..batch import Ints
from ..written import field_text
from .base import RECORD_BYTES, Limits, Origin, Rows, Tally, Want, shorten


def chosen(names: Sequence[str], origin: Origin, want: Want) -> list[str]:
    """The columns of a file that `want` reads, in the file's order."""
    tops = {path[0] for path in (*want.texts, *want.fields, *want.raw)}
    columns = [name for name in names if name in tops]
    for name in columns:
        if columns.count(name) > 1:
            raise Failure(origin.at(REPEATED_COLUMN, f"two columns are named `{name}`"))
    return columns


def to_rows(
    batches: Iterable[pa.RecordBatch], origin: Origin, want: Want, limits: Limits, tally: Tally, first: int
) -> Iterator[Rows]:
    """The rows of `batches` in chunks within `limits`; `first` is the number of the first row in the file."""
    for table in _chunks(_validated(batches, origin, first), limits):
        numbers = np.arange(first, first + table.num_rows)
        first += table.num_rows
        yield Rows(
            rows=numbers,
            texts={path: _as_text(_project(table, path, tally), path, origin, numbers) for path in want.texts},
            fields={path: _plain(_project(table, path, tally)) for path in want.fields if _has(table.schema, path)},
            raw={path: [_json(value) for value in _project(table, path, tally).to_pylist()] for path in want.raw},
        )


def _validated(batches: Iterable[pa.RecordBatch], origin: Origin, first: int) -> Iterator[pa.RecordBatch]:
    """The batches, once every offset and every string in them is known to be sound: files may hold anything."""
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            _check(column, name, origin, range(first, first + batch.num_rows))
        first += batch.num_rows
        yield batch


def _check(column: pa.Array, name: str, origin: Origin, rows: Ints | range) -> None:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        bad = next((i for i in range(len(column)) if _unsound(column.slice(i, 1))), None)
        row = None if bad is None else int(rows[bad])
        if "UTF8" in str(error):
            raise Failure(origin.at(BAD_ENCODING, f"`{name}` is no valid UTF-8", row)) from error
        raise Failure(origin.at(SOURCE_CORRUPT, f"`{name}` is broken: {shorten(error)}", row)) from error


def _unsound(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return True
    return False


def _chunks(batches: Iterable[pa.RecordBatch], limits: Limits) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        for piece, bytes in _pieces(batch, limits):
            held.append(piece)
            rows, size = rows + piece.num_rows, size + bytes
            if rows >= limits.records or size >= limits.bytes:
                yield pa.Table.from_batches(held)
                held, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(held)


def _pieces(batch: pa.RecordBatch, limits: Limits) -> Iterator[tuple[pa.RecordBatch, int]]:
    """A batch cut so that a piece stays within `limits`, or has one row, and the bytes of each piece: at the mean row size, and
    with what each row of a dictionary stands for, which together may be a thousand times the dictionary."""
    if not batch.num_rows:
        return
    mean = max(1, batch.nbytes // batch.num_rows)
    coded = [column for column in batch.columns if pa.types.is_dictionary(column.type)]
    step = max(1, min(limits.records, limits.bytes // mean))
    if not coded:
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step), min(step, batch.num_rows - start) * mean
        return
    ends = np.cumsum(sum((_standing_for(column) for column in coded), start=np.full(batch.num_rows, mean, np.int64)))
    start = done = 0
    while start < batch.num_rows:
        fitting = int(np.searchsorted(ends, done + limits.bytes, side="right"))
        stop = min(batch.num_rows, start + limits.records, max(fitting, start + 1))
        yield batch.slice(start, stop - start), int(ends[stop - 1]) - done
        start, done = stop, int(ends[stop - 1])


def _standing_for(column: pa.DictionaryArray) -> Ints:
    """The bytes of the value of each row."""
    values, kind = column.dictionary, column.type.value_type
    if not any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)):
        return np.zeros(len(column), np.int64)
    lengths = np.append(pc.fill_null(pc.binary_length(values), 0).to_numpy().astype(np.int64), 0)
    found: Ints = lengths[pc.fill_null(column.indices, len(values)).to_numpy().astype(np.int64)]
    return found


def _has(schema: pa.Schema, path: FieldPath) -> bool:
    kind = pa.struct(schema)
    for name in path:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return False
        kind = kind.field(name).type
    return True


def _project(table: pa.Table, path: FieldPath, tally: Tally) -> pa.Array:
    """The column at `path`, out of nested structs; nulls where the file does not have it."""
    if not _has(table.schema, path):
        return pa.nulls(table.num_rows)
    tally.seen.add(path)
    column = table.column(path[0]).combine_chunks()
    for name in path[1:]:
        column = pc.struct_field(column, [column.type.get_field_index(name)])
    return column


def _plain(column: pa.Array) -> pa.Array:
    """The column with one type per kind of value: `string` and `list`, no dictionaries, no views."""
    kind = _plain_type(column.type)
    return column if kind == column.type else column.cast(kind)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        members = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct(
            [(member.name, _plain_type(member.type)) for member in members]
        )  # a name that is no UTF-8 raises
    return kind


def _json(value: Any) -> Any:
    """A value as JSON has it. A member of a struct that is null is none: columns cannot tell it from one that is absent."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dict():
            return {name: _json(member) for name, member in value.items() if member is not None}
        case list():
            return [_json(element) for element in value]
    return str(value)


def _check_length(text: pa.StringArray, path: FieldPath, origin: Origin, rows: Ints) -> None:
    if text.nbytes <= RECORD_BYTES:
        return
    lengths = pc.fill_null(pc.binary_length(text), 0).to_numpy()
    for row in rows[lengths > RECORD_BYTES][:1].tolist():
        fact = f"`{field_text(path)}` is longer than {RECORD_BYTES >> 20} MiB"
        raise Failure(origin.at(RECORD_TOO_LONG, fact, row))


def _as_text(column: pa.Array, path: FieldPath, origin: Origin, rows: Ints) -> pa.StringArray:
    """The column as strings: numbers, booleans and dates written out, NaN null."""
    column = _plain(column)
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False)
        return pa.array([None if value != value else str(value) for value in values], pa.string())
    if pa.types.is_nested(column.type):
        raise Failure(origin.at(NOT_A_TEXT, f"`{field_text(path)}` is {column.type}, where a text is expected"))
    text = column.cast(pa.string(), safe=False)
    _check_length(text, path, origin, rows)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        _check(text, field_text(path), origin, rows)
    return text
