"""Files that the manifest lists, held against what was written before anything of them is used."""

from __future__ import annotations

from pathlib import Path
from stat import S_ISREG
from typing import Literal

from ...dsl.codes import shards as codes
from ..manifest import FileEntry, file_digest
from ..stored import failure

Verify = Literal["digest", "size"]
AGAIN = "copy it again, or compile again"


def check_file(directory: Path, entry: FileEntry, verify: Verify) -> Path:
    """The file behind an entry of the manifest, once it is what was written.

    Raises Failure where it is not there, lies elsewhere behind a link, is no file, or has another size or content; the content is
    read for `verify="digest"` alone.
    """
    file = directory / entry.path
    try:
        found = file.stat()
        if not file.resolve().is_relative_to(directory.resolve()):
            message = f"`{entry.path}` is a link to a file outside of the dataset"
            raise failure(codes.FILE_OUTSIDE, entry.path, message, "copy the file itself")
        if not S_ISREG(found.st_mode):
            raise failure(codes.NOT_READABLE, entry.path, f"`{entry.path}` is no file")
        if found.st_size != entry.bytes:
            message = f"`{entry.path}` has {found.st_size} bytes; {entry.bytes} were written"
            raise failure(codes.FILE_SIZE, entry.path, message, AGAIN)
        if verify == "digest" and file_digest(file)[0] != entry.sha256:
            message = f"`{entry.path}` is not what was written: its SHA-256 differs from the manifest's"
            raise failure(codes.FILE_DIGEST, entry.path, message, AGAIN)
    except OSError as error:
        message = f"`{entry.path}`, which the manifest lists, cannot be read: {error.strerror}"
        raise failure(codes.FILE_MISSING, entry.path, message) from None
    return file
