"""How a file of a source is opened: from the project, or from the URL that stands for its folder."""

from __future__ import annotations

from typing import IO, Any

import pyarrow as pa

from ..remote import location
from .base import Origin

AHEAD = 8 << 20
"""Bytes fetched at a time from a URL by who reads from one end to the other."""
AROUND = 1 << 20
"""Bytes fetched at a time by who reads here and there."""


def open_file(origin: Origin) -> IO[bytes]:
    """The bytes of a file, to be read in order from some place on."""
    found = location(origin.source, origin.file)
    return origin.file.open("rb") if found is None else found[0].open(found[1], AHEAD)


def arrow_input(origin: Origin, block: int = AROUND) -> Any:
    """What pyarrow's readers take for a file."""
    found = location(origin.source, origin.file)
    return str(origin.file) if found is None else found[0].open(found[1], block)


def arrow_bytes(origin: Origin) -> pa.NativeFile:
    """A file as pyarrow's own: memory-mapped where it lies in the project."""
    found = location(origin.source, origin.file)
    return pa.memory_map(str(origin.file)) if found is None else pa.PythonFile(found[0].open(found[1], AROUND), "r")


def file_size(origin: Origin) -> int:
    """The size of a file in bytes."""
    found = location(origin.source, origin.file)
    return origin.file.stat().st_size if found is None else found[0].size(found[1])
