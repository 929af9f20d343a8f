"""Files that scripts write and the repository keeps: written, or compared with `--check`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from mcd.dsl.diagnostics import Failure, Findings
from mcd.dsl.format import format_source
from mcd.dsl.source import SourceText


def formatted(spec: str) -> str:
    """The text of a spec in its one form. Raises `Failure` where it has syntax errors."""
    findings = Findings()
    text = format_source(SourceText("generated", spec), findings)
    if text is None:
        raise Failure(*findings.items)
    return text


def write_or_check(files: Mapping[Path, str], parser: argparse.ArgumentParser) -> None:
    """Writes `files` (content by path), or exits with status 1 if `--check` is given and one of them is not up to date."""
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    check = parser.parse_args().check
    stale = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    if check and stale:
        sys.exit("not up to date: " + ", ".join(str(path) for path in stale))
    if not check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], "utf-8")
            print(f"wrote {path}")
