"""Runs the example of a code's page as a user would: its files in a folder, then its commands and its Python, in process."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from mcd.dsl.explain import Block, Example

from .pages import command, python, write

FINDING = re.compile(r"^(error|warning)\[(MCD\d{3})\]", re.MULTILINE)


def run(example: Example, folder: Path) -> str:
    """All that the example prints, in the empty `folder`. Each step but the last must end well."""
    for name, text in example.files.items():
        write(folder, name, text)
    said = ""
    with contextlib.chdir(folder):
        lines = [line for step in example.steps for line in _lines(step)]
        for number, (language, text) in enumerate(lines):
            failed, output = command(text) if language == "sh" else python(text)
            said += output
            assert not failed or number == len(lines) - 1, f"a step before the last failed:\n{text}\n{output}"
    return said


def _lines(step: Block) -> list[tuple[str, str]]:
    """The commands of a step one by one; its Python as a whole."""
    texts = step.text.splitlines() if step.language == "sh" else [step.text]
    return [(step.language, text) for text in texts]


def found(said: str) -> tuple[set[str], set[str]]:
    """The codes of the errors and of the warnings that were printed."""
    items = FINDING.findall(said)
    return {code for severity, code in items if severity == "error"}, {
        code for severity, code in items if severity == "warning"
    }
