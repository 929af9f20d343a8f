"""What an Arrow IPC file says of itself, read before the library believes it.

The library reserves what a file declares: as many columns and record batches, and of a compressed buffer the size that its first
bytes state. Here the footer and the head of every record batch are read with each access in bounds, and only a file goes on whose
batches and buffers lie in it one after another, uncompressed, without dictionaries. Nothing that is opened then can be larger
than its file.

The layout is that of Arrow's Footer, Schema and Message tables and of FlatBuffers: a table begins with its distance to a list of
the places of its fields, a vector with its length.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = b"ARROW1"
MAX_FOOTER = 1 << 24
MAX_FIELDS = 1 << 13
"""The most bytes of a footer, and columns with the values of lists counted as columns."""
BATCHES, BATCH_BYTES = 1 << 10, 1 << 16
"""How many record batches a file may have beside one for every so many bytes."""
_RECORD_BATCH = 3
_VERSION = 4
"""Numbers of Arrow's: the header of a record batch, and its fifth and present version of the metadata."""


class Malformed(ValueError):
    """The file is no Arrow file, or not whole."""


class Foreign(ValueError):
    """The file is an Arrow file that no compilation writes."""


def check_ipc(path: Path, most: int | None = None) -> None:
    """Look at an Arrow IPC file from the outside. `most`: elements that a column of a record batch may have.

    Raises Malformed and Foreign, which end the sentence "the file ...", and OSError.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < 2 * len(MAGIC) + 6:
            raise Malformed(f"has {size} bytes")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
            try:
                _check(data, size, most)
            except (Malformed, Foreign):
                raise
            except (struct.error, IndexError, ValueError):
                raise Malformed("has metadata that leads out of it") from None


def _check(data: memoryview, size: int, most: int | None) -> None:
    if data[:6] != MAGIC or data[-6:] != MAGIC:
        raise Malformed("does not begin and end as one")
    (length,) = struct.unpack_from("<i", data, size - 10)
    if not 0 < length <= size - 18:
        raise Malformed(f"has a footer of {length} bytes in {size}")
    if length > MAX_FOOTER:
        raise Foreign(f"has a footer of {length} bytes; {MAX_FOOTER} is the most")
    end = size - 10 - length
    with data[end : size - 10] as part:
        footer = _root(part)
        _check_schema(footer)
        if footer.vector(2)[1]:
            raise Foreign("has dictionaries")
        start, count = footer.vector(3)
        if count > BATCHES + size // BATCH_BYTES:
            raise Foreign(f"has {count} record batches in {size} bytes")
        blocks = np.frombuffer(part, _BLOCK, count, start).copy() if count else np.zeros(0, _BLOCK)
        _check_blocks(blocks, end)
        for number, (offset, head, _, body) in enumerate(blocks.tolist()):
            try:
                with data[offset + 8 : offset + head] as message:
                    _check_batch(_root(message), body, most)
            except (Malformed, Foreign) as error:
                raise type(error)(f"{error}, in record batch {number}") from None


_BLOCK = np.dtype([("offset", "<i8"), ("head", "<i4"), ("padding", "<i4"), ("body", "<i8")])


def _check_blocks(blocks: npt.NDArray[Any], end: int) -> None:
    """Record batches lie one after another, between the first bytes of the file and its footer."""
    offset, head, body = (blocks[name].astype(np.int64) for name in ("offset", "head", "body"))
    if ((offset < 8) | (offset > end) | (head < 8) | (body < 0) | (body > end)).any():
        raise Malformed("places a record batch outside of it")
    stop = offset + head + body
    if (stop > end).any() or (offset[1:] < stop[:-1]).any():
        raise Malformed("has record batches that overlap, or overlap its footer")
    if ((offset % 8) | (head % 8) | (body % 8)).any():
        raise Malformed("has a record batch that is not aligned")


def _check_schema(footer: Table) -> None:
    schema = footer.table(1)
    if schema is None:
        raise Malformed("has no schema")
    if schema.number(0, "<h"):
        raise Foreign("has its numbers in the order of other machines")
    left, fields = [schema], 0
    while left:
        children = 1 if left[-1] is schema else 5
        for child in left.pop().tables(children):
            fields += 1
            if fields > MAX_FIELDS:
                raise Foreign(f"has more than {MAX_FIELDS} columns")
            left.append(child)


def _check_batch(message: Table, body: int, most: int | None) -> None:
    """A record batch has rows, no compression, and buffers one after another in its `body`."""
    batch = message.table(2)
    if message.number(1, "<B") != _RECORD_BATCH or batch is None:
        raise Malformed("holds something else")
    if message.number(0, "<h") != _VERSION or message.number(3, "<q") != body:
        raise Malformed("has a head that contradicts the footer")
    if batch.table(3) is not None:
        raise Foreign("is compressed")
    rows = batch.number(0, "<q")
    if not 1 <= rows <= max(body // 4, 1):
        raise Foreign(f"has {rows} rows in {body} bytes")
    nodes, buffers = (batch.pairs(field) for field in (1, 2))
    if (nodes < 0).any() or (most is not None and (nodes[:, 0] > most).any()):
        raise Foreign(f"has a column of {nodes[:, 0].max()} elements; {most} is the most")
    offset, length = buffers[:, 0], buffers[:, 1]
    if ((offset < 0) | (length < 0) | (offset > body) | (length > body - offset)).any():
        raise Malformed("has a buffer outside of its body")
    held = np.flatnonzero(length)
    offset, length = offset[held], length[held]
    if (offset[1:] < (offset + length)[:-1]).any() or (offset % 8).any():
        raise Foreign("has buffers that overlap, or are not aligned")


def _root(data: memoryview) -> Table:
    return Table(data, _number(data, 0, "<I"))


def _number(data: memoryview, at: int, form: str) -> int:
    if at < 0:
        raise IndexError(at)
    found: int = struct.unpack_from(form, data, at)[0]
    return found


@dataclass(frozen=True, slots=True)
class Table:
    """A FlatBuffers table at `at`. Fields are known by their numbers; one that is not there is 0, empty or None."""

    data: memoryview
    at: int

    def _place(self, field: int) -> int | None:
        listed = self.at - _number(self.data, self.at, "<i")
        if 4 + 2 * field >= _number(self.data, listed, "<H"):
            return None
        distance = _number(self.data, listed + 4 + 2 * field, "<H")
        return self.at + distance if distance else None

    def number(self, field: int, form: str) -> int:
        """A number, of a format of `struct`."""
        place = self._place(field)
        return 0 if place is None else _number(self.data, place, form)

    def table(self, field: int) -> Table | None:
        """Another table."""
        place = self._place(field)
        return None if place is None else Table(self.data, place + _number(self.data, place, "<I"))

    def vector(self, field: int) -> tuple[int, int]:
        """Where the entries of a vector begin, and how many there are."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + _number(self.data, place, "<I")
        return start + 4, _number(self.data, start, "<I")

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector."""
        start, count = self.vector(field)
        for place in range(start, start + 4 * count, 4):
            yield Table(self.data, place + _number(self.data, place, "<I"))

    def pairs(self, field: int) -> npt.NDArray[np.int64]:
        """A vector of two 64-bit numbers each: int64 [n, 2]."""
        start, count = self.vector(field)
        if start + 16 * count > len(self.data):
            raise IndexError(start)
        return (
            np.frombuffer(self.data, "<i8", 2 * count, start).reshape(-1, 2).copy()
            if count
            else np.zeros((0, 2), np.int64)
        )
