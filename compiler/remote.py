"""From a program's remote folders to what lies at their URLs. Opens no network itself, and imports nothing that does: `store.py`
comes in when a URL is first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import IO, Protocol

from ..dsl import checked as c
from ..dsl.check.files import MAX_DATA_FILES
from ..dsl.codes import sources as codes
from ..dsl.codes.names import TOO_MANY_FILES
from ..dsl.diagnostics import Diagnostic, Failure, Findings
from ..dsl.remote import SCHEMES, scheme_of
from ..dsl.source import DataPlace

EXTRA = "pip install 'mcd-lang[remote]'"


class Store(Protocol):
    """What lies below a URL. Paths are relative to it, with `/`. Every method raises Failure with the URL in it."""

    def expand(self, parts: tuple[str, ...]) -> Iterator[str]:
        """The paths of the files that a pattern matches, in no order."""

    def open(self, path: str, block: int) -> IO[bytes]:
        """A file to read from, which fetches `block` bytes at a time."""

    def look(self, path: str) -> tuple[int, str]:
        """The size of a file in bytes, and its entity tag or when it was written, as far as the store tells."""

    def listed(self) -> dict[str, tuple[int, str]]:
        """Size and entity tag of every file."""

    def read(self, path: str) -> bytes | None:
        """The content of a file; None where there is none."""

    def put(self, file: Path, path: str, part: int) -> None:
        """Put a file there, in parts of `part` bytes where it has two of them or more."""

    def create(self, path: str, content: bytes) -> bool:
        """Put a file there unless there is one, which `False` tells."""


def store_of(url: str, options: tuple[tuple[str, str | float], ...] = ()) -> Store:
    """What lies below a URL. Raises Failure where a package that reads it is not installed."""
    scheme = scheme_of(url)
    try:
        module = import_module(".store", __package__)
        store: Store = module.FsspecStore(url, dict(options))
    except ImportError:
        package = SCHEMES[scheme].package
        message = f"`{url}` is read by the package `{package}`, which is not installed"
        help = EXTRA if scheme == "s3" else f"pip install fsspec {package}"
        raise Failure(codes.REMOTE_PACKAGE.at(DataPlace(url), message, help=help)) from None
    return store


def location(source: c.Source, file: Path) -> tuple[Store, str] | None:
    """Where a file of a source is read from, and its path there; None for one that lies in the project."""
    remote = source.remote(file)
    if remote is None:
        return None
    return store_of(remote.url, remote.options), file.relative_to(remote.folder).as_posix()


def looked_up(program: c.Program) -> c.Program:
    """The program with the files that patterns below remote folders match at the URLs of these, and there alone.

    What a copy in the project holds of such a folder is not read. Raises Failure with everything that is wrong.
    """
    findings = Findings()
    sources = tuple(_looked_up(source, findings) if source.patterns else source for source in program.sources)
    if findings.failed:
        raise Failure(*findings.items)
    return replace(program, sources=sources)


def _looked_up(source: c.Source, findings: Findings) -> c.Source:
    folders = {pattern.remote.folder: pattern.remote for pattern in source.patterns}
    found = {file for file in source.files if not any(file.is_relative_to(folder) for folder in folders)}
    for pattern in source.patterns:
        try:
            found.update(_matches(pattern))
        except Failure as failure:
            findings.items.extend(failure.diagnostics)
    return replace(source, files=tuple(sorted(found)), patterns=(), remotes=tuple(folders.values()))


def _matches(pattern: c.RemotePattern) -> set[Path]:
    remote = pattern.remote
    found: set[Path] = set()
    for path in store_of(remote.url, remote.options).expand(pattern.parts):
        found.add(remote.folder / path)
        if len(found) > MAX_DATA_FILES:
            message = f"`{pattern.written}` matches more than {MAX_DATA_FILES} files below `{remote.url}`"
            raise Failure(TOO_MANY_FILES.at(pattern.place, message))
    if not found:
        message = f"`{pattern.written}` matches no file below `{remote.url}`"
        raise Failure(codes.REMOTE_MISSING.at(pattern.place, message))
    return found


def not_here(source: c.Source) -> list[Diagnostic]:
    """What is to be said of a source whose remote folders were not looked up, and of which no copy is in the project."""
    return [
        codes.REMOTE_NOT_READ.at(
            pattern.place,
            f"`{pattern.written}` matches no file here, and lies below `{pattern.remote.url}`, which may not be read",
            help="pass `--allow-remote`, or put a copy where the project has it",
        )
        for pattern in source.patterns
        if not pattern.here
    ]
