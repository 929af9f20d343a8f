"""Arrow files that an attacker wrote: like those of a dataset, and not theirs.

Every way is a function of the good content and of a source of random numbers, and gives another content.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

Forge = Callable[[bytes, Random], bytes]

WORDS = (
    0,
    1,
    -1,
    7,
    2**7,
    2**16,
    2**24 + 1,
    2**31 - 1,
    -(2**31),
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
    2**64 - 8,
)
"""Numbers to put where offsets, lengths and counts are."""

DEEP = "[" * 100_000 + "]" * 100_000


# --- bytes -----------------------------------------------------------------------------------------------------------


def footer_of(data: bytes) -> int:
    """Where the footer of an Arrow file begins."""
    return len(data) - 10 - struct.unpack_from("<i", data, len(data) - 10)[0]


def in_footer(data: bytes, random: Random) -> bytes:
    """Other bytes in the footer: the schema, and where record batches are."""
    return _changed(data, random, footer_of(data), len(data))


def in_heads(data: bytes, random: Random) -> bytes:
    """Other bytes in the head of a record batch: its length, its nodes, its buffers."""
    offset, head, _ = random.choice(blocks(data) or [(0, 8, 0)])
    return _changed(data, random, offset, offset + head)


def in_body(data: bytes, random: Random) -> bytes:
    """Other bytes in the body of a record batch: offsets, values, validity."""
    offset, head, body = random.choice(blocks(data) or [(0, 8, 0)])
    return _changed(data, random, offset + head, offset + head + body)


def anywhere(data: bytes, random: Random) -> bytes:
    """Other bytes anywhere."""
    return _changed(data, random, 0, len(data))


def moved(data: bytes, random: Random) -> bytes:
    """A piece of the file taken out, put in twice, or overwritten by another."""
    start, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
    at = random.randrange(len(data) + 1)
    ways = (data[:start] + data[end:], data[:at] + data[start:end] + data[at:])
    over = data[:at] + data[start:end] + data[at + end - start :]
    return random.choice((*ways, over[: len(data)], data[:start]))


def blocks(data: bytes) -> list[tuple[int, int, int]]:
    """Offset, length of the head and length of the body of each record batch."""
    place, count = _vector(data)
    found = (struct.unpack_from("<qiiq", data, place + 24 * number) for number in range(count))
    return [(offset, head, body) for offset, head, _, body in found]


def alike(data: bytes, random: Random) -> bytes:
    """One record batch several times: in the place of another, or as many as a footer has room for."""
    place, count = _vector(data)
    if count and random.random() < 0.9:
        source, target = (place + 24 * random.randrange(count) for _ in range(2))
        return data[:target] + data[source : source + 24] + data[target + 24 :]
    many = random.choice((1000, 100_000, 600_000))
    return _with_blocks(data, data[place : place + 24] * many, many)


def _with_blocks(data: bytes, entries: bytes, count: int) -> bytes:
    """Other record batches in the footer, as a vector behind what is there."""
    start = footer_of(data)
    footer = bytearray(data[start:-10])
    field = _field(data, start, 3) - start
    footer += b"\0" * (-(len(footer) + 4) % 8)
    struct.pack_into("<I", footer, field, len(footer) - field)
    footer += struct.pack("<I", count) + entries
    return data[:start] + footer + struct.pack("<i", len(footer)) + b"ARROW1"


def _field(data: bytes, start: int, number: int) -> int:
    table = start + struct.unpack_from("<I", data, start)[0]
    listed = table - struct.unpack_from("<i", data, table)[0]
    return table + struct.unpack_from("<H", data, listed + 4 + 2 * number)[0]


def _vector(data: bytes) -> tuple[int, int]:
    """Where the places of record batches are in a good file, and how many."""
    field = _field(data, footer_of(data), 3)
    place = field + struct.unpack_from("<I", data, field)[0]
    return place + 4, struct.unpack_from("<I", data, place)[0]


def _changed(data: bytes, random: Random, start: int, end: int) -> bytes:
    """One to four words or bits of a range changed."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(start, max(end, start + 1))
        size = random.choice((0, 1, 2, 4, 8))
        at -= at % max(size, 1)
        if size == 0 or at + size > len(changed):
            changed[at] ^= 1 << random.randrange(8)
        else:
            changed[at : at + size] = (random.choice(WORDS) % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(changed)


# --- Arrow, written well ---------------------------------------------------------------------------------------------


def rewritten(data: bytes, random: Random) -> bytes:
    """The same rows as another writer would have them: another column, other types, other metadata, or compressed."""
    with pa.ipc.open_file(data) as reader:
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        schema = reader.schema
    change = random.choice((_typed, _typed, _valued, _valued, _valued, _described, _batched, _packed, _columned))
    return change(batches, schema, random)


def _written(batches: list[pa.RecordBatch], schema: pa.Schema, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def _put(
    batches: list[pa.RecordBatch], schema: pa.Schema, name: str, make: Callable[[pa.RecordBatch], pa.Array]
) -> bytes:
    """Column `name` as `make` makes it of each record batch."""
    at, columns = schema.names.index(name), [make(batch) for batch in batches]
    kind = columns[0].type if columns else schema.field(at).type
    schema = schema.set(at, pa.field(name, kind))
    return _written(
        [b.set_column(at, schema.field(at), c).cast(schema) for b, c in zip(batches, columns, strict=True)], schema
    )


TYPES = (
    *(pa.int64(), pa.uint8(), pa.bool_(), pa.float64(), pa.string(), pa.large_string(), pa.binary(), pa.null()),
    *(pa.list_(pa.int64()), pa.large_list(pa.int32()), pa.list_(pa.list_(pa.int32())), pa.list_(pa.null())),
    *(pa.list_(pa.int32(), 2), pa.struct([("a", pa.int32())]), pa.map_(pa.string(), pa.int32()), pa.decimal128(5)),
    *(pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.dictionary(pa.int32(), pa.int32())), pa.date32()),
    *(pa.list_view(pa.int32()), pa.string_view(), pa.run_end_encoded(pa.int32(), pa.int32()), pa.list_(pa.float16())),
)


def _typed(batches: list[pa.RecordBatch], schema: pa.Schema, random: Random) -> bytes:
    """A column of another type, of nulls."""
    kind, name = random.choice(TYPES), random.choice(schema.names)
    at = schema.names.index(name)
    if pa.types.is_run_end_encoded(kind):
        column = [
            pa.RunEndEncodedArray.from_arrays(pa.array([b.num_rows], pa.int32()), pa.array([7], pa.int32()))
            for b in batches
        ]
    else:
        column = [pa.nulls(batch.num_rows, kind) for batch in batches]
    schema = schema.set(at, pa.field(name, kind))
    found = [
        pa.RecordBatch.from_arrays([c if n == at else b.column(n) for n in range(len(schema))], schema=schema)
        for b, c in zip(batches, column, strict=True)
    ]
    return _written(found, schema)


def _valued(batches: list[pa.RecordBatch], schema: pa.Schema, random: Random) -> bytes:
    """Other values in a column: numbers outside, null rows, null values, lists of other lengths."""
    name = random.choice(schema.names)
    at, kind = schema.names.index(name), schema.field(name).type
    schema = schema.set(at, pa.field(name, kind))
    odd = {
        "float": (float("nan"), float("inf"), -1.0, 1e30, 0.0),
        "int": (-1, 2**31 - 1, -(2**31), 1_000_000, 0, 63, 64),
    }

    def value(inner: pa.DataType) -> Any:
        if random.random() < 0.1:
            return None
        if pa.types.is_string(inner):
            return random.choice(("", "x" * 1000, "\0", "s", "r1"))
        found = random.choice(odd["float" if pa.types.is_floating(inner) else "int"])
        return np.float16(found) if pa.types.is_float16(inner) else found

    def made(batch: pa.RecordBatch) -> pa.Array:
        if not hasattr(kind, "value_type"):
            found = batch.column(at).to_pylist()
            found[random.randrange(len(found))] = value(kind)
            return pa.array(found, kind)
        lists = batch.column(at).to_pylist()
        row = random.randrange(len(lists))
        inside = list(lists[row] or [])
        way = random.randrange(4)
        if way == 0:
            inside = [value(kind.value_type) for _ in range(random.randrange(40))]
        elif way == 1:
            inside.append(value(kind.value_type))
        elif inside:
            inside[random.randrange(len(inside))] = value(kind.value_type)
        lists[row] = None if way == 2 and random.random() < 0.3 else inside
        if pa.types.is_float16(kind.value_type):
            lists = [None if one is None else [None if v is None else np.float16(v) for v in one] for one in lists]
        return pa.array(lists, kind)

    found = [
        pa.RecordBatch.from_arrays([made(b) if n == at else b.column(n) for n in range(len(schema))], schema=schema)
        for b in batches
    ]
    return _written(found, schema)


def _described(batches: list[pa.RecordBatch], schema: pa.Schema, random: Random) -> bytes:
    """Other metadata: of the format, of the sets, of an extension type that nobody knows or that would run code."""
    metadata = dict(schema.metadata or {})
    sets: tuple[bytes, ...] = (
        b"",
        b"[",
        DEEP.encode(),
        b'{"a": 1}',
        b"[1]",
        b'["\\ud800"]',
        b"[]",
        b"\xff",
        b"1" * 10_000,
    )
    formats = (b"2", b"-1", b"1e3", b"", b"\xd9\xa1", b"1" * 10_000, b"0")
    way = random.randrange(4)
    if way == 0:
        metadata[b"mcd.sets"] = random.choice((*sets, json.dumps(["a"] * random.choice((1, 1000, 10**6))).encode()))
    elif way == 1:
        metadata[b"mcd.format"] = random.choice(formats)
    elif way == 2:
        at = random.randrange(len(schema))
        names = (b"nobody.knows", b"arrow.py_extension_type", b"arrow.json", b"arrow.bool8", b"arrow.opaque")
        given = {b"ARROW:extension:name": random.choice(names), b"ARROW:extension:metadata": b"\x80\x04cos\nsystem\n."}
        schema = schema.set(at, schema.field(at).with_metadata(given))
    else:
        metadata[b"x" * random.choice((1, 10**6))] = b"y" * random.choice((0, 10**6))
    schema = schema.with_metadata(metadata)
    return _written([batch.cast(schema) for batch in batches], schema)


def _batched(batches: list[pa.RecordBatch], schema: pa.Schema, random: Random) -> bytes:
    """Record batches without rows, of one row, in another order, or none."""
    empty = [batch.slice(0, 0) for batch in batches[:1]]
    ways = (
        empty * random.choice((1, 3, 3000)),
        [*batches, *empty],
        [batch.slice(row, 1) for batch in batches for row in range(batch.num_rows)],
        batches[::-1],
        batches * 3,
        [],
    )
    return _written(random.choice(ways), schema)


def _packed(batches: list[pa.RecordBatch], schema: pa.Schema, random: Random) -> bytes:
    """Compressed buffers: of the rows, of many zeros, or with the length of what they hold forged."""
    codec = random.choice(("lz4", "zstd"))
    if random.random() < 0.3:
        at = schema.names.index("input_ids") if "input_ids" in schema.names else len(schema) - 1
        kind = schema.field(at).type
        inner = getattr(kind, "value_type", kind)
        zeros = (
            pa.array(np.zeros(random.choice((10**5, 10**7)), np.int32)).cast(inner)
            if pa.types.is_int32(inner)
            else None
        )
        if zeros is not None and pa.types.is_list(kind):
            rows = batches[0].slice(0, 1)
            wide = pa.ListArray.from_arrays(pa.array([0, len(zeros)], pa.int32()), zeros)
            columns = [wide if n == at else rows.column(n) for n in range(len(schema))]
            return _written([pa.RecordBatch.from_arrays(columns, schema=schema)], schema, compression=codec)
    data = _written(batches, schema, compression=codec)
    return data if random.random() < 0.5 else in_body(data, random)


def _columned(batches: list[pa.RecordBatch], schema: pa.Schema, random: Random) -> bytes:
    """A column less, a column twice, columns in another order, or thousands that nobody reads."""
    table = pa.Table.from_batches(batches, schema)
    way = random.randrange(4)
    if way == 0 and len(schema) > 1:
        table = table.remove_column(random.randrange(len(schema)))
    elif way == 1:
        at = random.randrange(len(schema))
        table = table.append_column(schema.field(at), table.column(at))
    elif way == 2:
        table = table.select(random.sample(schema.names, len(schema)))
    else:
        nulls = pa.nulls(table.num_rows, pa.int32())
        many = random.choice((10, 1000, 3000, 9000))
        names = [*schema.names, *(f"later{n}" for n in range(many))]
        table = pa.Table.from_arrays([*table.columns, *[nulls] * many], names=names, metadata=schema.metadata)
    table = table.replace_schema_metadata(schema.metadata)
    return _written(table.combine_chunks().to_batches(), table.schema)


ARROW: tuple[Forge, ...] = (
    *(in_footer, in_footer, in_heads, in_heads, in_body, in_body, anywhere, moved, alike),
    *(rewritten, rewritten, rewritten),
)


# --- bombs: small files that declare much, and large ones -----------------------------------------------------------


def _a_million_columns(data: bytes) -> bytes:
    return _written([], pa.schema([(f"c{number}", pa.int32()) for number in range(10**6)]))


def _many_empty_batches(data: bytes) -> bytes:
    schema = pa.schema([("a", pa.int32())])
    return _written([pa.record_batch([pa.array([], pa.int32())], schema=schema)] * 100_000, schema)


def _one_batch_many_times(data: bytes) -> bytes:
    place, _ = _vector(data)
    return _with_blocks(data, data[place : place + 24] * 600_000, 600_000)


def _zeros_compressed(data: bytes) -> bytes:
    with pa.ipc.open_file(data) as reader:
        schema, rows = reader.schema, reader.get_batch(0).slice(0, 1)
    zeros = pa.array(np.zeros(2 * 10**8, np.int32))
    wide = pa.ListArray.from_arrays(pa.array([0, len(zeros)], pa.int32()), zeros)
    columns = [wide if name == "input_ids" else rows.column(name) for name in schema.names]
    return _written([pa.RecordBatch.from_arrays(columns, schema=schema)], schema, compression="zstd")


def _a_dictionary_compressed(data: bytes) -> bytes:
    words = pa.array(["x" * 10**6]).dictionary_encode()
    batch = pa.record_batch([words.take(pa.array([0]))], names=["id"])
    return _written([batch] * 3, batch.schema, compression="zstd")


def _nested_types(data: bytes) -> bytes:
    kind = pa.int32()
    for _ in range(50):
        kind = pa.list_(kind)
    return _written([], pa.schema([(f"c{number}", kind) for number in range(1000)]))


def _many_sets(data: bytes) -> bytes:
    with pa.ipc.open_file(data) as reader:
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        schema = reader.schema.with_metadata({**reader.schema.metadata, b"mcd.sets": json.dumps(["ab"] * 600_000)})
    return _written([batch.cast(schema) for batch in batches], schema)


def _large_and_good(data: bytes) -> bytes:
    """60 MB of rows, in record batches like those of the writer."""
    with pa.ipc.open_file(data) as reader:
        table = reader.read_all()
    table = pa.concat_tables([table] * (60_000_000 // len(data))).combine_chunks()
    return _written(table.to_batches(20_000), table.schema)


BOMBS: tuple[Callable[[bytes], bytes], ...] = (
    *(_a_million_columns, _many_empty_batches, _one_batch_many_times, _zeros_compressed, _a_dictionary_compressed),
    *(_nested_types, _many_sets, _large_and_good),
)
