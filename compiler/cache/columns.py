"""A batch as one Arrow record batch, and back.

A row is a record. Numbers have the narrowest of three types that holds those of the batch, and count from what is nearest: the
places of tokens and slots from the begin of their text, row numbers from the first row of the task's range. So an entry does not
depend on where its range stands, and takes about half of what the batch takes in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...dsl.checked import FieldPath
from ..batch import Ints, TextBatch, TokenTable
from ..sources.base import Origin
from ..sources.reader import Splits
from ..tokens.text import string_bytes, strings

_OWN: dict[str, Callable[[pa.DataType], bool]] = {
    "id": pa.types.is_string,
    "row": pa.types.is_integer,
    "split": lambda kind: kind == pa.dictionary(pa.int32(), pa.string()),
    "text": pa.types.is_string,
    "tokens": pa.types.is_list,
}
_TOKEN = ("id", "start", "end", "added")
_SLOT, _FIELD = "slot", "field"


def packed(batch: TextBatch, splits: Splits, first: int) -> pa.RecordBatch:
    """A batch of plain texts, and the splits of its records. `first`: the number of the first row of the range."""
    begin, table = batch.bounds[:-1], batch.tokens
    origin = begin[table.record]
    numbers = (table.ids, table.start - origin, table.end - origin)
    tokens = pa.StructArray.from_arrays([*map(_narrow, numbers), pa.array(table.added)], _TOKEN)
    columns = {
        "id": batch.ids,
        "row": _narrow(batch.rows - first),
        "split": pa.DictionaryArray.from_arrays(
            pa.array(splits.index, pa.int32()), pa.array(splits.names, pa.string())
        ),
        "text": strings(batch.buffer, batch.bounds),
        "tokens": pa.ListArray.from_arrays(pa.array(table.offsets, pa.int32()), tokens),
    }
    for path, (start, end) in batch.slots.items():
        slot = pa.StructArray.from_arrays([_narrow(start - begin), _narrow(end - begin)], ["start", "end"])
        columns[_named(_SLOT, path)] = slot
    columns |= {_named(_FIELD, path): column for path, column in batch.fields.items()}
    return pa.RecordBatch.from_pydict(columns)


def unpacked(
    held: pa.RecordBatch, origin: Origin, first: int, wanted: frozenset[FieldPath]
) -> tuple[TextBatch, Splits]:
    """The batch that `packed` took, as of the range of `origin` that begins with row `first`, with the fields `wanted` alone."""
    buffer, bounds = string_bytes(held.column("text"))
    split = held.column("split")
    batch = TextBatch(
        source=origin.source.name,
        ids=held.column("id"),
        buffer=buffer,
        bounds=bounds,
        slots={path: _slot(column, bounds[:-1]) for path, column in _paths(held, _SLOT)},
        fields={path: column for path, column in _paths(held, _FIELD) if path in wanted},
        tokens=tokens_of(held.column("tokens"), bounds[:-1]),
        rows=_wide(held.column("row")) + first,
        path=origin.path if origin.source.files else "",
        lines=origin.source.format == "jsonl",
    )
    return batch, Splits(tuple(split.dictionary.to_pylist()), _wide(split.indices))


def check(held: pa.RecordBatch, size: int) -> None:
    """Raises ValueError, TypeError, KeyError or AttributeError where `held` is nothing that `packed` gives for a tokenizer of
    `size` tokens."""
    held.validate(full=True)
    own = [held.column(name) for name in _OWN]
    if not all(kind(column.type) for column, kind in zip(own, _OWN.values(), strict=True)):
        raise TypeError("columns of other types")
    tokens, slots = held.column("tokens"), [column for _, column in _paths(held, _SLOT)]
    if any(column.null_count for column in (*own, *slots, tokens.values, *tokens.values.flatten())):
        raise ValueError("nulls")
    id, start, end = (_numbers(tokens.values.field(name)) for name in _TOKEN[:3])
    counts = np.diff(tokens.offsets.to_numpy())
    lengths = np.diff(string_bytes(held.column("text"))[1])
    places = [(start, end, np.repeat(lengths, counts))]
    places += [(_numbers(slot.field("start")), _numbers(slot.field("end")), lengths) for slot in slots]
    if not all((a >= 0).all() and (a <= b).all() and (b <= most).all() for a, b, most in places):
        raise ValueError("places outside of their text")
    if len(id) and not 0 <= int(id.min()) <= int(id.max()) < size:
        raise ValueError("ids outside of the vocabulary")


def tokens_of(column: pa.ListArray, begin: Ints) -> TokenTable:
    """The tokens of some records, of which `begin` says where their texts begin."""
    offsets = _wide(column.offsets)
    first, counts = int(offsets[0]), np.diff(offsets)
    values = column.values.slice(first, int(offsets[-1]) - first)
    id, start, end, added = (values.field(name) for name in _TOKEN)
    origin = np.repeat(begin, counts)
    return TokenTable(
        ids=_wide(id),
        start=origin + _numbers(start),
        end=origin + _numbers(end),
        record=np.repeat(np.arange(len(counts)), counts),
        offsets=offsets - first,
        added=added.to_numpy(zero_copy_only=False),
    )


def _slot(column: pa.StructArray, begin: Ints) -> tuple[Ints, Ints]:
    return begin + _numbers(column.field("start")), begin + _numbers(column.field("end"))


def _narrow(values: Ints) -> pa.Array:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    kind = next(kind for kind in _KINDS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return pa.array(values.astype(kind))


_KINDS = (np.uint16, np.int32, np.int64)


def _numbers(column: pa.Array) -> npt.NDArray[np.integer[Any]]:
    """The numbers as they are stored, without a copy."""
    numbers: npt.NDArray[np.integer[Any]] = column.to_numpy()
    return numbers


def _wide(column: pa.Array) -> Ints:
    return _numbers(column).astype(np.int64)


def _named(kind: str, path: FieldPath) -> str:
    return f"{kind}:{json.dumps(path)}"


def _paths(held: pa.RecordBatch, kind: str) -> Iterator[tuple[FieldPath, pa.Array]]:
    """The columns of slots, or of fields, by their path."""
    for name, column in zip(held.schema.names, held.columns, strict=True):
        if name.startswith(f"{kind}:"):
            yield tuple(json.loads(name.removeprefix(f"{kind}:"))), column
