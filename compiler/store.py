"""What lies below a URL, by way of fsspec. The one module that imports it, and the one through which mcd opens a network.

Whatever a package raises here ends in a `Failure` with the URL and one line of what went wrong. Packages retry what may pass, as
they see fit. Listings and contents are asked for anew each time: what a store said before is not kept.
"""

from __future__ import annotations

import glob
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

import fsspec

from ..dsl.codes import sources as codes
from ..dsl.codes.sources import SOURCE_UNREADABLE
from ..dsl.diagnostics import Code, Failure
from ..dsl.remote import scheme_of
from ..dsl.source import DataPlace

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
_DEEP_FILES = sys.version_info >= (3, 13)
"""Whether `**` at the end of a pattern matches files, as it does for paths of this machine."""
_DENIED = (401, 403)
_MISSING = (404, 410)
_LONGEST = 200


class FsspecStore:
    """The `Store` of a URL that fsspec knows a file system for."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        """Raises ImportError where the package for the scheme is not installed."""
        self.url = url
        self._scheme = scheme_of(url)
        self._base = url if self._scheme in ("http", "https") else url.partition("://")[2]
        with self._telling():
            self._system = fsspec.filesystem(self._scheme, **_arguments(self._scheme, options))

    def expand(self, parts: tuple[str, ...]) -> Iterator[str]:
        """The paths of the files that a pattern matches, in no order. Folders are listed level by level, up to a `**`."""
        folders = [""]
        for at, part in enumerate(parts):
            last = at == len(parts) - 1
            if part == "**":
                for folder in folders:
                    yield from self._deep(folder, parts[at:])
                return
            if glob.has_magic(part):
                kind = "file" if last else "directory"
                listed = ((folder, name) for folder in folders for name in self._names(folder, kind))
                found = [
                    _joined(folder, self._sound(folder, name)) for folder, name in listed if fnmatchcase(name, part)
                ]
            else:
                found = [_joined(folder, part) for folder in folders]
                found = [path for path in found if self._is_file(path)] if last else found
            folders = found
        yield from folders

    def open(self, path: str, block: int) -> IO[bytes]:
        """A file to read from, which fetches `block` bytes at a time and reads ahead."""
        with self._telling(path):
            file = self._system.open(self._name(path), "rb", block_size=block, cache_type="readahead")
        return io.BufferedReader(_Stream(self, path, file), min(block, 1 << 20))

    def look(self, path: str) -> tuple[int, str]:
        """The size of a file in bytes, and its entity tag or when it was written, as far as the store tells."""
        with self._telling(path):
            info = self._system.info(self._name(path))
        if info["size"] is None:
            raise self._failure(codes.REMOTE_UNREACHABLE, path, "the server does not tell its size")
        return int(info["size"]), str(info.get("ETag") or info.get("LastModified") or "")

    def listed(self) -> dict[str, tuple[int, str]]:
        """Size and entity tag, empty where there is none, of every file, by path."""
        found = self._find("")
        return {path: (int(info["size"]), str(info.get("ETag", "")).strip('"')) for path, info in found.items()}

    def read(self, path: str) -> bytes | None:
        """The content of a file; None where there is none."""
        with self._telling(path):
            try:
                content: bytes = self._system.cat_file(self._name(path))
            except FileNotFoundError:
                return None
            return content

    def put(self, file: Path, path: str, part: int) -> None:
        """Put a file there: at once, or in parts of `part` bytes where it has two of them or more."""
        with self._telling(path):
            self._system.put_file(str(file), self._name(path), chunksize=part, max_concurrency=2)

    def create(self, path: str, content: bytes) -> bool:
        """Put a file there unless there is one, which `False` tells."""
        with self._telling(path):
            try:
                self._system.pipe_file(self._name(path), content, mode="create")
            except FileExistsError:
                return False
        return True

    def _is_file(self, path: str) -> bool:
        with self._telling(path):
            try:
                return bool(self._system.info(self._name(path))["type"] == "file")
            except FileNotFoundError as error:
                if _code(error) is not codes.REMOTE_MISSING:
                    raise
                return False

    def _names(self, folder: str, kind: str) -> Iterator[str]:
        """The names of what is in a folder, of one kind."""
        base = self._name(folder)
        with self._telling(folder):
            try:
                entries = self._system.ls(base, detail=True)
            except FileNotFoundError:
                entries = []
        for entry in entries:
            name = str(entry["name"]).removeprefix(base)
            if name.startswith("/") and entry["type"] == kind and (name != "/" or kind == "directory"):
                yield name[1:]

    def _deep(self, folder: str, pattern: Sequence[str]) -> Iterator[str]:
        """The files anywhere below a folder that a pattern matches from there on."""
        for path in self._find(folder):
            steps = path.split("/")
            if _matches(steps, pattern):
                yield _joined(folder, self._sound(folder, path))

    def _find(self, folder: str) -> dict[str, dict[str, Any]]:
        """What is known of every file below a folder, by its path from there."""
        base = self._name(folder)
        with self._telling(folder):
            try:
                found = self._system.find(base, detail=True)
            except FileNotFoundError:
                found = {}
        # An object whose name ends in `/` stands for a folder.
        return {
            str(name).removeprefix(base)[1:]: info
            for name, info in found.items()
            if info["type"] == "file" and str(name).startswith(f"{base}/") and not str(name).endswith("/")
        }

    def _sound(self, folder: str, path: str) -> str:
        """A path that was listed. Raises Failure where no file can have it, so that a copy of the folder would lack it."""
        if any(step in ("", ".", "..") or "\0" in step for step in path.split("/")):
            name = _joined(folder, path)
            raise self._failure(codes.REMOTE_KEY, "", f"the object `{name}` has a name that is no path of a file")
        return path

    def _name(self, path: str) -> str:
        """A path as the file system has it."""
        if self._scheme in ("http", "https"):
            path = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in path.encode())
        return _joined(self._base, path)

    @contextmanager
    def _telling(self, path: str = "") -> Iterator[None]:
        """Turns whatever a package raises into a Failure: what packages raise is of a hundred kinds, with no base in common."""
        try:
            yield
        except (Failure, ImportError):
            raise
        except Exception as error:
            code = _code(error)
            raise self._failure(code, path, _reason(code, error)) from error

    def _failure(self, code: Code, path: str, fact: str) -> Failure:
        url = _joined(self.url, path)
        return Failure(code.at(DataPlace(url), f"`{url}`: {fact}"))


class _Stream(io.RawIOBase):
    """A file of a store as a stream of bytes, which is never shorter than the store said."""

    def __init__(self, store: FsspecStore, path: str, file: Any) -> None:
        self._store, self._path, self._file = store, path, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._store._telling(self._path):
            read = self._file.read(len(buffer))
            at, size = self._file.tell(), self._file.size
        if not read and len(buffer) and size is not None and at < size:
            raise self._store._failure(codes.REMOTE_UNREACHABLE, self._path, f"ends after {at} of {size} bytes")
        buffer[: len(read)] = read
        return len(read)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._store._telling(self._path):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _arguments(scheme: str, options: dict[str, Any]) -> dict[str, Any]:
    """What fsspec is told, from the options of a project's table."""
    if scheme in ("http", "https"):
        return {"encoded": True, "use_listings_cache": False}
    arguments: dict[str, Any] = {name: options[name] for name in ("endpoint_url", "anon") if name in options}
    if "region" in options:
        arguments["client_kwargs"] = {"region_name": options["region"]}
    if "timeout" in options:
        arguments["config_kwargs"] = {"connect_timeout": options["timeout"], "read_timeout": options["timeout"]}
    return {**arguments, "use_listings_cache": False}


def _matches(steps: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path matches a pattern, in which `**` stands for any folders: in time of their product."""
    reached = {0}
    for at, step in enumerate(steps):
        folder = at < len(steps) - 1
        after = set[int]()
        for position in _through(reached, pattern):
            if pattern[position] == "**":
                after |= {position} if folder or _DEEP_FILES else set()
            elif fnmatchcase(step, pattern[position]):
                after.add(position + 1)
        reached = after
    return len(pattern) in reached or (_DEEP_FILES and pattern[-1] == "**" and len(pattern) - 1 in reached)


def _through(reached: set[int], pattern: Sequence[str]) -> Iterator[int]:
    """Where one may stand in a pattern, since `**` may stand for nothing."""
    for position in reached:
        while position < len(pattern):
            yield position
            if pattern[position] != "**":
                break
            position += 1


def _joined(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder and path else folder or path


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _code(error: Exception) -> Code:
    """Which of the codes an exception is, by what it was raised from as well: some packages call everything a missing file."""
    chain = list(_chain(error))
    statuses = [status for each in chain if isinstance(status := getattr(each, "status", None), int)]
    names = {kind.__name__ for each in chain for kind in type(each).__mro__}
    if any(status in _DENIED for status in statuses) or names & {"PermissionError", "NoCredentialsError"}:
        return codes.REMOTE_DENIED
    if any(type(each).__name__ == "FileExpired" for each in chain):
        return SOURCE_UNREADABLE
    if any(status in _MISSING for status in statuses):
        return codes.REMOTE_MISSING
    if isinstance(error, FileNotFoundError) and (error.__cause__ is None or hasattr(error.__cause__, "response")):
        return codes.REMOTE_MISSING
    return codes.REMOTE_UNREACHABLE


_REASONS = {codes.REMOTE_MISSING: "nothing is there", SOURCE_UNREADABLE: "changed while it was read"}


def _reason(code: Code, error: Exception) -> str:
    """A line about an exception, without the queries of URLs, which may hold signatures."""
    if code in _REASONS:
        return _REASONS[code]
    cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ is not None else error
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    words = " ".join(str(said).split()).split(" ")
    text = " ".join(word.partition("?")[0] if "://" in word else word for word in words) or type(cause).__name__
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return f"access denied: {text}" if code is codes.REMOTE_DENIED else f"the request failed: {text}"
