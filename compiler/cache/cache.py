"""What tasks read and tokenised, kept in a folder of the project.

An entry holds all batches of one task, as `read_batches` gave them. Where another span, join or label has a task run again, it
takes them from there: nothing is read, parsed, rendered or tokenised. An entry is found by a key of all that its batches follow
from, and used where its digest says that it is whole; in all other cases the task reads its source as if there were none. Where
an entry lacks a field that is wanted now, the source is read again, and only the tokens are taken.

A source of messages, or of texts that are marked up, is not kept: its batches hold more than a text and its tokens.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import tokenizers

from ...dsl import checked as c
from ...dsl.canonical import digest
from ...dsl.checked import FieldPath
from ...version import VERSION
from ..files import disk
from ..plan import Digest
from ..sources.base import Origin, Tally, Task
from ..sources.reader import Batches, Encodes, read_as_texts
from ..tokens.tokenize import Encoder
from .entry import Entry, EntryWriter, read_entry
from .tokens import KeptTokens

CACHE_FORMAT = 1
"""Raised by every change of what is kept, and of what the steps before give for the same sources."""
FOLDER = ".mcd-cache"
ENDING = ".tokens"
LIMIT = 2 << 30
GROWTH = 3
"""How many bytes an entry has for one of its source, about."""

_MARKS = {
    ".gitignore": b"*\n",
    "CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by mcd, and made again where it is missing.\n",
}
_REFUSED = (OSError, pa.ArrowException)

Reads: TypeAlias = Callable[[Encodes], Batches]
"""Reads a task anew, with this for its tokenizer."""


@dataclass(frozen=True, slots=True)
class CacheFolder:
    """Where a build keeps what it read: `folder`, of at most `limit` bytes. What was used since `start`, in seconds since the
    epoch, is this build's, and is not removed to make room for more of it."""

    folder: Path
    limit: int = LIMIT
    start: float = field(default_factory=time.time)

    @classmethod
    def of_project(cls, root: Path, limit: int = LIMIT) -> CacheFolder:
        """That of the project with this root folder."""
        return cls(root / FOLDER, limit)

    def holds(self, tasks: Iterable[Task]) -> bool:
        """Whether the entries of all `tasks` fit, by the size of their files. Half a build is not kept: it would push out what is
        of use to others, and save little."""
        files = {(task.source, task.file): task.bytes for task in tasks}
        return GROWTH * sum(files.values()) <= self.limit


class Cache:
    """The entries of one process, for one tokenizer. Nothing that the file system refuses shows: there is no entry then."""

    def __init__(self, where: CacheFolder, encoder: Encoder) -> None:
        self._where, self._encoder = where, encoder
        self._room = -1

    def batches(
        self, source: c.Source, task: Task, origin: Origin, fields: Sequence[FieldPath], tally: Tally, read: Reads
    ) -> Batches:
        """The batches of `task` of `source`, with `fields` as columns: from an entry, with its counts put into `tally`, or else
        from `read`, which counts into `tally`, with an entry left for the next time."""
        plain = isinstance(source.text, c.Template) and not source.marked
        if not plain or not task.range.digest or self._where.folder.is_symlink():
            return read(self._encoder)
        key, wanted, others = key_of(source, task, self._encoder.digest), frozenset(fields), dict[Path, Entry]()
        for path in self._candidates(key, wanted):
            entry = read_entry(path, key, self._encoder.size)
            if entry is None:
                continue
            if wanted <= set(entry.contents.fields):
                with suppress(OSError):
                    os.utime(path)
                tally.dropped.update(entry.contents.dropped)
                tally.seen |= set(entry.contents.seen) & (wanted | set(read_as_texts(source)))
                return entry.batches(origin, task.range.row, wanted)
            others[path] = entry
        held = next(iter(others.values())).held if others else ()
        narrower = [path for path, entry in others.items() if set(entry.contents.fields) < wanted]
        return self._kept(key, sorted(wanted), task, tally, read(KeptTokens(held, self._encoder)), narrower)

    def _candidates(self, key: Digest, wanted: frozenset[FieldPath]) -> Iterator[Path]:
        """Where an entry with `wanted` may be: the one that has no other fields first."""
        own = self._path(key, sorted(wanted))
        yield own
        yield from (self._where.folder / name for name in self._names if name.startswith(key) and name != own.name)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """What the folder held at first."""
        try:
            return tuple(sorted(os.listdir(self._where.folder)))  # noqa: PTH208
        except OSError:
            return ()

    def _path(self, key: Digest, fields: Sequence[FieldPath]) -> Path:
        return self._where.folder / f"{key}-{digest(tuple(fields))[:16]}{ENDING}"

    def _kept(
        self,
        key: Digest,
        fields: Sequence[FieldPath],
        task: Task,
        tally: Tally,
        read: Batches,
        narrower: Iterable[Path],
    ) -> Batches:
        """What `read` gives, with an entry written along. It has its name once all was read, and none where reading failed; the
        `narrower` ones, whose fields it has too, are removed then."""
        writer: EntryWriter | None = None
        try:
            with suppress(*_REFUSED):
                _make(self._where.folder)
                writer = EntryWriter(self._path(key, fields), task.range.row)
            for batch, splits in read:
                if writer is not None:
                    try:
                        writer.add(batch, splits)
                    except _REFUSED:
                        writer.discard()
                        writer = None
                yield batch, splits
            if writer is not None:
                with suppress(*_REFUSED):
                    writer.finish(key, fields, tally)
                    if self._makes_room(writer.size):
                        writer.publish()
                        for path in narrower:
                            path.unlink(missing_ok=True)
        finally:
            if writer is not None:
                writer.discard()

    def _makes_room(self, size: int) -> bool:
        """Whether an entry of `size` bytes, which lies there without its name, may stay.

        The folder is looked through again when an eighth of the room that was found is used up, so that as many processes may
        write at once.
        """
        if size <= self._room:
            self._room -= size
            return True
        self._room = _room(self._where) // 8
        return self._room >= 0


def key_of(source: c.Source, task: Task, tokenizer: Digest) -> Digest:
    """What the batches of a task follow from, but for the fields that they hold: the bytes of its range, how they are read, and
    by what. Where ids are numbers of rows, those too."""
    numbered = (source.name, task.base + task.range.row) if source.id is None else ()
    made = (CACHE_FORMAT, VERSION, pa.__version__, tokenizers.__version__)
    read = (source.format, source.id, source.split, source.text, task.types)
    return digest((made, tokenizer, read, task.range.digest, numbered))


def _make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in _MARKS.items():
        if not (folder / name).exists():
            disk.write(folder / name, content)


def _room(where: CacheFolder) -> int:
    """How many bytes fit into the folder, below 0 where it holds too many. If so, what was used longest ago is removed before,
    and somewhat more than needed."""
    held = list(_held(where.folder))
    room = where.limit - sum(size for _, size, _ in held)
    if room >= 0:
        return room
    for used, size, path in sorted(held):
        if room >= where.limit // 16 or used >= where.start - 1:
            break
        path.unlink(missing_ok=True)
        room += size
    return room


def _held(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When the entries, unfinished ones too, were last used, their sizes, and where they are."""
    for path in folder.iterdir():
        if path.name.endswith((ENDING, disk.UNFINISHED)):
            with suppress(FileNotFoundError):
                found = path.lstat()
                yield found.st_mtime, found.st_size, path
