"""Where the messages of an Arrow IPC file or stream lie, which pyarrow reads by and does not tell.

A file has its record batches and dictionaries where its footer says, a flatbuffer; a stream has them one after another.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

MAGIC = b"ARROW1"
_DICTIONARIES, _BATCHES = 2, 3
"""The fields of the footer, counted from 0: version, schema, dictionaries, record batches."""
_BLOCK = np.dtype([("offset", "<i8"), ("metadata", "<i4"), ("padding", "<i4"), ("body", "<i8")])

Extent = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """The bytes `[start, stop)` of every dictionary and record batch, in the order in which readers take them. `late`: a
    dictionary counts for the record batches after it alone, as in streams."""

    dictionaries: tuple[Extent, ...]
    batches: tuple[Extent, ...]
    late: bool


def layout(data: pa.NativeFile) -> Layout:
    """The layout of a file or a stream, which is read from its begin. Raises pa.ArrowInvalid where it has none."""
    data.seek(0)
    return _of_file(data) if data.read(len(MAGIC)) == MAGIC else _of_stream(data)


def _of_file(data: pa.NativeFile) -> Layout:
    size = data.size()
    tail = len(MAGIC) + 4
    try:
        data.seek(size - tail)
        (length,) = struct.unpack_from("<i", data.read(tail))
        if not 0 < length <= size - tail:
            raise ValueError("the footer is longer than the file")
        data.seek(size - tail - length)
        footer = data.read(length)
        return Layout(_vector(footer, _DICTIONARIES, size), _vector(footer, _BATCHES, size), late=False)
    except (struct.error, ValueError) as error:
        raise pa.ArrowInvalid(f"the footer is broken: {error}") from error


def _vector(footer: bytes, field: int, size: int) -> tuple[Extent, ...]:
    """A vector of blocks, as flatbuffers lay it out: offsets count from where they stand, and a table's from its vtable's."""
    (table,) = struct.unpack_from("<I", footer)
    (back,) = struct.unpack_from("<i", footer, table)
    if table - back < 0:
        raise ValueError("a table begins before it")
    (length,) = struct.unpack_from("<H", footer, table - back)
    slot = 4 + 2 * field
    if slot + 2 > length:
        return ()
    (offset,) = struct.unpack_from("<H", footer, table - back + slot)
    if not offset:
        return ()
    (to,) = struct.unpack_from("<I", footer, table + offset)
    (count,) = struct.unpack_from("<I", footer, table + offset + to)
    blocks = np.frombuffer(footer, _BLOCK, count, table + offset + to + 4)
    starts = blocks["offset"].tolist()
    lengths = (blocks["metadata"].astype(np.int64) + blocks["body"]).tolist()
    found = tuple((start, start + length) for start, length in zip(starts, lengths, strict=True))
    if any(not 0 <= start < stop <= size for start, stop in found):
        raise ValueError("a record batch lies outside the file")
    return found


def _of_stream(data: pa.NativeFile) -> Layout:
    data.seek(0)
    dictionaries: list[Extent] = []
    batches: list[Extent] = []
    messages = pa.ipc.MessageReader.open_stream(data)
    while True:
        start = data.tell()
        try:
            message = messages.read_next_message()
        except StopIteration:
            return Layout(tuple(dictionaries), tuple(batches), late=True)
        if message.type == "dictionary":
            dictionaries.append((start, data.tell()))
        elif message.type == "record batch":
            batches.append((start, data.tell()))
