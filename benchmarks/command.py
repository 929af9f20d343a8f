"""The command `mcd` as benchmarks start it: this Python, this checkout."""

from __future__ import annotations

import sys
from pathlib import Path

MCD = (sys.executable, "-c", "from mcd.cli.main import main; main()")


def compiling(spec: Path, out: Path, workers: int) -> list[str]:
    """The arguments of a process that compiles."""
    return [*MCD, "compile", "--quiet", str(spec), "--output", str(out), "--workers", str(workers)]
