"""Files that cannot be what a source takes them for: pipes and devices, compressed files, other encodings."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from itertools import chain

from ...dsl.codes.sources import FOREIGN_CONTENT, SOURCE_UNREADABLE
from ...dsl.diagnostics import Failure
from ..remote import location
from .base import Origin, reading
from .files import look

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_COMPRESSED = "unpack it, since no source is unpacked while compiling"
_CONTENTS: dict[bytes, tuple[str, str]] = {
    b"\x1f\x8b": ("compressed by gzip", _COMPRESSED),
    b"PK\x03\x04": ("a zip archive", _COMPRESSED),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", _COMPRESSED),
    b"BZh": ("compressed by bzip2", _COMPRESSED),
    b"\xfd7zXZ": ("compressed by xz", _COMPRESSED),
    b"\xff\xfe": ("in UTF-16 or UTF-32", "write it as UTF-8"),
    b"\xfe\xff": ("in UTF-16", "write it as UTF-8"),
    b"PAR1": ("a Parquet file", "declare it as `parquet(...)`"),
    b"ARROW1": ("an Arrow file", "declare it as `arrow(...)`"),
}
"""What the first bytes of a file say that is none of lines."""
_ENOUGH = max(map(len, _CONTENTS))


def file_size(origin: Origin) -> int:
    """The size of the file, which is held to be one: whoever opens a pipe waits, and a device may never end."""
    with reading(origin):
        if location(origin.source, origin.file) is not None:
            return look(origin.source, origin.file).size
        found = origin.file.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise Failure(origin.at(SOURCE_UNREADABLE, f"cannot be read: it is {kind}, where a file is expected"))
    return found.st_size


def lines_expected(origin: Origin, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks of a file of lines in UTF-8, once its first bytes say nothing else. Raises Failure where they do."""
    head = b""
    while len(head) < _ENOUGH and (block := next(blocks, b"")):
        head += block
    for begin, (fact, help) in _CONTENTS.items():
        if head.startswith(begin):
            raise Failure(origin.at(FOREIGN_CONTENT, f"{fact}, where {origin.source.format} is expected", help=help))
    return chain([head] if head else [], blocks)
