"""An output directory that appears complete or not at all.

A directory is built beside its target, under a hidden name, and its manifest is written last. Then the two swap their names, in
one step where the system has one, and the old directory is removed. Where it has none, the old directory is renamed aside first:
the target is missing for a moment, and whoever is stopped in it finds the old directory put back by the next `building`.

A directory that is being built is locked by its builder, so that what a stopped process left can be told from what a running one
is still writing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..manifest import ANCHORS_FILE, MANIFEST_FILE, MEASURES, PLAN_FILE, FileEntry, Manifest, entry_of
from ..plan import Frozen, Plan
from ..stored import Sealed, sealed
from . import disk
from .anchors import write_anchors


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A new directory to write into, which becomes `target` when the block ends without an exception.

    Whatever the block raises, `target` stays as it was. Raises Failure where `target` is neither absent, nor empty, nor a
    compiled dataset, where the new directory has no manifest, or where the file system refuses.
    """
    with replacing(target, check_target) as work:
        yield work
        if not (work / MANIFEST_FILE).is_file():
            raise ValueError(f"nothing wrote {MANIFEST_FILE} into {work}")


@contextmanager
def replacing(target: Path, check: Callable[[Path], None]) -> Iterator[Path]:
    """A new directory to write into, which becomes `target` when the block ends without an exception; else `target` stays as it
    was. `check` raises Failure where `target` may not be replaced, as this does where the file system refuses."""
    target = target.resolve()
    with refusals(target):
        disk.make(target.parent)
        recover(target)
        check(target)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        with disk.locked(work):
            yield work
            with refusals(target):
                work.chmod(0o777 & ~_umask())
                put_in_place(work, target)
    finally:
        disk.clear_away(work)


def stage_of(target: Path) -> Path:
    """The folder in which the dataset `target` is built, task by task."""
    return target.with_name(f".{target.name}.build")


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
                disk.rename(left, target)
            else:
                disk.clear_away(left)


def finish(work: Path, plan: Plan, anchors: Mapping[str, npt.NDArray[np.float32]], manifest: Manifest) -> Manifest:
    """Write the plan, the anchors and, last, the manifest, to whose `files` they are added. The shards are there already."""
    entries = [*manifest.files, _write_json(work / PLAN_FILE, plan)]
    if anchors:
        write_anchors(work / ANCHORS_FILE, dict(anchors))
        entries.append(entry_of(work / ANCHORS_FILE))
    whole = manifest.model_copy(update={"files": tuple(entries)})
    _write_json(work / MANIFEST_FILE, whole)
    return whole


def link_measures(directory: Path, work: Path) -> None:
    """Link what was measured on the shards of a dataset into the one that is being built of the same shards."""
    for path in sorted((directory / MEASURES).glob("[!.]*")):
        link(path, work / path.relative_to(directory))


def link(source: Path, target: Path) -> None:
    """Have the content of `source` under another name as well, in a folder that is made for it."""
    disk.make(target.parent)
    disk.link(source, target)


def json_text(value: Frozen) -> str:
    """A plan or a manifest as its file holds it, with the checksum of its own that a manifest has."""
    text = json.dumps(value.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return sealed(text) if isinstance(value, Sealed) else text


def _write_json(path: Path, value: Frozen) -> FileEntry:
    disk.write(path, json_text(value).encode())
    return entry_of(path)


def put_in_place(work: Path, target: Path) -> None:
    """Give the finished directory `work` the name `target`; what had it before is removed."""
    disk.sync_tree(work)
    if not target.exists():
        disk.rename(work, target)
        disk.sync(target.parent)
        return
    with disk.locked(target):  # whatever name it has, nobody else takes the old directory for one that is being built
        if disk.exchange(work, target):
            disk.sync(target.parent)
            disk.clear_away(work)
            return
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
        disk.rename(target, aside)
        try:
            disk.rename(work, target)
        except BaseException:
            disk.rename(aside, target)
            raise
        disk.sync(target.parent)
    disk.clear_away(aside)


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


ADVICE = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`)",
    errno.EACCES: "choose a directory that you may write to",
    errno.EPERM: "choose a directory that you may write to",
    errno.EROFS: "choose a directory on a file system that can be written to",
    errno.EIO: "the disk, or the way to it, is failing: the system's log says more",
}
"""What to do about an error of the file system."""


@contextmanager
def refusals(target: Path, kept: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Turns what the file system refuses into a Failure about `target`. `kept`: whether what was done by then is kept."""
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0)
        message = f"`{target.name}` cannot be written: {refusal(error, target.parent)}"
        if advice is not None and kept():
            advice += "; then compile again, which goes on from the tasks that are done"
        raise Failure(codes.OUTPUT_FAILED.at(DataPlace(str(target)), message, help=advice)) from None


def refusal(error: OSError, folder: Path) -> str:
    """What the file system said, and of which file, where that is below `folder`."""
    reason = error.strerror or str(error)
    file = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else folder
    return f"{reason}: `{file.relative_to(folder)}`" if folder in file.parents else reason
