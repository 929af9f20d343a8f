"""What all commands share: printing findings, and the exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import TextIO

import click

from ..dsl.diagnostics import Diagnostic, Severity
from ..dsl.render import in_order, render_json, render_text


class ExitCode(IntEnum):
    """Clean (warnings allowed), findings that are errors, wrong usage or a bug of ours."""

    CLEAN = 0
    FINDINGS = 1
    USAGE = 2


def report(diagnostics: Sequence[Diagnostic], format: str = "text", *, err: bool = False) -> ExitCode:
    """Print findings on standard output, or on standard error with `err`, and say how to exit. JSON is printed even if empty."""
    stream = sys.stderr if err else sys.stdout
    if format == "json":
        click.echo(render_json(diagnostics), nl=False, err=err)
    else:
        # click takes the colour out again where the stream is no terminal.
        click.echo(render_text(diagnostics, color=in_color(stream)) + _further(diagnostics), nl=False, err=err)
    failed = any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
    return ExitCode.FINDINGS if failed else ExitCode.CLEAN


def in_color(stream: TextIO | None = None) -> bool:
    """Whether a stream, standard output unless given, is a terminal that may show colours."""
    return (stream or sys.stdout).isatty() and "NO_COLOR" not in os.environ


def _further(diagnostics: Sequence[Diagnostic]) -> str:
    """Where to read on: the code of the first error, or of the first finding where all are warnings."""
    if not diagnostics:
        return ""
    ordered = in_order(diagnostics)
    first = next((found for found in ordered if found.severity is Severity.ERROR), ordered[0])
    return f"`mcd explain {first.code.id}` tells why, and shows an example\n"
