"""Faults of a real file system: a limit on the size of files, a folder of another user, a disk that is full.

`python -m tests.soak.refusals` tries each, and says which this system cannot give: another user needs root, a small disk the
right to mount one.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..projects import checked
from .faults import command
from .forks import forked
from .kills import Found
from .whole import compile_whole, content, whole_project

NOBODY = 65534
SMALL = 48 << 10
"""Bytes of a disk that some tasks fill."""


class Case:
    """A project that anybody may read, and what it compiles to."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.spec = whole_project(folder / "project")
        self.place = folder / "place"
        self.place.mkdir(mode=0o755)
        self.out = self.place / "out"
        if failed := forked(lambda: compile_whole(self.spec, folder / "reference") and None).failed:
            raise Found(failed)
        self._new = content(folder / "reference")

    def refused(self, prepare: Callable[[], object], reason: str, advice: str) -> str:
        """Compile in a child after `prepare`. Gives what it said, which has a reason and an advice, and nothing is there."""
        ended = forked(lambda: self._run(prepare))
        if ended.failed:
            raise Found(ended.failed)
        code, said = ended.result["code"], ended.result["said"]
        if (
            code != 1
            or f"error[MCD613]: `out` cannot be written: {reason}" not in said
            or f"help: {advice}" not in said
        ):
            raise Found(f"exit code {code}: {said}")
        if self.out.exists():
            raise Found("the output is there")
        return str(said)

    def completed(self) -> None:
        """Compile again, without a fault: the same dataset, and nothing beside it."""
        ended = forked(lambda: self._run(lambda: None))
        if ended.failed or ended.result["code"] or content(self.out) != self._new:
            raise Found(f"the run after failed: {ended}")
        if sorted(path.name for path in self.place.iterdir()) != ["out"]:
            raise Found("something is left beside the output")

    def _run(self, prepare: Callable[[], object]) -> Mapping[str, Any]:
        prepare()
        return command("compile", str(self.spec), "-o", str(self.out), "-q", "--workers", "1")


def limited(case: Case) -> str | None:
    """No file may have more than 3,000 bytes."""
    case.refused(
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)),
        "File too large: `.out.build/shards/train/00000.arrow`",
        "raise the limit on the size of files (`ulimit -f`)",
    )
    case.completed()
    return None


def forbidden(case: Case) -> str | None:
    """The folder is another user's."""

    def prepare() -> None:
        if os.geteuid() == 0:
            checked(case.spec)  # what is imported on the way, the other user may not be able to read
            os.setuid(NOBODY)

    case.place.chmod(0o555)
    case.refused(prepare, "Permission denied: `.out.build`", "choose a directory that you may write to")
    case.place.chmod(0o755)
    case.completed()
    return None


def full(case: Case) -> str | None:
    """The disk has room for some tasks."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(case.place)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        return "no right to mount a disk"
    try:
        said = case.refused(lambda: None, "No space left on device: `.out.build/", "make room on the disk")
        if "; then compile again, which goes on from the tasks that are done" not in said:
            raise Found(f"it does not say that tasks are kept: {said}")
        subprocess.run([*mount[:3], "-o", "remount,size=16m", *mount[5:]], check=True)
        case.completed()
    finally:
        subprocess.run(["umount", str(case.place)], check=True)
    return None


def main() -> int:
    """Run the command; the number of faults that were not told of as they should."""
    wrong = 0
    for fault in (limited, forbidden, full):
        with tempfile.TemporaryDirectory(prefix="mcd-refusals-") as folder:
            try:
                skipped = fault(Case(Path(folder)))
                print(f"{fault.__name__}: {'left out: ' + skipped if skipped else 'told'}", flush=True)
            except Found as found:
                print(f"WRONG {fault.__name__}: {found}", flush=True)
                wrong += 1
    print(f"{wrong} wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
