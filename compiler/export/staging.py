"""A directory that appears complete or not at all, for exports.

It is written beside its target under a hidden name, synced, and renamed. What a stopped process left there is told from what a
running one writes by a lock, and cleaned up by the next export to the same target.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..manifest import EXPORTED, MANIFEST_FILE

CARD = "README.md"
CROISSANT = "croissant.json"
DATA = "data"
PARTS = {CARD, CROISSANT, DATA, EXPORTED}
"""All that an export holds at its top."""

_OLD = ".old"


@contextmanager
def staged(target: Path, overwrite: bool) -> Iterator[Path]:
    """A new directory to write into, which becomes `target` when the block ends without an exception.

    Whatever the block raises, `target` stays as it was. Raises Failure where it is there (but for an export that `overwrite` lets
    it replace), and where the file system refuses.
    """
    target = target.resolve()
    with refusals(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _clean(target)
        _check(target, overwrite)
        work = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    lock = os.open(work, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with refusals(target):
            yield work
            _sync(work)
            work.chmod(0o777 & ~_umask())
            _swap(work, target)
    finally:
        os.close(lock)
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def refusals(target: Path) -> Iterator[None]:
    """Turns what the file system refuses into a Failure about `target`."""
    try:
        yield
    except OSError as error:
        message = f"`{target.name}` cannot be written: {error.strerror or error}"
        raise Failure(codes.OUTPUT_FAILED.at(DataPlace(str(target)), message)) from None


def _check(target: Path, overwrite: bool) -> None:
    if not target.exists() and not target.is_symlink():
        return
    held = {path.name for path in target.iterdir()} if target.is_dir() else {target.name}
    exported = held <= PARTS and (target / EXPORTED / MANIFEST_FILE).is_file()
    if not held or (exported and overwrite):
        return
    what = "an export" if exported else "no export alone"
    help = "`--overwrite` replaces it" if exported else "choose another directory, or remove this one"
    raise Failure(codes.EXPORT_EXISTS.at(DataPlace(str(target)), f"`{target.name}` is there, and is {what}", help=help))


def _swap(work: Path, target: Path) -> None:
    aside = work.with_name(work.name + _OLD)
    if target.exists():
        target.rename(aside)
    try:
        work.rename(target)
    except BaseException:
        if aside.exists():
            aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)
    _flush(target.parent)


def _clean(target: Path) -> None:
    """Undo what stopped processes left beside `target`: put back what one had moved aside, remove the rest."""
    for left in sorted(path for path in target.parent.iterdir() if path.name.startswith(_prefix(target))):
        if left.name.endswith(_OLD) and not target.exists():
            left.rename(target)
        elif _abandoned(left):
            shutil.rmtree(left, ignore_errors=True)


def _prefix(target: Path) -> str:
    return f".{target.name}.export-"


def _abandoned(directory: Path) -> bool:
    """Whether no running process holds the directory's lock."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _sync(root: Path) -> None:
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            _flush(Path(folder, name))
        _flush(Path(folder))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot flush a directory
            os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
