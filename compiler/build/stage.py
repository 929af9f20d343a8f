"""The folder in which a dataset is built: `.NAME.build`, beside its target.

Tasks put their shards there, each under its final name, and then say that they are done. A process that is stopped at any moment
leaves whole shards behind, and the next one goes on from there. Array jobs share the folder; whoever puts the dataset together
has it alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..files import disk
from ..files.shards import shard_path
from ..files.output import check_target, link, put_in_place, recover, refusals
from ..manifest import file_digest
from ..plan import Digest
from .finished import TASKS_FILE, TASKS_FOLDER, Finished, finished_in, line
from .tasks import Unit


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder in which the dataset `target` is built. `root`: the folder."""

    root: Path
    target: Path

    def note(self, done: Finished) -> None:
        """Say that a task is done. Its shards are there."""
        path = self.root / TASKS_FOLDER / f"{done.number:05}.json"
        with refusals(self.target):
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.write(path, line(done).encode())

    def finished(self, units: Iterable[Unit]) -> dict[int, Finished]:
        """Which of `units` are done here, by number: those whose shards are there and are what they were."""
        wanted = {(unit.number, unit.key) for unit in units}
        found = (done for done in finished_in(self.root) if (done.number, done.key) in wanted)
        return {done.number: done for done in found if whole(done, self.root)}

    def take(self, units: Iterable[Unit], usable: Mapping[Digest, Finished]) -> dict[int, Finished]:
        """Link here what the target has of `units`, whatever number it has there. `usable`: what it says it has, by key."""
        taken: dict[int, Finished] = {}
        for unit in units:
            done = usable.get(unit.key)
            if done is None or not whole(done, self.target):
                continue
            moved = _renumbered(done, unit.number)
            with refusals(self.target):
                for old, new in zip(done.shards, moved.shards, strict=True):
                    (self.root / new.path).unlink(missing_ok=True)
                    link(self.target / old.path, self.root / new.path)
            self.note(moved)
            taken[unit.number] = moved
        return taken

    def clear(self, kept: Iterable[Finished]) -> None:
        """Remove all that is not of the tasks `kept`. Only for whoever has the folder alone."""
        names = {shard.path for done in kept for shard in done.shards}
        names |= {f"{TASKS_FOLDER}/{done.number:05}.json" for done in kept}
        with refusals(self.target):
            for folder, _, files in os.walk(self.root, topdown=False):
                for name in files:
                    path = Path(folder, name)
                    if path.relative_to(self.root).as_posix() not in names:
                        path.unlink()
                if Path(folder) != self.root:
                    with suppress(OSError):  # still in use
                        Path(folder).rmdir()

    def gather(self, tasks: Mapping[int, Finished]) -> None:
        """Have the folder say in one file what its tasks say one by one."""
        with refusals(self.target):
            disk.write(self.root / TASKS_FILE, "".join(line(tasks[number]) for number in sorted(tasks)).encode())
            shutil.rmtree(self.root / TASKS_FOLDER)

    def publish(self) -> None:
        """Give the folder the name of its target. It is complete."""
        with refusals(self.target):
            put_in_place(self.root, self.target)

    def drop(self) -> None:
        """Remove the folder, unless it holds a task that is done."""
        if next(finished_in(self.root), None) is None:
            disk.remove(self.root)


@contextmanager
def staged(target: Path, *, shared: bool = False) -> Iterator[Stage]:
    """The stage of `target`, which nobody else has meanwhile; with `shared`, others who share it may.

    Raises Failure where somebody else has it, where `target` holds something that no compilation wrote, or where the file system
    refuses.
    """
    target = target.resolve()
    root = target.with_name(f".{target.name}.build")
    with refusals(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        recover(target)
        check_target(target)
        handle = _lock(root, target, shared)
    try:
        yield Stage(root, target)
    finally:
        os.close(handle)


def whole(done: Finished, folder: Path) -> bool:
    """Whether the shards of a task are in `folder`, and are what they were."""
    try:
        return all(file_digest(folder / shard.path) == (shard.sha256, shard.bytes) for shard in done.shards)
    except OSError:
        return False


def _renumbered(done: Finished, number: int) -> Finished:
    shards = tuple(shard.model_copy(update={"path": shard_path(shard.split, number)}) for shard in done.shards)
    return done.model_copy(update={"number": number, "shards": shards})


def _lock(root: Path, target: Path, shared: bool) -> int:
    """A handle that holds the lock of `root`, which is made where it is missing."""
    while True:
        root.mkdir(exist_ok=True)
        handle = os.open(root, os.O_RDONLY)
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), root.stat()):
                return handle
        except BlockingIOError:
            os.close(handle)
            message = f"`{target.name}` is being compiled by another process"
            help = "wait until it has ended, or choose another directory"
            raise Failure(codes.OUTPUT_BUSY.at(DataPlace(str(target)), message, help=help)) from None
        except FileNotFoundError:
            pass
        os.close(handle)  # the folder has become the dataset, or was removed, since it was opened
