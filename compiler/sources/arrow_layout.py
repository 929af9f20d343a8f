"""Where the messages of an Arrow IPC file or stream lie, which pyarrow reads by and does not tell.

A file has its record batches and dictionaries where its footer says, a stream has them one after another. Footer and messages are
flatbuffers: a table begins with the distance to its vtable, which says where its fields stand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

import pyarrow as pa

from .base import Beyond

MAGIC = b"ARROW1"
MOST_METADATA = 64 << 20
"""Bytes of a footer, or of what precedes the body of a message: a schema of some 100,000 columns."""
MOST_BODY = 512 << 20
"""Bytes of a record batch, which is held as a whole."""

_FIRST_MESSAGE = 8
_CONTINUED = 0xFFFFFFFF
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_ROWS_PER_BYTE = 1 << 10
_SPARE_ROWS = 1 << 20


class Message(NamedTuple):
    """A message: the bytes `[start, stop)`; `kind` as its header has it; `rows`, if it is a record batch."""

    start: int
    stop: int
    kind: int
    rows: int = 0

    @property
    def is_batch(self) -> bool:
        return self.kind == _BATCH


class Layout(NamedTuple):
    """The schema, then dictionaries and record batches as they are to be read: each dictionary before those that need it."""

    schema: Message
    messages: tuple[Message, ...]


def layout(stream: IO[bytes], start: int = 0, stop: int | None = None) -> Layout:
    """The layout of a file or a stream, of the record batches `[start, stop)`. Raises pa.ArrowInvalid where it has none, and
    Beyond where a message is too long."""
    try:
        size = stream.seek(0, 2)
        stream.seek(0)
        if stream.read(len(MAGIC)) == MAGIC:
            return _of_file(stream, size, start, stop)
        return _of_stream(stream, size, start, stop)
    except struct.error as error:
        raise pa.ArrowInvalid("a message or the footer is broken") from error


def _of_file(stream: IO[bytes], size: int, start: int, stop: int | None) -> Layout:
    tail = struct.calcsize("<i") + len(MAGIC)
    stream.seek(max(size - tail, 0))
    (length,) = struct.unpack_from("<i", stream.read(tail))
    if not 0 < length <= min(size - tail, MOST_METADATA):
        raise pa.ArrowInvalid(f"a footer of {length} bytes")
    stream.seek(size - tail - length)
    footer = _Table.root(stream.read(length))
    schema = _message(stream, _FIRST_MESSAGE, size)
    dictionaries = [_message(stream, at, size) for at in footer.blocks(2)]
    batches = [_message(stream, at, size) for at in footer.blocks(3)[start:stop]]
    if schema is None or schema.kind != _SCHEMA:
        raise pa.ArrowInvalid("no schema")
    if any(each is None or each.kind != _DICTIONARY for each in dictionaries):
        raise pa.ArrowInvalid("no dictionary where the footer says")
    if any(each is None or each.kind != _BATCH for each in batches):
        raise pa.ArrowInvalid("no record batch where the footer says")
    return Layout(schema, tuple(each for each in (*dictionaries, *batches) if each is not None))


def _of_stream(stream: IO[bytes], size: int, start: int, stop: int | None) -> Layout:
    schema = _message(stream, 0, size)
    if schema is None or schema.kind != _SCHEMA:
        raise pa.ArrowInvalid("neither an Arrow file nor a stream, which begin with `ARROW1` or a schema")
    found: list[Message] = []
    batches = 0
    for message in _from(stream, schema.stop, size):
        if message.is_batch:
            batches += 1
            if batches <= start:
                continue
        found.append(message)
        if batches == stop:
            break
    return Layout(schema, tuple(found))


def _from(stream: IO[bytes], at: int, size: int) -> Iterator[Message]:
    while at < size and (message := _message(stream, at, size)) is not None:
        yield message
        at = message.stop


def _message(stream: IO[bytes], at: int, size: int) -> Message | None:
    """The message at a place, None for the end of a stream."""
    stream.seek(max(at, 0))
    prefix = stream.read(8)
    (length,) = struct.unpack_from("<I", prefix)
    begin = at + 4
    if length == _CONTINUED:
        (length,) = struct.unpack_from("<I", prefix, 4)
        begin = at + 8
    if length == 0:
        return None
    if length > min(size - begin, MOST_METADATA):
        raise pa.ArrowInvalid(f"the message at byte {at} does not end in the file, or its header is longer than 64 MiB")
    stream.seek(begin)
    table = _Table.root(stream.read(length))
    kind, body = table.number(1, "<B"), table.number(3, "<q")
    stop = begin + length + body
    if not 0 <= body <= size - begin - length:
        raise pa.ArrowInvalid(f"the message at byte {at} does not end in the file")
    if body > MOST_BODY:
        raise Beyond(f"the record batch at byte {at} has {body} bytes, where {MOST_BODY >> 20} MiB are the limit")
    rows = table.table(2).number(0, "<q") if kind == _BATCH else 0
    if not 0 <= rows <= body * _ROWS_PER_BYTE + _SPARE_ROWS:
        raise pa.ArrowInvalid(f"the record batch at byte {at} has {rows} rows in {body} bytes")
    return Message(at, stop, kind, rows)


class _Table(NamedTuple):
    """A table of a flatbuffer, whose fields are counted from 0. Raises struct.error for what lies outside the buffer."""

    buffer: bytes
    at: int

    @classmethod
    def root(cls, buffer: bytes) -> _Table:
        return cls(buffer, struct.unpack_from("<I", buffer)[0])

    def _place(self, field: int) -> int:
        """Where a field stands, 0 where it is absent."""
        vtable = self.at - struct.unpack_from("<i", self.buffer, self.at)[0]
        if vtable < 0:
            raise struct.error("a vtable before the buffer")
        (length,) = struct.unpack_from("<H", self.buffer, vtable)
        slot = 4 + 2 * field
        offset = struct.unpack_from("<H", self.buffer, vtable + slot)[0] if slot + 2 <= length else 0
        return self.at + offset if offset else 0

    def number(self, field: int, form: str) -> int:
        place = self._place(field)
        return int(struct.unpack_from(form, self.buffer, place)[0]) if place else 0

    def _pointed(self, field: int) -> int:
        place = self._place(field)
        return place + struct.unpack_from("<I", self.buffer, place)[0] if place else 0

    def table(self, field: int) -> _Table:
        return _Table(self.buffer, self._pointed(field))

    def blocks(self, field: int) -> list[int]:
        """The offsets of a vector of blocks: an offset, the length of the metadata, four bytes of nothing, that of the body."""
        if not (vector := self._pointed(field)):
            return []
        (count,) = struct.unpack_from("<I", self.buffer, vector)
        if count > len(self.buffer) // 24:
            raise struct.error("a vector beyond the buffer")
        return [struct.unpack_from("<q", self.buffer, vector + 4 + 24 * i)[0] for i in range(count)]
