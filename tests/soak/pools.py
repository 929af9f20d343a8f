"""A pool of processes is killed: one of those that run tasks, or the one that started them, at random times.

`python -m tests.soak.pools --count N` kills N of each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from mcd.compiler.build.engines import Pool
from mcd.compiler.compile import compile_program
from mcd.dsl.diagnostics import Failure

from ..projects import checked
from .forks import forked, scratch
from .kills import Found
from .whole import beside, compile_whole, content, counted_runs, done_in, teach, whole_project, write_file

ROOT = Path(__file__).parents[2]
PATIENCE = 10.0
"""Seconds after which a process that should have ended is taken to stay."""


def compile_in_pool(spec: str, out: str) -> int:
    """What the process that is started does. Its exit code says how it ended."""
    try:
        compile_program(checked(Path(spec)), Path(out), teach=teach, engine=Pool(2))
    except Failure as failure:
        codes = [found.code.id for found in failure.diagnostics]
        return 17 if codes == ["MCD617"] else 1
    return 0


def workers_of(parent: int) -> list[int]:
    """The processes of a pool, by what they were started as."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                above = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
                if above == parent and b"spawn_main" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # ended meanwhile
                continue
    return sorted(found)


def running(process: int) -> bool:
    """Whether a process is there, and no zombie that nobody waits for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[0] != "Z"
    except OSError:
        return False


class Case:
    """A project with an older dataset of other data, and the new one that an undisturbed run makes."""

    def __init__(self, folder: Path) -> None:
        self.spec, self._start, self._place = whole_project(folder / "project"), folder / "start", folder / "place"
        for number in range(2, 8):
            write_file(self.spec.parent, number, 11)
        assert forked(lambda: compile_whole(self.spec, self._start / "out") and None).failed is None
        for number in range(2, 8):
            write_file(self.spec.parent, number)
        self.old, self.out = content(self._start / "out"), self._fresh()
        began = time.monotonic()
        if self._started().wait() != 0:
            raise Found("the undisturbed run failed")
        self.seconds = time.monotonic() - began
        self.new = content(self.out)

    def _fresh(self) -> Path:
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self._start, self._place)
        return self._place / "out"

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "tests.soak.pools", "--run", self.spec, self.out], cwd=ROOT)

    def _at_some_time(self, random: Random) -> tuple[subprocess.Popen[bytes], list[int]]:
        """A run, with the processes of its pool, at some time after they were started."""
        process = self._started()
        while not workers_of(process.pid) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(random.uniform(0, self.seconds / 2))
        return process, workers_of(process.pid)

    def worker(self, random: Random) -> bool:
        """Kill a process that runs tasks. Gives whether there was one."""
        self._fresh()
        process, workers = self._at_some_time(random)
        if workers:
            os.kill(random.choice(workers), signal.SIGKILL)
        code = process.wait()
        if code not in (0, 17):
            raise Found(f"exit code {code}")
        if content(self.out) != (self.new if code == 0 else self.old):
            raise Found("the output is not what the exit code says")
        self._finish()
        return bool(workers)

    def parent(self, random: Random) -> bool:
        """Kill the process that started the others. Gives whether there were any."""
        self._fresh()
        process, workers = self._at_some_time(random)
        process.kill()
        process.wait()
        if content(self.out) not in (self.old, self.new):
            raise Found("the output is neither the old dataset nor the new one")
        self._finish()
        until = time.monotonic() + PATIENCE
        while any(map(running, workers)):
            if time.monotonic() > until:
                raise Found(f"processes without a parent stay: {[each for each in workers if running(each)]}")
            time.sleep(0.05)
        return bool(workers)

    def _finish(self) -> None:
        """Run again at once, undisturbed; what a process without a parent may still write does not matter."""

        def again() -> list[int]:
            runs = counted_runs()
            compile_whole(self.spec, self.out)
            return runs

        done, complete = {number for number, _ in done_in(self.out)}, content(self.out) == self.new
        ended = forked(again)
        if ended.failed:
            raise Found(f"the run after failed: {ended.failed}")
        if set(ended.result) & done or (complete and ended.result):
            raise Found(f"tasks ran again that were done: {ended.result}")
        if content(self.out) != self.new or beside(self.out) != ["out"]:
            raise Found(f"the run after makes another dataset, or leaves something: {beside(self.out)}")


def main(arguments: list[str]) -> int:
    """Run the command; the number of cases that did not come out as they should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    random, failed, began = Random(given.seed), 0, time.monotonic()
    with scratch() as folder:
        case = Case(folder)
        for kind, kill in (("worker", case.worker), ("parent", case.parent)):
            met = 0
            for each in range(given.count):
                try:
                    met += kill(random)
                except Found as found:
                    failed += 1
                    print(f"WRONG {kind} {each}: {found}", flush=True)
            print(f"{kind}: {given.count} kills, in {met} of them tasks had processes", flush=True)
    print(f"{failed} wrong, {time.monotonic() - began:.0f} s")
    return failed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        sys.exit(compile_in_pool(*sys.argv[2:]))
    sys.exit(1 if main(sys.argv[1:]) else 0)
