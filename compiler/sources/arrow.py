"""Arrow IPC files, and streams as Hugging Face datasets writes them: a task is a run of record batches.

A range is read as a stream made of the schema, the dictionaries that it needs, and its record batches, whose bytes are digested
as they go by. There is no memory map, which ends the process where a file shrinks meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from io import RawIOBase
from typing import IO

import pyarrow as pa

from ...dsl.diagnostics import Failure
from ..plan import Digest
from .arrow_layout import Layout, Message, layout
from .base import Limits, Origin, Rows, Survey, Tally, Task, Want, check_columns, reading
from .columns import chosen, to_rows
from .cuts import Whole, digest_of_all, grouped
from .digests import Part, changed, digests, shortened
from .files import open_file


def survey(origin: Origin, blocks: Iterator[bytes]) -> Survey:
    """The record batches."""
    with reading(origin), open_file(origin) as stream:
        found = layout(stream)
        schema = _schema(stream, found)
        check_columns(len(schema.names))
        if not schema.names:
            return Survey((), 0)
        needed = list(_dictionaries(stream, found))
    batches = [message for message in found.messages if message.is_batch]
    contents = digests([Part(batch.start, batch.stop) for batch in batches], blocks)
    types = _types(schema)
    return grouped(
        Whole(batch.rows, batch.stop - batch.start, digest_of_all([types, dictionaries, content]))
        for batch, dictionaries, content in zip(batches, needed, contents, strict=True)
    )


def read(task: Task, origin: Origin, want: Want, limits: Limits, tally: Tally) -> Iterator[Rows]:
    """The records of the task's record batches. Raises Failure after the last, where they are not those that were surveyed."""
    with reading(origin), open_file(origin) as stream:
        found = layout(stream, task.range.start, task.range.stop)
        schema = _schema(stream, found)
        columns = [schema.names.index(name) for name in chosen(schema.names, origin, want)] or [0]
        served = _Served(stream, found)
        options = pa.ipc.IpcReadOptions(included_fields=columns, use_threads=False)
        with pa.ipc.open_stream(pa.PythonFile(served, "r"), options=options) as batches:
            yield from to_rows(batches, origin, want, limits, tally, task.range.row)
        if task.range.digest and served.digest(_types(schema)) != task.range.digest:
            raise Failure(changed(task, origin))


def _schema(stream: IO[bytes], found: Layout) -> pa.Schema:
    return pa.ipc.open_stream(pa.PythonFile(_Served(stream, Layout(found.schema, ())), "r")).schema


def _types(schema: pa.Schema) -> Digest:
    text = schema.to_string(show_field_metadata=False, show_schema_metadata=False)
    return shortened(hashlib.sha256(text.encode()))


def _dictionaries(stream: IO[bytes], found: Layout) -> Iterator[Digest]:
    """Per record batch the digest of the dictionaries before it."""
    digest = hashlib.sha256()
    for message in found.messages:
        if message.is_batch:
            yield shortened(digest)
        else:
            stream.seek(message.start)
            digest.update(stream.read(message.stop - message.start))


class _Served(RawIOBase):
    """A stream of messages that stand apart in a file. Digests what is read of them."""

    def __init__(self, stream: IO[bytes], found: Layout) -> None:
        self._stream = stream
        self._messages: Sequence[Message] = (found.schema, *found.messages)
        self._next = 0
        self._left = 0
        self._content = hashlib.sha256()
        self._dictionaries = hashlib.sha256()
        self._digests: list[tuple[Digest, Digest]] = []

    def readable(self) -> bool:
        """That it is for reading, as `pa.PythonFile` wants it said."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, of one message."""
        if not self._left:
            if self._next == len(self._messages):
                return b""
            message = self._messages[self._next]
            self._stream.seek(message.start)
            self._next, self._left, self._content = self._next + 1, message.stop - message.start, hashlib.sha256()
        block = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(block)
        self._digest(self._messages[self._next - 1], block)
        return block

    def _digest(self, message: Message, block: bytes) -> None:
        if not message.is_batch:
            if self._next > 1:
                self._dictionaries.update(block)
            return
        self._content.update(block)
        if not self._left:
            self._digests.append((shortened(self._dictionaries), shortened(self._content)))

    def digest(self, types: Digest) -> Digest:
        """The digest of a range whose record batches were read."""
        return digest_of_all(digest_of_all([types, *each]) for each in self._digests)
