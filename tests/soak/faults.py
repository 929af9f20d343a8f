"""The file system refuses: every step in turn, and every write in its middle.

`python -m tests.soak.faults` has every step of every scenario fail, by turns with each of the errors, once or from then on, and
the disk be full after each of 200 numbers of bytes; `--steps N` and `--sizes N` take that many. A case that fails is printed with
its number, and can be run again alone: `--only SCENARIO:STEP`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from mcd.cli import compile as compile_command
from mcd.cli.main import mcd
from mcd.compiler.build.finished import TASKS_FILE
from mcd.compiler.files import disk
from mcd.compiler.files.output import stage_of
from mcd.dsl.diagnostics import Failure

from .forks import forked, scratch
from .kills import SCENARIOS, SHARES, Found, Prepared, Scenario, result_of, spread
from .whole import beside, compile_whole, content, counted_runs, done_in, measure, teach, whole_project

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES)
Fault = Callable[[], None]
"""Makes the disk of this process fail."""


def command(*arguments: str) -> Mapping[str, Any]:
    """Run `mcd` in this process, in which all teachers are stand-ins: its exit code, and what it said."""
    compile_command.teaching = lambda *_: teach  # type: ignore[attr-defined]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = mcd.main(list(arguments), prog_name="mcd", standalone_mode=False)
    return {"code": code or 0, "said": said.getvalue()}


def failing_step(number: int, code: int, lasting: bool) -> Fault:
    """The step of this number, from 0, is refused; with `lasting` also all that come after it and are not removals."""

    def set_up() -> None:
        count = -1

        def reached(step: str, path: Path) -> None:
            nonlocal count
            when, _, what = step.partition(" ")
            if when == "before":
                count += 1
                if count == number or (lasting and count > number and what not in ("erase", "remove")):
                    raise OSError(code, os.strerror(code))

        disk.reached = reached

    return set_up


class _Full:
    """A file on a disk with room for so many bytes more, over all its files."""

    def __init__(self, file: BinaryIO, room: list[int]) -> None:
        self._file, self._room = file, room

    def write(self, data: Any) -> int:
        held = bytes(data)
        part = held[: self._room[0]]
        self._room[0] -= len(part)
        self._file.write(part)
        if len(part) < len(held):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(part)

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def full_after(size: int) -> Fault:
    """There is room for `size` bytes."""

    def set_up() -> None:
        room = [size]
        create = disk.create
        disk.create = lambda path: cast(BinaryIO, _Full(create(path), room))

    return set_up


class Case(Prepared):
    """One scenario, with what an undisturbed run makes of it: what it writes, in bytes and steps, and the dataset."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        super().__init__(scenario, folder)
        self.size, self.steps = result_of(forked(self._count), "a run")
        self.new = content(self.out)

    def _count(self) -> tuple[int, int]:
        sizes, steps = list[int](), list[str]()
        create = disk.create

        class Counting(_Full):
            def write(self, data: Any) -> int:
                sizes.append(len(bytes(data)))
                return self._file.write(bytes(data))

        disk.create = lambda path: cast(BinaryIO, Counting(create(path), [0]))
        disk.reached = lambda step, path: steps.append(step) if step.startswith("before") else None
        told = self._run(lambda: None)
        assert told["code"] == 0, told["said"]
        return sum(sizes), len(steps)

    def _run(self, fault: Fault) -> Mapping[str, Any]:
        """In a child: compile, by the command."""
        self.scenario.system()
        runs = counted_runs()
        fault()
        base = ["compile", str(self.spec), "-o", str(self.out), "-q", "--workers", "1"]
        steps: Sequence[Sequence[str]] = [[]]
        if self.scenario.name == "shares":
            steps = [*(["--task", str(share), "--of", str(SHARES)] for share in range(SHARES)), ["--finish"]]
        told: Mapping[str, Any] = {}
        for more in steps:
            told = command(*base, *more)
            if told["code"]:
                break
        return {"runs": runs, **told}

    def under(self, fault: Fault) -> bool:
        """Compile with a fault, check what it said and left, and compile again without. Gives whether the fault was told of."""
        self.fresh()
        told = result_of(forked(lambda: self._run(fault)), "a run")
        code, said = told["code"], told["said"]
        if code == 0:
            if content(self.out) != self.new:
                raise Found("it says nothing, and makes another dataset")
            return False
        if code != 1 or "error[MCD613]: `out` cannot be written: " not in said or "internal" in said:
            raise Found(f"exit code {code}: {said}")
        if said.count("error[") != 1 or str(self.out) not in said:
            raise Found(f"not one error with the path of the output: {said}")
        if content(self.out) != self.old:
            raise Found("the output changed")
        done = self._check_stage()
        again = result_of(forked(lambda: self._run(lambda: None)), "a run")
        if again["code"]:
            raise Found(f"the run after fails: {again['said']}")
        if twice := set(again["runs"]) & {number for number, _ in done}:
            raise Found(f"tasks ran again that were done: {sorted(twice)}")
        if content(self.out) != self.new:
            raise Found("the run after makes another dataset than an undisturbed one")
        if beside(self.out) != ["out"]:
            raise Found(f"left beside the output: {beside(self.out)}")
        return True

    def _check_stage(self) -> set[tuple[int, str]]:
        """All that has a final name in the unfinished build is what it will be. Gives what is done."""
        assert self.new is not None
        stage = stage_of(self.out)
        for name, digest in (content(stage) or {}).items():
            base = name.rpartition("/")[2]
            if base.startswith(".") or base == "sources.json" or name.startswith("tasks/"):
                continue
            if self.new.get(name) != digest and name != TASKS_FILE:
                raise Found(f"`{name}` has its name, and is not whole")
        return done_in(self.out)


# --- measures --------------------------------------------------------------------------------------------------------


class Measuring:
    """A measure is taken again on a dataset, and the disk fails."""

    def __init__(self, folder: Path) -> None:
        spec, self._start, self._place = whole_project(folder / "project"), folder / "start", folder / "place"
        result_of(forked(lambda: compile_whole(spec, self._start / "out") and None), "a run")
        result_of(forked(lambda: measure(self._start / "out")), "a run")
        self.old = content(self._start / "out")
        self.out = self._place / "out"
        self.size, self.steps = result_of(forked(self._count), "a run")

    def _fresh(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self._start, self._place)

    def _count(self) -> tuple[int, int]:
        self._fresh()
        steps: list[str] = []
        disk.reached = lambda step, path: steps.append(step) if step.startswith("before") else None
        measure(self.out, 1.0)
        return (self.out / "measures" / "reference.arrow").stat().st_size, len(steps)

    def _run(self, fault: Fault) -> Mapping[str, str] | None:
        fault()
        try:
            measure(self.out, 1.0)
        except Failure as failure:
            (found,) = failure.diagnostics
            return {"id": found.code.id, "message": found.message}
        return None

    def under(self, fault: Fault) -> bool:
        """Measure with a fault, and check what it said and left."""
        self._fresh()
        told = result_of(forked(lambda: self._run(fault)), "a run")
        there = content(self.out)
        if told is None:
            if there == self.old:
                raise Found("it says nothing, and measures nothing")
            return False
        if told["id"] != "MCD613" or not told["message"].startswith("measure `reference` cannot be written: "):
            raise Found(f"it says {told}")
        assert there is not None and self.old is not None
        changed = {name for name in there.keys() | self.old.keys() if there.get(name) != self.old.get(name)}
        if changed - {"measures/reference.arrow"}:
            raise Found(f"these changed: {sorted(changed)}")
        result_of(forked(lambda: self._run(lambda: None)), "a run")
        if len(content(self.out) or {}) != len(self.old):
            raise Found("something is left beside the measure")
        return True


# --- the command -----------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Run the command; the number of cases that did not come out as they should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10**9, help="how many steps of each scenario")
    parser.add_argument("--sizes", type=int, default=200, help="how many sizes of a full disk for each scenario")
    parser.add_argument("--only", help="SCENARIO, SCENARIO:STEP or SCENARIO:+BYTES")
    given = parser.parse_args(arguments)
    name, _, one = (given.only or "").partition(":")
    failed, began = 0, time.monotonic()
    makers: dict[str, Callable[[Path], Case | Measuring]] = {
        each: lambda folder, each=each: Case(SCENARIOS[each], folder)  # type: ignore[misc]
        for each in ("fresh", "edited", "shares", "aside", "copied")
    }
    for scenario, make in (makers | {"measure": Measuring}).items():
        if name not in ("", scenario):
            continue
        with scratch() as folder:
            case = make(folder)
            steps = [int(one)] if one and "+" not in one else spread(case.steps, 0 if one else given.steps)
            room = spread(case.size, 0 if one else given.sizes) if "+" not in one else [int(one)]
            faults = {
                f"{at}": failing_step(at, ERRORS[at % 4], at % 8 >= 4)  # each error, once and from then on
                for at in steps
            } | {f"+{size}": full_after(size) for size in room}
            told = [_tried(case, f"{scenario}:{what}", fault) for what, fault in faults.items()]
        failed += told.count(None)
        print(
            f"{scenario}: {len(steps)} of {case.steps} steps, {len(room)} sizes; {told.count(True)} told, the others done"
        )
    print(f"{failed} wrong, {time.monotonic() - began:.0f} s", flush=True)
    return failed


def _tried(case: Case | Measuring, what: str, fault: Fault) -> bool | None:
    """Whether a fault was told of; None where the case fails, which is printed."""
    try:
        return case.under(fault)
    except Found as found:
        print(f"WRONG {what}: {found}", flush=True)
        return None


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
