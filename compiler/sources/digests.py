"""Digests of ranges, and whether a file is still what it was when its ranges were made.

A range's digest covers all that its rows depend on, and nothing else where the format lets it: neither the file's path nor what
stands in other ranges. Formats of lines digest the bytes as they read them. For the others `unchanged` takes the digest of the
range anew once it was read, and holds the file to be the same one, with the same times, before and after.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from ...dsl.codes.sources import SOURCE_UNREADABLE
from ...dsl.diagnostics import Diagnostic, Failure
from ..plan import Digest
from .base import Origin, Task, reading
from .files import Look, look, open_file
from .foreign import file_size

_BLOCK = 1 << 20


class _Hash(Protocol):
    def hexdigest(self) -> str: ...


class Part(NamedTuple):
    """The bytes `[start, stop)` of a file, and what else the rows in them depend on."""

    start: int
    stop: int
    meaning: bytes = b""


def shortened(digest: _Hash) -> Digest:
    """The 32 digits that are kept of a digest."""
    return digest.hexdigest()[:32]


def digests(parts: Sequence[Part], blocks: Iterable[bytes]) -> list[Digest]:
    """The digest of each part of a file that goes by in blocks."""
    found = [hashlib.sha256(part.meaning) for part in parts]
    waiting = sorted(range(len(parts)), key=lambda each: parts[each].start, reverse=True)
    open_parts: list[int] = []
    position = 0
    for block in blocks:
        stop = position + len(block)
        while waiting and parts[waiting[-1]].start < stop:
            open_parts.append(waiting.pop())
        for each in open_parts:
            found[each].update(block[max(parts[each].start - position, 0) : max(parts[each].stop - position, 0)])
        open_parts = [each for each in open_parts if parts[each].stop > stop]
        position = stop
    return [shortened(digest) for digest in found]


def digest_of(origin: Origin, part: Part) -> Digest:
    """The digest of one part, read from the file."""
    digest = hashlib.sha256(part.meaning)
    for block in read_part(origin, part):
        digest.update(block)
    return shortened(digest)


def read_part(origin: Origin, part: Part) -> Iterator[bytes]:
    """The bytes of a part in blocks."""
    with open_file(origin) as stream:
        stream.seek(part.start)
        left = part.stop - part.start
        while left > 0 and (block := stream.read(min(left, _BLOCK))):
            left -= len(block)
            yield block


def changed(task: Task, origin: Origin, fact: str = "other bytes than before") -> Diagnostic:
    """That the file of a task is another one than when its tasks were made."""
    part = task.range
    where = f" in [{part.start}, {part.stop})" if fact.startswith("other") else ""
    return origin.at(SOURCE_UNREADABLE, f"changed while it was compiled: {fact}{where}")


@contextmanager
def unchanged(task: Task, origin: Origin, digest: Callable[[Task, Origin], Digest] | None) -> Iterator[None]:
    """Holds the file of a task to be of the size it had, and, with `digest`, to be left alone and to have the task's digest.

    Raises Failure at the begin, or at the end, which no one comes to who stops reading before.
    """
    before = _state(task, origin)
    yield
    if _state(task, origin) != before and digest is not None:
        raise Failure(changed(task, origin, "it was written meanwhile"))
    if digest is not None and task.range.digest and digest(task, origin) != task.range.digest:
        raise Failure(changed(task, origin))


def _state(task: Task, origin: Origin) -> Look | None:
    if origin.source.format == "inline":
        return None
    size = file_size(origin)
    if size != task.bytes:
        raise Failure(changed(task, origin, f"{size} bytes, {task.bytes} before"))
    with reading(origin):
        return look(origin.source, origin.file)
