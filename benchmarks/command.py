"""The command `mcd` as benchmarks start it: this Python, this checkout."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

MCD = (sys.executable, "-c", "from mcd.cli.main import main; main()")


def compiling(spec: Path, out: Path, workers: int) -> list[str]:
    """The arguments of a process that compiles. One worker is what the command does unasked."""
    more = ["--workers", str(workers)] if takes_workers() else []
    return [*MCD, "compile", "--quiet", str(spec), "--output", str(out), *more]


@cache
def takes_workers() -> bool:
    """Whether `mcd compile` has the option."""
    done = subprocess.run([*MCD, "compile", "--help"], check=True, capture_output=True, text=True)
    return "--workers" in done.stdout
