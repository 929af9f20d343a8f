"""The file of an entry: what one task read and tokenised, batch by batch, and what it counted.

    8 bytes      MAGIC
    ...          an Arrow stream of one record batch per batch, each from a multiple of 64 bytes on
    ...          `Contents` as JSON
    8 bytes      the length of that JSON, little-endian
    32 bytes     the SHA-256 of all bytes before

A stream has a schema of its own, since the types of fields may widen from one batch to the next. One file holds all, so that it
is there or not, and one digest tells whether it is what was written. It is read through a memory map.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...dsl.checked import FieldPath
from ..batch import TextBatch
from ..files import disk
from ..plan import Digest, Frozen
from ..sources.base import Origin, Tally
from ..sources.reader import Batches, Splits
from .columns import check, packed, unpacked

MAGIC = b"mcdkept1"
_ALIGNED = 64
_LENGTH, _DIGEST = 8, 32


class Contents(Frozen):
    """What an entry says of itself. `key`: as in `cache`; `fields`: those that its batches hold, sorted; `dropped`, `seen`: as in
    `Tally`; `batches`: the bytes `[start, stop)` of each stream."""

    key: Digest
    fields: tuple[FieldPath, ...]
    dropped: dict[str, int]
    seen: tuple[FieldPath, ...]
    batches: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Entry:
    """An entry that is what was written. `held`: its batches, as `columns` has them."""

    contents: Contents
    held: tuple[pa.RecordBatch, ...]

    def batches(self, origin: Origin, first: int, wanted: frozenset[FieldPath]) -> Batches:
        """The batches, as of the range of `origin` that begins with row `first`, with the fields `wanted`."""
        for held in self.held:
            yield unpacked(held, origin, first, wanted)


def read_entry(path: Path, key: Digest, size: int) -> Entry | None:
    """The entry at `path`; None where there is none, where it is not what was written, or is of another key, or of a tokenizer of
    more than `size` tokens."""
    if not path.is_file():
        return None
    try:
        mapped = pa.memory_map(str(path))
        content = mapped.read_buffer(mapped.size())
        contents = _contents(memoryview(content).cast("B"))
        held = tuple(_batch(content.slice(start, stop - start), size) for start, stop in contents.batches)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException):
        return None  # whatever it is that lies there
    return Entry(contents, held) if contents.key == key else None


def _contents(content: memoryview) -> Contents:
    """Raises ValueError where the content is not what was written."""
    end = len(content) - _DIGEST
    if end < _LENGTH or content[: len(MAGIC)] != MAGIC or hashlib.sha256(content[:end]).digest() != content[end:]:
        raise ValueError("another content than was written")
    begin = end - _LENGTH - int.from_bytes(content[end - _LENGTH : end], "little")
    return Contents.model_validate_json(bytes(content[begin : end - _LENGTH]))


def _batch(stream: pa.Buffer, size: int) -> pa.RecordBatch:
    (held,) = pa.ipc.open_stream(stream)
    check(held, size)
    return held


class EntryWriter:
    """Writes an entry under a name of its own until `publish`. `first`: the number of the first row of the task's range; `size`:
    the bytes so far. Raises OSError, and ArrowException for columns that no stream can hold."""

    def __init__(self, path: Path, first: int) -> None:
        self._path, self._first = path, first
        self._part = disk.temporary(path)
        self._digest = hashlib.sha256()
        self._batches: list[tuple[int, int]] = []
        self.size = 0
        disk.reached("before write", path)
        self._file = disk.create(self._part)
        try:
            self._write(MAGIC)
        except BaseException:
            self.discard()
            raise

    def add(self, batch: TextBatch, splits: Splits) -> None:
        """Write a batch."""
        stream = _stream(packed(batch, splits, self._first))
        self._write(bytes(-self.size % _ALIGNED))
        start = self.size
        self._write(stream)
        self._batches.append((start, self.size))

    def finish(self, key: Digest, fields: Iterable[FieldPath], tally: Tally) -> None:
        """Write what stands after the batches."""
        contents = Contents(
            key=key,
            fields=tuple(fields),
            dropped=dict(tally.dropped),
            seen=tuple(sorted(tally.seen)),
            batches=tuple(self._batches),
        )
        text = contents.model_dump_json().encode()
        self._write(text + len(text).to_bytes(_LENGTH, "little"))
        self._write(self._digest.digest())
        self._file.close()

    def publish(self) -> None:
        """Give a finished entry its name. It need not outlast a loss of power, which its digest would tell."""
        disk.rename(self._part, self._path)

    def discard(self) -> None:
        """Remove what has no name; nothing after `publish`."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    def _write(self, content: bytes | pa.Buffer) -> None:
        self._file.write(content)
        self._digest.update(content)
        self.size += len(content)


def _stream(held: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, held.schema) as writer:
        writer.write_batch(held)
    return sink.getvalue()
