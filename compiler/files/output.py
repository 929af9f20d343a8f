"""An output directory that appears complete or not at all.

A directory is built beside its target, under a hidden name, and its manifest is written last. Then the old directory is renamed
aside, the new one takes its name, and the old one is removed. Between the two renames, which nothing can join into one here,
the target is missing for a moment; whoever is stopped in it finds the old directory put back by the next `building`.

A directory that is being built is locked by its builder, so that what a stopped process left can be told from what a running one
is still writing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..manifest import ANCHORS_FILE, MANIFEST_FILE, MEASURES, PLAN_FILE, FileEntry, Manifest, file_digest
from ..plan import Frozen, Plan
from ..stored import Sealed, sealed
from .anchors import write_anchors


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A new directory to write into, which becomes `target` when the block ends without an exception.

    Whatever the block raises, `target` stays as it was. Raises Failure where `target` is neither absent, nor empty, nor a
    compiled dataset, where the new directory has no manifest, or where the file system refuses.
    """
    target = target.resolve()
    with _refusals(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        recover(target)
        check_target(target)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        with _locked(work):
            yield work
            if not (work / MANIFEST_FILE).is_file():
                raise ValueError(f"nothing wrote {MANIFEST_FILE} into {work}")
            with _refusals(target):
                _sync_tree(work)
                work.chmod(0o777 & ~_umask())
                _swap(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_target(target: Path) -> None:
    """Raises Failure where `target` holds something that no compilation wrote."""
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir() or (any(target.iterdir()) and not (target / MANIFEST_FILE).is_file()):
        message = f"`{target.name}` is there, and is no compiled dataset"
        help = "choose another directory, or remove this one"
        raise Failure(codes.OUTPUT_FOREIGN.at(DataPlace(str(target)), message, help=help))


def recover(target: Path) -> None:
    """Undo what a stopped process left beside `target`: put the old directory back where it is missing, remove the rest."""
    for kind in ("old", "new"):
        for left in sorted(target.parent.glob(f".{_escaped(target.name)}.{kind}-*")):
            if not _abandoned(left):
                continue
            if kind == "old" and not target.exists():
                left.rename(target)
            else:
                shutil.rmtree(left, ignore_errors=True)


def finish(work: Path, plan: Plan, anchors: Mapping[str, npt.NDArray[np.float32]], manifest: Manifest) -> Manifest:
    """Write the plan, the anchors and, last, the manifest, whose `files` are filled in here. The shards are there already."""
    entries = [_write_json(work / PLAN_FILE, plan)]
    if anchors:
        write_anchors(work / ANCHORS_FILE, dict(anchors))
        (work / ANCHORS_FILE).chmod(0o666 & ~_umask())  # the library leaves it to its owner alone
        entries.append(_entry(work / ANCHORS_FILE))
    whole = manifest.model_copy(update={"files": tuple(entries)})
    _write_json(work / MANIFEST_FILE, whole)
    return whole


def replace_plan(
    directory: Path, plan: Plan, anchors: Mapping[str, npt.NDArray[np.float32]], manifest: Manifest
) -> Manifest:
    """Give a dataset another plan. Its shards, and what was measured on them, are kept: they are linked into the new directory,
    not copied."""
    with building(directory) as work:
        keep_shards(directory, work, manifest)
        return finish(work, plan, anchors, manifest)


def keep_shards(directory: Path, work: Path, manifest: Manifest) -> None:
    """Link the shards of a dataset, and what was measured on them, into the one that is being built."""
    measured = [path.relative_to(directory).as_posix() for path in sorted((directory / MEASURES).glob("[!.]*"))]
    for path in [*(shard.path for shard in manifest.shards), *measured]:
        link(directory / path, work / path)


def link(source: Path, target: Path) -> None:
    """Have the content of `source` under another name as well, in a folder that is made for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def json_text(value: Frozen) -> str:
    """A plan or a manifest as its file holds it, with the checksum of its own that a manifest has."""
    text = json.dumps(value.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return sealed(text) if isinstance(value, Sealed) else text


def _write_json(path: Path, value: Frozen) -> FileEntry:
    path.write_text(json_text(value), encoding="utf-8", newline="\n")
    return _entry(path)


def _entry(path: Path) -> FileEntry:
    digest, size = file_digest(path)
    return FileEntry(path=path.name, bytes=size, sha256=digest)


def _swap(work: Path, target: Path) -> None:
    if not target.exists():
        work.rename(target)
    else:
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
        with _locked(target):
            target.rename(aside)
            try:
                work.rename(target)
            except BaseException:
                aside.rename(target)
                raise
        shutil.rmtree(aside, ignore_errors=True)
    _sync(target.parent)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Holds the lock of a directory, wherever it is renamed to."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _abandoned(directory: Path) -> bool:
    """Whether no running process holds the directory's lock."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))


def _sync(path: Path) -> None:
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


def _escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


@contextmanager
def _refusals(target: Path) -> Iterator[None]:
    """Turns what the file system refuses into a Failure about `target`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"`{target.name}` cannot be written: {reason}"
        raise Failure(codes.OUTPUT_FAILED.at(DataPlace(str(target)), message)) from None
