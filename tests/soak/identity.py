"""The same bytes, whoever compiles, where, and in what surroundings.

`python -m tests.soak.identity` compiles one project in every way of the table below and compares all files; `--short` leaves out
pools and all but one of the ways that need a Python of their own.
"""

from __future__ import annotations

import argparse
import locale
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mcd.compiler import execute
from mcd.compiler.build.engines import InProcess, Pool
from mcd.compiler.compile import compile_program
from mcd.compiler.part import compile_part, finish_parts
from mcd.compiler.sources.base import Limits

from ..projects import checked
from .forks import forked, scratch
from .whole import SPEC, compile_whole, content, teach, whole_project

ROOT = Path(__file__).parents[2]
MORE = """source t = csv("tables/*.csv") { text = "{.note} {.when} {.amount}"  split = "valid" }
span city of t = phrases("istanbul", "ILMENAU", ignore_case: true)
span number of t = regex("[0-9]+")
attend early: city -> number { layers = 1  heads = any }
"""
TABLE = (
    "note,when,amount\nIstanbul ISTANBUL ılmenau,2024-03-31 02:30:00,1.50\nİstanbul Ilmenau,2024-10-27T01:00:00Z,1e3\n"
)
Way = Callable[[Path, Path], object]
"""Compiles a spec into a directory."""


def surroundings(folder: Path) -> Path:
    """The project: two sources, texts that a locale could take otherwise, and times."""
    spec = whole_project(folder)
    (folder / "tables").mkdir()
    for number in range(3):
        (folder / "tables" / f"{number}.csv").write_text(
            TABLE + f"row {number},2024-01-01,{number}\n", encoding="utf-8"
        )
    spec.write_text(spec.read_text("utf-8").replace(SPEC, SPEC + MORE), encoding="utf-8")
    return spec


# --- in this process, or one that is forked off it -------------------------------------------------------------------


def in_batches(records: int, size: int) -> Way:
    """Batches of at most so many records and bytes."""

    def way(spec: Path, out: Path) -> None:
        execute.read_batches = partial(execute.read_batches, limits=Limits(records, size))
        compile_whole(spec, out)

    return way


def in_shares(count: int, seed: int) -> Way:
    """Shares of the tasks, in any order."""

    def way(spec: Path, out: Path) -> None:
        shares = list(range(count))
        random.Random(seed).shuffle(shares)
        for share in shares:
            compile_part(checked(spec), out, share, count, InProcess(), lambda progress: None)
        finish_parts(checked(spec), out, lambda progress: None, teach)

    return way


def in_pool(workers: int) -> Way:
    """A pool of processes."""
    return lambda spec, out: compile_program(checked(spec), out, teach=teach, engine=Pool(workers))


def masked(mask: int) -> Way:
    """Another mask of permissions."""
    return lambda spec, out: (os.umask(mask), compile_whole(spec, out))


class _Listing:
    """What `os.scandir` gives: an iterator, and a context manager."""

    def __init__(self, entries: list[Any]) -> None:
        self._rest = iter(entries)

    def __iter__(self) -> Iterator[Any]:
        return self._rest

    def __next__(self) -> Any:
        return next(self._rest)

    def __enter__(self) -> Iterator[Any]:
        return self._rest

    def __exit__(self, *_: object) -> None:
        pass


def listed(seed: int) -> Way:
    """A file system that lists folders in another order."""

    def way(spec: Path, out: Path) -> None:
        scan, names, order = os.scandir, os.listdir, random.Random(seed)

        def scandir(*given: Any) -> Any:
            with scan(*given) as found:
                entries = list(found)
            order.shuffle(entries)
            return _Listing(entries)

        def listdir(*given: Any) -> list[Any]:
            found = names(*given)
            order.shuffle(found)
            return found

        os.scandir, os.listdir = scandir, listdir  # type: ignore[assignment]
        compile_whole(spec, out)

    return way


def elsewhere(spec: Path, out: Path) -> None:
    """Another working directory, and paths from there."""
    os.chdir(spec.parent / "data")
    compile_whole(Path("../spec.mcd"), Path(os.path.relpath(out)))


def moved(spec: Path, out: Path) -> None:
    """A project that is somewhere else, under a name with spaces and letters of all sorts."""
    folder = out.parent / "an other pläce [1]"
    shutil.copytree(spec.parent, folder)
    compile_whole(folder / spec.name, out)


def linked(spec: Path, out: Path) -> None:
    """A project that a symbolic link leads to."""
    (out.parent / "link").symlink_to(spec.parent)
    compile_whole(out.parent / "link" / spec.name, out)


def made_backwards(spec: Path, out: Path) -> None:
    """A project whose files were made in the opposite order, with other time stamps."""
    folder = out.parent / "backwards"
    for path in sorted(spec.parent.rglob("*"), reverse=True):
        if path.is_file():
            target = folder / path.relative_to(spec.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            os.utime(target, (1, 1))
    compile_whole(folder / spec.name, out)


def on_one_core(spec: Path, out: Path) -> None:
    """One core alone."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    compile_whole(spec, out)


FORKED: Mapping[str, Way] = {
    "once more": compile_whole,
    "batches of 1 record": in_batches(1, 1 << 20),
    "batches of 7 records": in_batches(7, 1 << 20),
    "batches of 300 bytes": in_batches(4096, 300),
    "batches without a limit": in_batches(1 << 30, 1 << 30),
    **{f"{count} shares": in_shares(count, count) for count in (1, 2, 3, 8, 40)},
    "mask 077": masked(0o077),
    "mask 0": masked(0),
    "listing order": listed(1),
    "another listing order": listed(2),
    "working directory": elsewhere,
    "another root": moved,
    "through a link": linked,
    "files made backwards": made_backwards,
    "one core": on_one_core,
}
POOLS: Mapping[str, Way] = {f"{workers} workers": in_pool(workers) for workers in (1, 2, 3, 8)}

# --- in a Python of its own ------------------------------------------------------------------------------------------

ALL_AT_ONCE = (
    "all at once",
    ["-O", "-X", "utf8=0"],
    {"PYTHONHASHSEED": "7", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"},
)
STARTED = (
    ALL_AT_ONCE,
    *((f"hash seed {seed}", [], {"PYTHONHASHSEED": str(seed)}) for seed in (0, 1, 4294967295)),
    *(
        (f"locale {name}", [], {"LC_ALL": name, "LANG": name})
        for name in ("C", "C.UTF-8", "tr_TR.UTF-8", "de_DE.UTF-8")
    ),
    *((f"time zone {zone}", [], {"TZ": zone}) for zone in ("UTC", "Pacific/Kiritimati", "America/St_Johns")),
    ("-O", ["-O"], {}),
    ("-OO", ["-OO"], {}),
    ("-X utf8", ["-X", "utf8"], {}),
    ("-X utf8=0 in locale C", ["-X", "utf8=0"], {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}),
)


def make_locales(folder: Path) -> None:
    """Turkish and German, where the system can make them; else they are as `C`."""
    for name in ("tr_TR", "de_DE"):
        with suppress(OSError):
            command = ["localedef", "-i", name, "-f", "UTF-8", str(folder / f"{name}.UTF-8")]
            subprocess.run(command, check=False, capture_output=True)


def started(spec: Path, out: Path, flags: list[str], environment: Mapping[str, str], locales: Path) -> str | None:
    """Compile in a Python of its own; what went wrong. Says `no such locale` where the system lacks it."""
    command = [sys.executable, *flags, "-m", "tests.soak.identity", "--compile", str(spec), str(out)]
    known = {**os.environ, **environment, "LOCPATH": str(locales)}
    ended = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, errors="replace")
    return ended.stderr or f"exit code {ended.returncode}" if ended.returncode else ended.stdout.strip() or None


def compile_here(spec: str, out: str) -> int:
    """What the Python that is started does: all of the locale is taken over, as a library might do."""
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        print("no such locale")
        return 0
    compile_whole(Path(spec), Path(out))
    return 0


# --- the command -----------------------------------------------------------------------------------------------------


def tried(spec: Path, folder: Path, short: bool) -> Iterator[tuple[str, str | None, Path]]:
    """Every way: its name, what went wrong, and where it compiled to."""
    for name, way in (FORKED if short else FORKED | POOLS).items():
        out = folder / name.replace(" ", "-") / "out"
        out.parent.mkdir()
        yield name, forked(lambda way=way, out=out: way(spec, out) and None).failed, out  # type: ignore[misc]
    (folder / "locales").mkdir()
    make_locales(folder / "locales")
    for name, flags, environment in (ALL_AT_ONCE,) if short else STARTED:
        out = folder / name.replace(" ", "-").replace("/", "-") / "out"
        out.parent.mkdir()
        yield name, started(spec, out, flags, environment, folder / "locales"), out


def main(arguments: list[str]) -> int:
    """Run the command; the number of ways that gave something else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args(arguments)
    wrong = skipped = count = 0
    began = time.monotonic()
    with scratch() as folder:
        spec = surroundings(folder / "project")
        failed = forked(lambda: compile_whole(spec, folder / "reference") and None).failed
        wanted = content(folder / "reference")
        assert wanted, failed
        for way, problem, out in tried(spec, folder, given.short):
            count += 1
            if problem == "no such locale":
                skipped += 1
            elif problem or content(out) != wanted:
                there = content(out) or {}
                other = [path for path in sorted(wanted.keys() | there.keys()) if wanted.get(path) != there.get(path)]
                print(f"WRONG {way}: {problem or other}", flush=True)
                wrong += 1
    print(
        f"{count} ways, {skipped} without their locale, {len(wanted)} files; {wrong} wrong, {time.monotonic() - began:.0f} s"
    )
    return wrong


if __name__ == "__main__":
    if sys.argv[1:2] == ["--compile"]:
        sys.exit(compile_here(*sys.argv[2:]))
    sys.exit(1 if main(sys.argv[1:]) else 0)
