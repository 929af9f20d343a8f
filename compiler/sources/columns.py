"""Arrow record batches -> `Rows`: projection out of structs, plain types, text slots. Shared by parquet, arrow and csv."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl.checked import FieldPath
from ...dsl.codes.sources import BAD_ENCODING, NOT_A_TEXT, REPEATED_COLUMN, SOURCE_CORRUPT
from ...dsl.diagnostics import Failure
from ..batch import Ints
from ..written import field_text
from .base import Limits, Origin, Rows, Tally, Want, shorten


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
            _check(column, name, origin, np.arange(first, first + batch.num_rows))
        first += batch.num_rows
        yield batch


def _check(column: pa.Array, name: str, origin: Origin, rows: Ints) -> None:
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
        for piece in _pieces(batch, limits):
            held.append(piece)
            rows, size = rows + piece.num_rows, size + piece.nbytes
            if rows >= limits.records or size >= limits.bytes:
                yield pa.Table.from_batches(held)
                held, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(held)


def _pieces(batch: pa.RecordBatch, limits: Limits) -> Iterator[pa.RecordBatch]:
    """A batch cut so that, at its mean row size, a piece stays within `limits`."""
    if not batch.num_rows:
        return
    mean = max(1, batch.nbytes // batch.num_rows)
    step = max(1, min(limits.records, limits.bytes // mean))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


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
        return pa.struct([kind.field(i).with_type(_plain_type(kind.field(i).type)) for i in range(kind.num_fields)])
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


def _as_text(column: pa.Array, path: FieldPath, origin: Origin, rows: Ints) -> pa.StringArray:
    """The column as strings: numbers, booleans and dates written out, NaN null."""
    column = _plain(column)
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False)
        return pa.array([None if value != value else str(value) for value in values], pa.string())
    if pa.types.is_nested(column.type):
        raise Failure(origin.at(NOT_A_TEXT, f"`{field_text(path)}` is {column.type}, where a text is expected"))
    text = column.cast(pa.string(), safe=False)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        _check(text, field_text(path), origin, rows)
    return text
