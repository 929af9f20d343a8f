"""The folder in which a dataset is built: `.NAME.build`, beside its target.

Tasks put their shards there, each under its final name, and then say that they are done. A process that is stopped at any moment
leaves whole shards behind, and the next one goes on from there. Array jobs share the folder; whoever puts the dataset together
has it alone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..files import disk
from ..files.output import check_target, link, put_in_place, recover, refusals, stage_of
from ..files.shards import shard_path
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
        with self.refusals():
            disk.make(path.parent)
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
            with self.refusals():
                for old, new in zip(done.shards, moved.shards, strict=True):
                    disk.erase(self.root / new.path)
                    link(self.target / old.path, self.root / new.path)
            self.note(moved)
            taken[unit.number] = moved
        return taken

    def clear(self, kept: Iterable[Finished]) -> None:
        """Remove all that is not of the tasks `kept`. Only for whoever has the folder alone."""
        names = {shard.path for done in kept for shard in done.shards} | {TASKS_FILE}
        names |= {f"{TASKS_FOLDER}/{done.number:05}.json" for done in kept}
        with self.refusals():
            for folder, _, files in os.walk(self.root, topdown=False):
                for name in files:
                    path = Path(folder, name)
                    if path.relative_to(self.root).as_posix() not in names:
                        disk.erase(path)
                if Path(folder) != self.root:
                    with suppress(OSError):  # still in use
                        Path(folder).rmdir()

    def gather(self, tasks: Mapping[int, Finished]) -> None:
        """Have the folder say in one file what its tasks say one by one."""
        with self.refusals():
            disk.write(self.root / TASKS_FILE, "".join(line(tasks[number]) for number in sorted(tasks)).encode())
            if (folder := self.root / TASKS_FOLDER).exists():  # not where a process was stopped after it had come here
                disk.remove(folder)

    def publish(self) -> None:
        """Give the folder the name of its target. It is complete."""
        with self.refusals():
            put_in_place(self.root, self.target)

    @property
    def holds(self) -> bool:
        """Whether a task is done here."""
        return next(finished_in(self.root), None) is not None

    def refusals(self) -> AbstractContextManager[None]:
        """Turns what the file system refuses into a Failure about the target."""
        return refusals(self.target, lambda: self.holds)

    def drop(self) -> None:
        """Remove the folder, unless it holds a task that is done."""
        if not self.holds:
            disk.clear_away(self.root)


@contextmanager
def staged(target: Path, *, shared: bool = False) -> Iterator[Stage]:
    """The stage of `target`, which nobody else has meanwhile; with `shared`, others who share it may.

    Raises Failure where somebody else has it, where `target` holds something that no compilation wrote, or where the file system
    refuses.
    """
    target = target.resolve()
    root = stage_of(target)
    with refusals(target):
        disk.make(target.parent)
        recover(target)
        check_target(target)
        handle = _lock(root, target, shared)
    try:
        yield Stage(root, target)
    finally:
        os.close(handle)


def whole(done: Finished, folder: Path) -> bool:
    """Whether the shards of a task are in `folder`, and are what they were."""
    return all(shard.is_whole(folder) for shard in done.shards)


def _renumbered(done: Finished, number: int) -> Finished:
    shards = tuple(shard.model_copy(update={"path": shard_path(shard.split, number)}) for shard in done.shards)
    return done.model_copy(update={"number": number, "shards": shards})


def _lock(root: Path, target: Path, shared: bool) -> int:
    """A handle that holds the lock of `root`, which is made where it is missing."""
    while True:
        disk.make(root)
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
