"""How a file of a source is opened: from the project, or from the URL that stands for its folder."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from ...dsl import checked
from ..remote import location
from .base import Origin

AHEAD = 8 << 20
"""Bytes fetched at a time from a URL by who reads from one end to the other."""
AROUND = 1 << 20
"""Bytes fetched at a time by who reads here and there."""


class Look(NamedTuple):
    """How a file looks from outside: its size in bytes, and a word that changes when it is written, as far as that shows."""

    size: int
    written: str


def look(source: checked.Source, file: Path) -> Look:
    """How a file of a source looks. It may be another one and look the same: content decides."""
    found = location(source, file)
    if found is None:
        state = file.stat()
        return Look(state.st_size, str(state.st_mtime_ns))
    store, path = found
    return Look(*store.look(path))


def open_file(origin: Origin) -> IO[bytes]:
    """The bytes of a file, to be read in order from some place on."""
    found = location(origin.source, origin.file)
    return origin.file.open("rb") if found is None else found[0].open(found[1], AHEAD)


def arrow_file(origin: Origin) -> pa.NativeFile:
    """A file for pyarrow, which reads here and there."""
    found = location(origin.source, origin.file)
    return pa.OSFile(str(origin.file)) if found is None else pa.PythonFile(found[0].open(found[1], AROUND), "r")


def csv_file(origin: Origin) -> Any:
    """A file for pyarrow's reader of csv, which knows one in the project by its path."""
    return origin.file if location(origin.source, origin.file) is None else open_file(origin)
