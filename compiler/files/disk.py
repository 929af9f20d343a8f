"""Every step by which a file or a folder gets its content and its name, in one place.

A file is written under a name of its own, flushed to the disk, and renamed. Whatever stops a process, a name never stands for
half a file. `reached` is called before and after each step, so that a test can stop a process at any of them or have the step
fail, and `create` opens every file that is written, so that a test can have a write fail in its middle. An error of the file
system names the file that it is about, by the name that the file is to have.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV}
UNFINISHED = ".part"
"""The ending of a file that is not finished."""


def reached(step: str, path: Path) -> None:
    """Called with `before ` or `after ` and a step: `make` (a folder), `write`, `sync`, `rename`, `link`, `exchange`, `erase`
    (a file), `remove` (a folder). Does nothing."""


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Has an error of the file system name `path`, whatever name it was met under."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def make(folder: Path) -> None:
    """Have a folder, with those that it is in."""
    if not folder.is_dir():
        with about(folder):
            reached("before make", folder)
            folder.mkdir(parents=True, exist_ok=True)
            reached("after make", folder)


def create(path: Path) -> BinaryIO:
    """A new file to write into, under a name that stands for nothing yet."""
    return path.open("wb")


def temporary(path: Path) -> Path:
    """A name beside `path` that no other process takes."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}")


def write(path: Path, content: bytes) -> None:
    """Give `path` this content, all at once. Raises OSError, and then leaves what was there."""
    with _new(path) as file:
        file.write(content)


def copy(source: Path, target: Path) -> None:
    """Give `target` the content of `source`, all at once. Raises OSError, and then leaves what was there."""
    with source.open("rb") as content, _new(target) as file:
        shutil.copyfileobj(content, file)


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which is `path` when the block ends well."""
    part = temporary(path)
    with about(path):
        try:
            reached("before write", path)
            with create(part) as file:
                yield file
                flush(file, path)
            rename(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        sync(path.parent)


def flush(file: BinaryIO, path: Path) -> None:
    """Have what was written to `file`, which will be `path`, outlast a loss of power."""
    with about(path):
        file.flush()
        reached("after write", path)
        reached("before sync", path)
        os.fsync(file.fileno())
        reached("after sync", path)


def rename(old: Path, new: Path) -> None:
    """Give a file or a folder another name, in one step."""
    with about(new):
        reached("before rename", new)
        old.replace(new)
        reached("after rename", new)


def link(source: Path, target: Path) -> None:
    """Have the content of `source` under another name as well; a copy where the file system has no links."""
    try:
        reached("before link", target)
        os.link(source, target)
        reached("after link", target)
    except OSError:
        copy(source, target)


def exchange(one: Path, other: Path) -> bool:
    """Have two folders swap their names, in one step. False where the system has no such step, and then nothing is done."""
    swap = _swap()
    if swap is None:
        return False
    with about(other):
        reached("before exchange", other)
        if swap(os.fsencode(one), os.fsencode(other)) != 0:
            code = ctypes.get_errno()
            if code in _CANNOT:
                return False
            raise OSError(code, os.strerror(code))
        reached("after exchange", other)
    return True


def erase(path: Path) -> None:
    """Remove a file, if it is there."""
    with about(path):
        reached("before erase", path)
        path.unlink(missing_ok=True)
        reached("after erase", path)


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it."""
    with about(folder):
        reached("before remove", folder)
        shutil.rmtree(folder)
        reached("after remove", folder)


def clear_away(folder: Path) -> None:
    """Remove what nobody needs any more, as far as the system lets it."""
    with suppress(OSError):
        reached("before remove", folder)
        shutil.rmtree(folder, ignore_errors=True)
        reached("after remove", folder)


def sync(folder: Path) -> None:
    """Have the names in a folder outlast a loss of power, where the file system can promise that."""
    with suppress(OSError):
        reached("before sync", folder)
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        reached("after sync", folder)


def sync_tree(root: Path) -> None:
    """Have a folder and all below it outlast a loss of power."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file or folder that is there, wherever it is renamed to. Waits for whoever has it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


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
