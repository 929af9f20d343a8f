"""Every step by which a file or a folder gets its content and its name, in one place.

A file is written under a name of its own, flushed to the disk, and renamed. Whatever stops a process, a name never stands for
half a file. `reached` is called before and after each step, so that a test can stop a process at any of them, and `create` opens
every file that is written, so that a test can make any write fail.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV}
UNFINISHED = ".part"
"""The ending of a file that is not finished."""


def reached(step: str, path: Path) -> None:
    """Called with `before ` or `after ` and a step (`write`, `sync`, `rename`, `exchange`, `remove`). Does nothing."""


def create(path: Path) -> BinaryIO:
    """A new file to write into, under a name that stands for nothing yet."""
    return path.open("wb")


def temporary(path: Path) -> Path:
    """A name beside `path` that no other process takes."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")


def write(path: Path, content: bytes) -> None:
    """Give `path` this content, all at once. Raises OSError, and then leaves what was there."""
    part = temporary(path)
    try:
        reached("before write", path)
        with create(part) as file:
            file.write(content)
            flush(file, path)
        rename(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def flush(file: BinaryIO, path: Path) -> None:
    """Have what was written to `file`, which will be `path`, outlast a loss of power."""
    file.flush()
    reached("before sync", path)
    os.fsync(file.fileno())
    reached("after sync", path)


def rename(old: Path, new: Path) -> None:
    """Give a file or a folder another name, in one step."""
    reached("before rename", new)
    old.replace(new)
    reached("after rename", new)


def exchange(one: Path, other: Path) -> bool:
    """Have two folders swap their names, in one step. False where the system has no such step, and then nothing is done."""
    swap = _swap()
    if swap is None:
        return False
    reached("before exchange", other)
    if swap(os.fsencode(one), os.fsencode(other)) != 0:
        code = ctypes.get_errno()
        if code in _CANNOT:
            return False
        raise OSError(code, os.strerror(code), str(one))
    reached("after exchange", other)
    return True


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as the system lets it."""
    reached("before remove", folder)
    shutil.rmtree(folder, ignore_errors=True)
    reached("after remove", folder)


def sync(folder: Path) -> None:
    """Have the names in a folder outlast a loss of power, where the file system can promise that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(root: Path) -> None:
    """Have a folder and all below it outlast a loss of power."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))


def _swap() -> Callable[[bytes, bytes], int] | None:
    """`swap(one, other)` of the C library, 0 where it worked."""
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        function = getattr(library, "renamex_np", None)
        return None if function is None else lambda one, other: function(one, other, _RENAME_EXCHANGE)
    function = getattr(library, "renameat2", None)
    if function is None:
        return None
    return lambda one, other: function(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE)
