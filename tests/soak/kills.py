"""Compiling is killed, at every named point and at random times: what was there stays, and what was done is not done again.

`python -m tests.soak.kills` kills at all points of all scenarios and at 200 random times; `--points N` and `--times N` take that
many. A case that fails is printed with its number, and can be run again alone: `--only SCENARIO:POINT`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from mcd.compiler.build.engines import InProcess
from mcd.compiler.files import disk
from mcd.compiler.files.output import recover
from mcd.compiler.part import compile_part, finish_parts

from ..projects import checked
from .forks import forked, scratch
from .whole import beside, compile_whole, content, counted_runs, done_in, measure, teach, whole_project, write_file

SHARES = 3


def _without_exchange() -> None:
    disk.exchange = lambda one, other: False  # type: ignore[assignment]


def _without_links() -> None:
    def refused(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    os.link = refused  # type: ignore[assignment]


def _nothing() -> None:
    pass


def _at_once(spec: Path, out: Path) -> None:
    compile_whole(spec, out)


def _in_shares(spec: Path, out: Path) -> None:
    for share in (1, 0, 2):
        compile_part(checked(spec), out, share, SHARES, InProcess(), lambda progress: None)
    finish_parts(checked(spec), out, lambda progress: None, teach)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is compiled over what. `before`: what the output holds: nothing, the same shards of another plan, or other data;
    `system`: makes a child's system lack something."""

    name: str
    before: str
    compile: Callable[[Path, Path], None] = _at_once
    system: Callable[[], None] = _nothing


SCENARIOS = {
    each.name: each
    for each in (
        Scenario("fresh", "nothing"),
        Scenario("edited", "data"),
        Scenario("plan", "plan"),
        Scenario("shares", "data", _in_shares),
        Scenario("aside", "data", system=_without_exchange),
        Scenario("copied", "data", system=_without_links),
    )
}


class Found(Exception):
    """A case that did not come out as it should."""


def result_of(ended: Any, what: str) -> Any:
    """What a child gave that was to end well."""
    if ended.killed or ended.failed:
        raise Found(f"{what} failed: {ended.failed}")
    return ended.result


class Prepared:
    """A scenario's project, and what the output holds before: `old`, which `fresh` lays out anew."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario, self._folder = scenario, folder
        self.spec = whole_project(folder / "project")
        self._start, self._place = folder / "start", folder / "place"
        self._start.mkdir()
        result_of(forked(self._prepare), "preparing")
        self.old = content(self._start / "out")
        self.out = self.fresh()

    def _prepare(self) -> None:
        text = self.spec.read_text("utf-8")
        if self.scenario.before == "data":
            for number in range(2, 8):
                write_file(self.spec.parent, number, 11)
        if self.scenario.before == "plan":
            self.spec.write_text(text.replace("classify = .label", "weight = 2  classify = .label"), encoding="utf-8")
        if self.scenario.before != "nothing":
            compile_whole(self.spec, self._start / "out")
            measure(self._start / "out")
        for number in range(2, 8):
            write_file(self.spec.parent, number)
        self.spec.write_text(text, encoding="utf-8")

    def fresh(self) -> Path:
        """The output as it was before; gives its path."""
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self._start, self._place)
        return self._place / "out"


class Case(Prepared):
    """One scenario, and what an undisturbed run makes of it."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        super().__init__(scenario, folder)
        before = time.monotonic()
        result_of(forked(self._compile), "the undisturbed run")
        self.seconds = time.monotonic() - before
        self.new = content(self.out)
        if self.new is None or self.new == self.old:
            raise Found("the undisturbed run changed nothing")

    def _compile(self, at: int = -1) -> Mapping[str, Any]:
        """In a child: compile, and be killed at a named point."""
        self.scenario.system()
        runs, points = counted_runs(), list[str]()

        def reached(step: str, path: Path) -> None:
            if len(points) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            points.append(f"{step} {path.name}")

        disk.reached = reached
        self.scenario.compile(self.spec, self.out)
        return {"runs": runs, "points": points}

    def points(self) -> list[str]:
        """The named points of an undisturbed run."""
        self.fresh()
        points: list[str] = result_of(forked(self._compile), "counting")["points"]
        return points

    def at_point(self, point: int) -> None:
        """Kill at a point, and check."""
        self.fresh()
        if not forked(lambda: self._compile(point)).killed:
            raise Found("nothing was killed")
        self._finish(self._check(set()))

    def at_times(self, random: Random) -> int:
        """Kill up to three runs one after another, and check after each. Gives how many were killed."""
        self.fresh()
        done = set[tuple[int, str]]()
        kills = 0
        for _ in range(random.randint(1, 3)):
            ended = forked(self._compile, random.uniform(0, 1.1 * self.seconds))
            if not ended.killed:
                result_of(ended, "a run")
                break
            kills += 1
            done = self._check(done)
        self._finish(done)
        return kills

    def _check(self, before: set[tuple[int, str]]) -> set[tuple[int, str]]:
        """What a killed run left: the old dataset or the new one. Gives what is done of the new one."""
        if self.scenario.system is _without_exchange and not self.out.exists():
            forked(lambda: recover(self.out))
        there = content(self.out)
        if there not in (self.old, self.new):
            raise Found("the output is neither the old dataset nor the new one")
        done = done_in(self.out)
        if there != self.new and before - done:
            raise Found(f"what was done is gone: {sorted(number for number, _ in before - done)}")
        return done

    def _finish(self, done: set[tuple[int, str]]) -> None:
        """Run again, undisturbed."""
        complete = content(self.out) == self.new
        runs = result_of(forked(self._compile), "the run after")["runs"]
        again = set(runs) if complete else set(runs) & {number for number, _ in done}
        if again or len(runs) != len(set(runs)):
            raise Found(f"tasks ran again that were done: {sorted(again) or runs}")
        if content(self.out) != self.new:
            raise Found("the run after makes another dataset than an undisturbed one")
        if beside(self.out) != ["out"]:
            raise Found(f"left beside the output: {beside(self.out)}")


# --- the command -----------------------------------------------------------------------------------------------------


@contextmanager
def prepared(scenario: Scenario) -> Iterator[Case]:
    """A case in a folder of its own."""
    with scratch() as folder:
        yield Case(scenario, folder)


def spread(total: int, count: int) -> list[int]:
    """`count` of `total` numbers, evenly."""
    return sorted({number * total // count for number in range(count)}) if count < total else list(range(total))


def main(arguments: list[str]) -> int:
    """Run the command; the number of cases that did not come out as they should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10**9, help="how many points of each scenario")
    parser.add_argument("--times", type=int, default=200, help="how many random times, over all scenarios")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="SCENARIO or SCENARIO:POINT")
    given = parser.parse_args(arguments)
    name, _, point = (given.only or "").partition(":")
    failed, began = 0, time.monotonic()
    for number, scenario in enumerate(SCENARIOS.values()):
        if name not in ("", scenario.name):
            continue
        with prepared(scenario) as case:
            points = case.points()
            chosen = [int(point)] if point else spread(len(points), given.points)
            times = 0 if point else len(range(number, given.times, len(SCENARIOS)))
            failed += sum(_tried(case, f"{scenario.name}:{at} {points[at]}", at) for at in chosen)
            kills, wrong = _at_times(case, times, Random(given.seed * 1000 + number))
            failed += wrong
        print(
            f"{scenario.name}: {len(chosen)} of {len(points)} points, {kills} kills at {times} random times", flush=True
        )
    print(f"{failed} wrong, {time.monotonic() - began:.0f} s", flush=True)
    return failed


def _tried(case: Case, what: str, point: int) -> bool:
    """Whether a case fails, which is printed."""
    try:
        case.at_point(point)
    except Found as found:
        print(f"WRONG {what}: {found}", flush=True)
        return True
    return False


def _at_times(case: Case, times: int, random: Random) -> tuple[int, int]:
    kills = wrong = 0
    for each in range(times):
        try:
            kills += case.at_times(random)
        except Found as found:
            print(f"WRONG {case.scenario.name}, random time {each}: {found}", flush=True)
            wrong += 1
    return kills, wrong


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
