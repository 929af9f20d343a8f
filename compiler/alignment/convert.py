"""Values of the data -> values of the one type that shards store, or a finding about the first that has another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Code, Failure
from ..batch import TextBatch
from ..files.shard_reader import TYPES, Kind
from ..ragged import Ints
from ..tokens.tokenize import Encoder

EXPECTED: dict[Kind, str] = {
    "index": "a whole number",
    "class": "a whole number (a class)",
    "label": "a string (a label)",
    "key": "a string or a number (a value that another can equal)",
    "token": "a string or a whole number (a token)",
    "factor": "a number of at least 0 (a factor)",
    "number": "a number",
    "vector": "a list of numbers (a vector)",
    "vector32": "a list of numbers (a vector)",
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads values: what a diagnostic says about one of them. `record[n]`: the record of each value. `encoder` turns texts
    into tokens."""

    batch: TextBatch
    what: str
    record: Ints
    encoder: Encoder | None = None

    def failure(self, code: Code, at: int, found: str) -> Failure:
        """A finding about value `at`."""
        return self.about(code, int(self.record[at]), found)

    def about(self, code: Code, record: int, found: str) -> Failure:
        """A finding about one record."""
        row = int(self.batch.rows[record]) + 1
        message = f"{self.what} in record {row} of source `{self.batch.source}` {found}"
        return Failure(code.at(self.batch.place(record), message))


def nulls(length: int, kind: Kind) -> pa.Array:
    """An array of nulls alone."""
    return pa.nulls(length, TYPES[kind])


def convert(values: pa.Array, kind: Kind, reader: Reader) -> pa.Array:
    """The values as the type that shards store, nulls as they are. Raises Failure naming the first that has another type."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_null(values.type):
        return nulls(len(values), kind)
    if not _accepts(values.type, kind):
        at = first(pc.is_valid(values))
        if at is None:
            return nulls(len(values), kind)
        found = f"is {_shown(values[at])}; {EXPECTED[kind]} is expected"
        raise reader.failure(codes.FIELD_TYPE, at, found)
    if kind == "label":
        return values.cast(pa.string())
    if kind == "key":
        return _keys(values)
    if kind == "token" and _accepts(values.type, "label"):
        return _tokens(values, reader)
    return _numbers(values, kind, reader)


def _accepts(found: pa.DataType, kind: Kind) -> bool:
    text = bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))
    if kind == "label" or (text and kind in ("key", "token")):
        return text
    if kind == "key":
        return bool(pa.types.is_primitive(found) or pa.types.is_decimal(found))
    if kind == "class" and pa.types.is_boolean(found):
        return True
    return bool(pa.types.is_integer(found) or pa.types.is_floating(found))


def _keys(values: pa.Array) -> pa.Array:
    """Values as text, equal where they are equal: a whole number alike whether it came as `1` or as `1.0`. NaN equals nothing."""
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if not pa.types.is_floating(values.type):
        return values.cast(pa.string())
    whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**63))
    texts = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.string()), values.cast(pa.string()))
    numbers = pc.if_else(whole, values, pa.scalar(0.0, values.type)).cast(pa.int64())
    return pc.if_else(whole, numbers.cast(pa.string()), texts)


def _tokens(texts: pa.Array, reader: Reader) -> pa.Array:
    """The id of the token that each text is, -1 for one that is none or several."""
    if reader.encoder is None:
        raise ValueError("a field of tokens needs a tokenizer")
    distinct = texts.dictionary_encode()
    ids = pa.array(reader.encoder.single(distinct.dictionary.to_pylist()), TYPES["token"])
    return ids.take(distinct.indices)


def _numbers(values: pa.Array, kind: Kind, reader: Reader) -> pa.Array:
    """Numbers, checked against the range of their type before they are cast to it."""
    valid = np.asarray(pc.is_valid(values))
    wide = values.cast(pa.float64(), safe=False) if not pa.types.is_boolean(values.type) else values.cast(pa.int8())
    numbers = np.asarray(pc.fill_null(wide, 0), dtype=np.float64)
    narrow = TYPES[kind].to_pandas_dtype()
    if kind in ("class", "index", "token"):
        limit = float(np.iinfo(np.int32).max)
        broken = valid & (numbers != np.floor(numbers))
        if broken.any():
            at = int(np.flatnonzero(broken)[0])
            raise reader.failure(codes.FIELD_TYPE, at, f"is {_shown(values[at])}; {EXPECTED[kind]} is expected")
        fits = np.abs(numbers) <= limit
    else:
        limit = float(np.finfo(narrow).max)
        fits = np.abs(numbers) <= limit
        if kind == "factor":
            fits &= numbers >= 0
    if not fits.all():
        at = int(np.flatnonzero(~fits)[0])
        bound = "0" if kind == "factor" else f"{-limit:g}"
        raise reader.failure(codes.VALUE_RANGE, at, f"is {_shown(values[at])}; {bound} to {limit:g} is expected")
    return pa.array(numbers.astype(narrow), TYPES[kind], mask=~valid)


def first(mask: pa.Array) -> int | None:
    """The place of the first true value."""
    found = np.flatnonzero(np.asarray(mask))
    return int(found[0]) if len(found) else None


def _shown(value: pa.Scalar) -> str:
    text = repr(value.as_py())
    return f"`{text if len(text) <= 40 else text[:37] + '...'}` ({_type_name(value.type)})"


def _type_name(found: pa.DataType) -> str:
    if pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found):
        return f"a list of {found.value_type}"
    return "an object" if pa.types.is_struct(found) else str(found)
