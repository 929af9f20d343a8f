"""A dataset below a URL: written once, complete as soon as its manifest is there.

A store of objects renames nothing, and takes each object whole or not at all. So shards are put first, the other files then,
and the manifest last, and only where there is none. Whoever is stopped in between goes on with the next call: what lies there
with the right size and checksum stays. Two that put the same dataset there at once do each other no harm; two that put different
ones find out, since all is looked at once more before the manifest, and a reader compares every file with the manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...dsl.codes import project as codes
from ...dsl.codes.shards import FILE_DIGEST, FILE_MISSING, NOT_READABLE
from ...dsl.diagnostics import Code, Failure
from ...dsl.remote import SCHEMES, url_fault
from ...dsl.source import DataPlace
from ..manifest import MANIFEST_FILE, read_manifest
from ..remote import Store, store_of

PART = 32 << 20
"""Bytes of a part of a large object, in which it is put and its checksum is made."""
_BLOCK = 1 << 20
_SHOWN = 3

Report = Callable[[int, int], None]
"""Called after every file with the number of files done and in all."""


@dataclass(frozen=True, slots=True)
class _Local:
    """A file by its content: its size, its SHA-256, and the entity tag that a store gives it which makes them of MD5."""

    size: int
    sha256: str
    tag: str

    def is_at(self, found: tuple[int, str] | None) -> bool:
        """Whether an object is certain to be this file."""
        return found == (self.size, self.tag)


def upload(
    directory: Path,
    url: str,
    options: tuple[tuple[str, str | float], ...] = (),
    report: Report = lambda done, total: None,
) -> bool:
    """Put the dataset of `directory` below `url`; whether anything was left to put. `options`: those of a `Remote`.

    Raises Failure where the directory holds no whole dataset, where something else lies below the URL, and where the store
    refuses.
    """
    check_url(url)
    url = url.removesuffix("/")
    manifest, files = _read(directory)
    store = store_of(url, options)
    if _is_there(store, url, manifest):
        return False
    found = store.listed()
    _refuse_others(url, found, files)
    for done, (path, file) in enumerate(files.items(), 1):
        if not file.is_at(found.get(path)):
            store.put(directory / path, path, PART)
        report(done, len(files))
    _check(url, store.listed(), files)
    if not store.create(MANIFEST_FILE, manifest):
        _is_there(store, url, manifest)
    return True


def check_url(url: str) -> None:
    """Raises Failure where no dataset can be put at a URL."""
    written = {name: scheme for name, scheme in SCHEMES.items() if scheme.written}
    if (fault := url_fault(url, written)) is not None:
        code, message = fault
        raise Failure(code.at(None, f"the output: {message}"))


def _is_there(store: Store, url: str, manifest: bytes) -> bool:
    """Whether this dataset is complete below the URL. Raises Failure where another one is."""
    found = store.read(MANIFEST_FILE)
    if found is not None and found != manifest:
        raise _taken(url, "another dataset lies there, and one below a URL is written once")
    return found is not None


def _refuse_others(url: str, found: Mapping[str, object], files: Mapping[str, _Local]) -> None:
    others = sorted(set(found) - set(files) - {MANIFEST_FILE})
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        raise _taken(url, f"it holds `{'`, `'.join(others[:_SHOWN])}`{more}, which this dataset does not have")


def _taken(url: str, fact: str) -> Failure:
    return Failure(codes.REMOTE_TAKEN.at(DataPlace(url), f"`{url}`: {fact}", help="choose another URL"))


def _check(url: str, found: Mapping[str, tuple[int, str]], files: Mapping[str, _Local]) -> None:
    """Look at everything once more. Entity tags count where the store is seen to make them of MD5: not all that encrypt do."""
    _refuse_others(url, found, files)
    tags = any(file.is_at(found.get(path)) for path, file in files.items())
    for path, file in files.items():
        size, tag = found.get(path, (None, ""))
        if size != file.size or (tags and tag != file.tag):
            fact = "is gone" if size is None else f"has {size} bytes of other content, expected {file.size}"
            if size not in (None, file.size):
                fact = f"has {size} bytes, expected {file.size}"
            help = "something else writes there: choose another URL, or run this again"
            raise Failure(codes.REMOTE_DIFFERS.at(DataPlace(f"{url}/{path}"), f"`{url}/{path}` {fact}", help=help))


# --- the directory -----------------------------------------------------------------------------------------------------------


def _read(directory: Path) -> tuple[bytes, dict[str, _Local]]:
    """The manifest, and all other files in the order in which they are put. Every byte is read, for the manifest's digests."""
    manifest = read_manifest(directory)
    text = (directory / MANIFEST_FILE).read_bytes()
    shards = {shard.path for shard in manifest.shards}
    paths = sorted(_paths(directory), key=lambda path: (path not in shards, path))
    files = {path: _local(directory, path) for path in paths}
    for entry in manifest.entries():
        file = files.get(entry.path)
        if file is None:
            raise _broken(
                FILE_MISSING, directory / entry.path, f"`{entry.path}`, which the manifest lists, is not there"
            )
        if (file.size, file.sha256) != (entry.bytes, entry.sha256):
            raise _broken(FILE_DIGEST, directory / entry.path, f"`{entry.path}` is not what the manifest says")
    return text, files


def _paths(directory: Path) -> Iterator[str]:
    """The files of a dataset but for its manifest. Hidden ones are of who is writing them, and links lead elsewhere."""
    for path in directory.rglob("*"):
        name = path.relative_to(directory)
        hidden = any(step.startswith(".") for step in name.parts)
        if path.is_file() and not path.is_symlink() and not hidden and str(name) != MANIFEST_FILE:
            yield name.as_posix()


def _local(directory: Path, path: str) -> _Local:
    digest, plain, parts, size = hashlib.sha256(), _md5(), list[bytes](), 0
    part = _md5()
    try:
        with (directory / path).open("rb") as file:
            while block := file.read(_BLOCK):
                if size and size % PART == 0:
                    parts.append(part.digest())
                    part = _md5()
                for each in (digest, plain, part):
                    each.update(block)
                size += len(block)
    except OSError as error:
        message = f"`{path}` cannot be read: {error.strerror}"
        raise _broken(NOT_READABLE, directory / path, message) from None
    parts.append(part.digest())
    # The tag of what was put in parts is a digest of their digests.
    whole = plain.hexdigest() if size < 2 * PART else f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"
    return _Local(size, digest.hexdigest(), whole)


_md5 = partial(hashlib.md5, usedforsecurity=False)


def _broken(code: Code, path: Path, message: str) -> Failure:
    return Failure(code.at(DataPlace(str(path)), message))
