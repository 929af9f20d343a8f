"""The files of a dataset below a URL, kept on this machine by their digest: each is fetched when it is first asked for.

A file has its name once it is whole and is what the manifest says. Processes that want the same one wait for the first of them.
What was used longest ago goes when there is more than the limit; what a process has open stays, since removing it frees nothing:
it holds a shared lock on the file for as long.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ...dsl.codes import shards as codes
from ...dsl.codes.runtime import CACHE
from ...dsl.diagnostics import Failure
from ...dsl.remote import SCHEMES, option_fault, scheme_of, url_fault
from ...dsl.source import DataPlace
from ..manifest import MANIFEST_FILE, FileEntry, read_manifest
from ..remote import Store, store_of
from . import disk

LIMIT = 64 << 30
"""Bytes of files that are kept, unless said."""
_BLOCK = 1 << 22
_FILES, _LOCKS, _DATASETS = "files", "locks", "datasets"

Options = tuple[tuple[str, str | float], ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a dataset lies, and where it is kept: `folder`, of at most `limit` bytes of shards beside those that are open."""

    url: str
    options: Options
    folder: Path
    limit: int = LIMIT


def is_url(path: object) -> bool:
    """Whether a path is the URL of something elsewhere."""
    return isinstance(path, str) and "://" in path


def origin(url: str, options: Iterable[tuple[str, str | float]], folder: Path | None, limit: int | None) -> Origin:
    """The origin of these. Raises Failure for a URL or an option that no dataset can be read by, and a limit that is none."""
    fault = url_fault(url)
    if fault is not None:
        raise Failure(fault[0].at(None, f"the dataset: {fault[1]}"))
    known, given = SCHEMES[scheme_of(url)].options, tuple(options)
    for name, value in given:
        found = option_fault(name, value, known)
        if found is not None:
            raise Failure(found[0].at(None, f"the options of the dataset: `{name}` {found[1]}"))
    if limit is not None and limit < 1:
        raise Failure(CACHE.at(None, f"the cache has a limit of {limit} bytes; at least 1 is expected"))
    return Origin(url.removesuffix("/"), given, _folder() if folder is None else folder.expanduser(), limit or LIMIT)


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mcd"


class Cached:
    """The files of one dataset. `release` lets go of what `file` gave."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._stores: dict[int, Store] = {}
        self._held: dict[str, int] = {}

    @property
    def _store(self) -> Store:
        """One for each process: connections do not outlive a fork."""
        number = os.getpid()
        if number not in self._stores:
            self._stores = {number: store_of(self.origin.url, self.origin.options)}
        return self._stores[number]

    def directory(self) -> Path:
        """A folder that holds everything of the dataset but its shards: the manifest, the plan, the anchors.

        Raises Failure where there is no dataset, where a file is not what the manifest says, and where it cannot be kept.
        """
        text = self._store.read(MANIFEST_FILE)
        if text is None:
            message = f"`{self.origin.url}` is no compiled dataset: it has no {MANIFEST_FILE}"
            raise Failure(codes.NOT_A_DATASET.at(DataPlace(self.origin.url), message))
        key, name = hashlib.sha256(text).hexdigest()[:32], self.origin.url.rpartition("/")[2]
        folder = self.origin.folder / _DATASETS / key / name
        with self._refusals():
            disk.make(folder)
            disk.write(folder / MANIFEST_FILE, text)
        for entry in read_manifest(folder).files:
            if not entry.is_whole(folder):
                with self._refusals():
                    disk.make((folder / entry.path).parent)
                    self._fetch(entry, folder / entry.path)
        return folder

    def bring(self, folder: Path, path: str) -> None:
        """Have a small file that the manifest does not list in `folder`, as it is at the URL now; none where there is none."""
        content = self._store.read(path)
        with self._refusals():
            if content is None:
                (folder / path).unlink(missing_ok=True)
            else:
                disk.make((folder / path).parent)
                disk.write(folder / path, content)

    def file(self, entry: FileEntry) -> Path:
        """A file of the dataset, held until it is released. Raises Failure as `directory`, and for one larger than the limit."""
        path = self.origin.folder / _FILES / entry.sha256[:2] / entry.sha256
        if entry.sha256 not in self._held:
            self._held[entry.sha256] = self._hold(entry, path)
        return path

    def release(self, entries: Iterable[FileEntry]) -> None:
        """The files of `entries` may go."""
        for entry in entries:
            held = self._held.pop(entry.sha256, None)
            if held is not None:
                os.close(held)

    def _hold(self, entry: FileEntry, path: Path) -> int:
        """A descriptor of a file that is there, with a lock that others may share."""
        with self._refusals():
            while True:
                found = _locked(path)
                if found is not None and os.fstat(found).st_size == entry.bytes:
                    os.utime(found)
                    return found
                if found is not None:
                    os.close(found)
                    path.unlink(missing_ok=True)
                self._bring(entry, path)

    def _bring(self, entry: FileEntry, path: Path) -> None:
        """Have a file there, and room for it."""
        if entry.bytes > self.origin.limit:
            message = f"`{entry.path}` has {entry.bytes:,} bytes, and the cache a limit of {self.origin.limit:,}"
            raise Failure(CACHE.at(DataPlace(str(self.origin.folder)), message, help="raise `cache_limit`"))
        disk.make(path.parent)
        with _alone(self.origin.folder / _LOCKS / entry.sha256[:2]):
            if not path.exists():
                self._fetch(entry, path)
        with _alone(self.origin.folder / _LOCKS / "all"):
            self._make_room(path)

    def _fetch(self, entry: FileEntry, path: Path) -> None:
        """Write a file as the store has it, once it is what the manifest says."""
        part, digest, size = disk.temporary(path), hashlib.sha256(), 0
        shown = f"{self.origin.url}/{entry.path}"
        try:
            with disk.create(part) as file, self._store.open(entry.path, _BLOCK) as content:
                while size <= entry.bytes and (block := content.read(_BLOCK)):
                    digest.update(block)
                    size += file.write(block)
                disk.flush(file, path)
            if (size, digest.hexdigest()) != (entry.bytes, entry.sha256):
                message = f"`{shown}` is not what was written: its SHA-256 differs from the manifest's"
                help = "put the dataset there again, or compile again"
                raise Failure(codes.FILE_DIGEST.at(DataPlace(shown), message, help=help))
            disk.rename(part, path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _make_room(self, kept: Path) -> None:
        """Remove what was used longest ago, as far as no process has it open, until the limit is kept."""
        found = [(each.stat(), each) for each in (self.origin.folder / _FILES).glob("*/*") if each.name[0] != "."]
        total = sum(status.st_size for status, _ in found)
        for status, path in sorted(found, key=lambda pair: pair[0].st_mtime_ns):
            if total <= self.origin.limit:
                return
            if path != kept and _removed(path):
                total -= status.st_size

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turns what the file system refuses into a Failure."""
        try:
            yield
        except OSError as error:
            folder = self.origin.folder
            message = f"the cache `{folder}` cannot be written: {error.strerror or error}"
            help = "name another folder by `cache`, or make room"
            raise Failure(CACHE.at(DataPlace(str(folder)), message, help=help)) from None


def _locked(path: Path) -> int | None:
    """A descriptor of a file with a shared lock; None where there is none, or it was removed in between."""
    try:
        found = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(found, fcntl.LOCK_SH)
    if os.fstat(found).st_nlink:
        return found
    os.close(found)
    return None


def _removed(path: Path) -> bool:
    """Whether a file could be removed: nobody has it open."""
    try:
        found = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(found)
    return True


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other process is in a block of this name."""
    disk.make(path.parent)
    path.touch()
    with disk.locked(path):
        yield
