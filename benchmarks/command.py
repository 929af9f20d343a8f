"""What benchmarks start with: the command `mcd` of this Python and this checkout, or a program that was checked."""

from __future__ import annotations

import sys
from pathlib import Path

from mcd.dsl.check import check
from mcd.dsl.checked import Program

MCD = (sys.executable, "-c", "from mcd.cli.main import main; main()")


def compiling(spec: Path, out: Path, workers: int) -> list[str]:
    """The arguments of a process that compiles."""
    return [*MCD, "compile", "--quiet", str(spec), "--output", str(out), "--workers", str(workers)]


def read(spec: Path) -> Program:
    """The checked program of a spec that has no error."""
    program, findings = check(spec)
    assert program is not None, [f"{item.code.id} {item.message}" for item in findings.items]
    return program
