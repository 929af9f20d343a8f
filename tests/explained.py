"""Runs the example of a code's page as a user would: its files in a folder, then its commands and its Python, in process."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from mcd.cli.main import mcd
from mcd.dsl.diagnostics import Failure
from mcd.dsl.explain import Block, Example
from mcd.dsl.render import render_text

FINDING = re.compile(r"^(error|warning)\[(MCD\d{3})\]", re.MULTILINE)


def run(example: Example, folder: Path) -> str:
    """All that the example prints, in the empty `folder`. Each step but the last must end well."""
    for name, text in example.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    said = ""
    with contextlib.chdir(folder):
        lines = [line for step in example.steps for line in _lines(step)]
        for number, (language, text) in enumerate(lines):
            failed, output = _command(text) if language == "sh" else _python(text)
            said += output
            assert not failed or number == len(lines) - 1, f"a step before the last failed:\n{text}\n{output}"
    return said


def _lines(step: Block) -> list[tuple[str, str]]:
    """The commands of a step one by one; its Python as a whole."""
    texts = step.text.splitlines() if step.language == "sh" else [step.text]
    return [(step.language, text) for text in texts]


def _command(line: str) -> tuple[bool, str]:
    result = CliRunner().invoke(mcd, shlex.split(line)[1:])
    assert result.exit_code in (0, 1), result.output
    return result.exit_code != 0, result.output


def _python(text: str) -> tuple[bool, str]:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(text, "example", "exec"), {"__name__": "__main__"})
    except Failure as failure:
        return True, printed.getvalue() + render_text(failure.diagnostics)
    return False, printed.getvalue()


def found(said: str) -> tuple[set[str], set[str]]:
    """The codes of the errors and of the warnings that were printed."""
    items = FINDING.findall(said)
    return {code for severity, code in items if severity == "error"}, {
        code for severity, code in items if severity == "warning"
    }
