"""JSON records -> `Rows`. Shared by jsonl, inline and conllu."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ...dsl.checked import FieldPath
from ...dsl.codes.sources import BAD_ENCODING, BROKEN_JSON, MIXED_TYPES, NOT_A_TEXT, NOT_AN_OBJECT, SOURCE_LIMIT
from ...dsl.diagnostics import Diagnostic, Failure, Findings
from ..written import field_text
from .base import DEPTH, KEYS, Beyond, Origin, Rows, Tally, Want, shorten

_ABSENT = object()
MANY = 8
"""Findings in one block of records after which the rest of it is not read."""

_DECODER = json.JSONDecoder()
CONVERSION_ERRORS = (pa.ArrowException, OverflowError, UnicodeEncodeError)


@dataclass(slots=True)
class Records:
    """Builds the rows of one task, block by block, and keeps the type of every field from one block to the next."""

    origin: Origin
    want: Want
    tally: Tally
    _types: dict[FieldPath, pa.DataType] = field(default_factory=dict)

    def rows(self, lines: Sequence[str], numbers: Sequence[int]) -> Rows:
        """The records of `lines`, each one JSON object; blank lines are none. Raises `Failure` with what is wrong."""
        findings = Findings()
        objects: list[dict[str, Any]] = []
        kept: list[int] = []
        for line, number in zip(lines, numbers, strict=True):
            record = self._parse(line, number, findings)
            if record is not None:
                objects.append(record)
                kept.append(number)
            elif len(findings.items) >= MANY:
                break
        if findings.failed:
            raise Failure(*findings.items)
        return self.of(objects, kept)

    def of(self, objects: list[dict[str, Any]], kept: Sequence[int]) -> Rows:
        """The records `objects`, whose numbers are `kept`. Raises `Failure` with what is wrong."""
        texts = {path: self._texts(path, self._values(path, objects), kept) for path in self.want.texts}
        fields = {path: self._field(path, self._values(path, objects), kept) for path in self.want.fields}
        raw = {path: self._values(path, objects) for path in self.want.raw}
        return Rows(np.array(kept, np.int64), texts, fields, raw)

    def _parse(self, line: str, number: int, findings: Findings) -> dict[str, Any] | None:
        if not line or line.isspace():
            return None
        try:
            record = _load(line)
        except json.JSONDecodeError as error:
            fact = f"broken JSON at column {error.pos + 1}: {error.msg}"
            findings.add(self.origin.at(BROKEN_JSON, fact, number))
            return None
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
            findings.add(self.origin.at(BROKEN_JSON, f"JSON that cannot be read: {shorten(error)}", number))
            return None
        if not isinstance(record, dict):
            findings.add(self.origin.at(NOT_AN_OBJECT, f"{kind_of(record)}, where a JSON object is expected", number))
            return None
        return record

    def _values(self, path: FieldPath, objects: list[dict[str, Any]]) -> list[Any]:
        """The values at `path`, None where absent."""
        values: list[Any] = objects
        for name in path:
            values = [value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT for value in values]
        if path not in self.tally.seen and any(value is not _ABSENT for value in values):
            self.tally.seen.add(path)
        return [None if value is _ABSENT else value for value in values]

    def _texts(self, path: FieldPath, values: list[Any], rows: Sequence[int]) -> pa.StringArray:
        try:
            return pa.array(values, pa.string())
        except CONVERSION_ERRORS:
            findings = Findings()
            texts = [self._text(path, value, row, findings) for value, row in zip(values, rows, strict=True)]
            if findings.failed:
                raise Failure(*findings.items[:MANY]) from None
            return pa.array(texts, pa.string())

    def _text(self, path: FieldPath, value: Any, row: int, findings: Findings) -> str | None:
        if isinstance(value, str):
            if not value.isascii() and has_surrogate(value):
                findings.add(self.origin.at(BAD_ENCODING, f"`{field_text(path)}` holds half of a surrogate pair", row))
            return value
        if isinstance(value, list | dict):
            fact = f"`{field_text(path)}` is {kind_of(value)}, where a text is expected"
            findings.add(self.origin.at(NOT_A_TEXT, fact, row))
            return None
        if value is None or value != value:  # NaN stands for no value, as data frames write it
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    def _field(self, path: FieldPath, values: list[Any], rows: Sequence[int]) -> pa.Array:
        known = self._types.get(path, pa.null())
        try:
            column = convert(values, known)
        except CONVERSION_ERRORS as error:
            bad = _first(len(values), lambda count: _fails(values[:count], known)) - 1
            raise Failure(self._mismatch(path, values[bad], rows[bad], error)) from None
        except Beyond as error:
            bad = _first(len(values), lambda count: _fails(values[:count], known)) - 1
            raise Failure(self.origin.at(SOURCE_LIMIT, f"`{field_text(path)}`: {error}", rows[bad])) from None
        self._types[path] = column.type
        return column

    def _mismatch(self, path: FieldPath, value: Any, row: int, error: Exception) -> Diagnostic:
        name = field_text(path)
        if has_surrogate(json.dumps(value, ensure_ascii=False)):
            return self.origin.at(BAD_ENCODING, f"`{name}` holds half of a surrogate pair", row)
        if isinstance(error, OverflowError):
            return self.origin.at(MIXED_TYPES, f"`{name}` holds a whole number beyond 64 bits", row)
        fact = f"`{name}` is {kind_of(value)} that does not go with the type of the records before"
        return self.origin.at(MIXED_TYPES, fact, row)


def _load(line: str) -> Any:
    """The JSON value of a line. Most lines are a value and nothing else, which needs no look at the white space around it."""
    try:
        value, end = _DECODER.raw_decode(line)
    except json.JSONDecodeError:
        return _DECODER.decode(line)
    return value if end == len(line) else _DECODER.decode(line)


def convert(values: list[Any], known: pa.DataType) -> pa.Array:
    """An array of `values`, of the narrowest type that holds them and `known`. Raises Beyond where that has too many names."""
    if any(isinstance(value, dict) and len(value) > KEYS for value in values):  # which pyarrow takes seconds to look at
        raise Beyond(f"objects have more than {KEYS} different names")
    kind = pa.infer_type(values)
    _check_keys(kind)
    column = pa.array(values, kind)
    if column.type == known:
        return column
    schemas = [pa.schema([("value", kind)]) for kind in (known, column.type)]
    kind = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    _check_keys(kind)
    return column if kind == column.type else pa.array(values, kind)


def _check_keys(kind: pa.DataType) -> None:
    if _names(kind, DEPTH) > KEYS:
        raise Beyond(f"objects have more than {KEYS} different names")


def _names(kind: pa.DataType, depth: int) -> int:
    """How many names the objects of a type have, in all of its depth."""
    if depth < 0:
        raise Beyond(f"lists and objects are nested deeper than {DEPTH}")
    if pa.types.is_struct(kind):
        count: int = kind.num_fields
        return count + sum(_names(kind.field(i).type, depth - 1) for i in range(min(count, KEYS)))
    return _names(kind.value_type, depth - 1) if pa.types.is_list(kind) else 0


def _fails(values: list[Any], known: pa.DataType) -> bool:
    try:
        convert(values, known)
    except (*CONVERSION_ERRORS, Beyond):
        return True
    return False


def _first(stop: int, holds: Callable[[int], bool]) -> int:
    """The least count in [1, stop] of which `holds`, which is known to hold of `stop` and of all above the least."""
    low, high = 1, stop
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def has_surrogate(text: str) -> bool:
    """Whether a text holds half of a surrogate pair, which no UTF-8 has."""
    return any("\ud800" <= char <= "\udfff" for char in text)


def kind_of(value: Any) -> str:
    """A JSON value in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names: dict[type, str] = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names[type(value)]
