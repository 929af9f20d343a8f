"""How much sooner `mcd compile` is done with several workers: wall time of whole processes that take turns.

    python benchmarks/workers.py [--megabytes N] [--rounds N] [--workers 1 2] [--characters 200 4000] [--anyway]

A ratio is the time that the first number of workers takes over that of another: the median of the rounds, lowest to highest in
brackets. Wall time on a busy machine says nothing about workers: with a load of more than 1 at its start the benchmark refuses,
and with `--anyway` it prints numbers and draws no conclusion.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mcd.benchmarks.command import compiling
from mcd.benchmarks.project import LONG, SHORT, write_project

BUSY = 1.0
"""The load, in processes that want to run, above which nothing is concluded."""


def seconds(spec: Path, workers: int) -> float:
    """Wall time of one process that compiles, from its start to its end."""
    with tempfile.TemporaryDirectory(dir=spec.parent) as out:
        begin = time.perf_counter()
        subprocess.run(compiling(spec, Path(out) / "out", workers), check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin


def compare(characters: int, megabytes: float, rounds: int, workers: list[int]) -> None:
    """Lets the numbers of workers take turns, and prints the ratios."""
    print(f"records of about {characters} characters, {megabytes:g} MB")
    with tempfile.TemporaryDirectory() as folder:
        spec = write_project(Path(folder), characters, megabytes)
        taken = [[seconds(spec, count) for count in workers] for _ in range(rounds)]
    for place, count in enumerate(workers):
        ratios = sorted(turn[0] / turn[place] for turn in taken)
        middle = statistics.median(turn[place] for turn in taken)
        print(
            f"  {count} workers: {middle:.1f} s, {statistics.median(ratios):.2f} times as fast"
            f" ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def main() -> None:
    """Both sizes of records, where the machine has time for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=256.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--characters", type=int, nargs="+", default=[SHORT, LONG])
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine, too")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.2f}")
    if load > BUSY and not options.anyway:
        sys.exit(f"the load is over {BUSY:g}: nothing is measured (--anyway does)")
    for characters in options.characters:
        compare(characters, options.megabytes, options.rounds, options.workers)
    if load > BUSY:
        print("the machine was busy: no conclusion")


if __name__ == "__main__":
    main()
