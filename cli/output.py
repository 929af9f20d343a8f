"""What all commands share: printing findings, and the exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TextIO

import click

from ..dsl.diagnostics import Diagnostic, Severity
from ..dsl.render import in_order, render_concise, render_github, render_json, render_junit, render_sarif, render_text


@dataclass(frozen=True, slots=True)
class Context:
    """What a report says besides its findings: the files that were checked, as shown; more for JSON; what text begins with."""

    files: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    lead: str = ""


_RENDERERS: Mapping[str, Callable[[Sequence[Diagnostic], Context], str]] = {
    "text": lambda found, context: context.lead + render_text(found),
    "concise": lambda found, context: render_concise(found),
    "json": lambda found, context: render_json(found, context.files, **context.more),
    "sarif": lambda found, context: render_sarif(found, context.files),
    "github": lambda found, context: render_github(found),
    "junit": lambda found, context: render_junit(found, context.files),
}
NOTHING = Context()
FORMATS = tuple(_RENDERERS)
"""How findings may be printed."""


class ExitCode(IntEnum):
    """Clean (warnings allowed), findings that are errors, wrong usage or a bug of ours."""

    CLEAN = 0
    FINDINGS = 1
    USAGE = 2


def report(
    diagnostics: Sequence[Diagnostic], format: str = "text", *, err: bool = False, context: Context = NOTHING
) -> ExitCode:
    """Print findings on standard output, or on standard error with `err`, and say how to exit.

    Forms for programs are printed even if empty.
    """
    stream = sys.stderr if err else sys.stdout
    text, code = rendered(diagnostics, format, context)
    if format == "text":
        text = context.lead + render_text(diagnostics, color=in_color(stream)) + _further(diagnostics)
    # click takes the colour out again where the stream is no terminal.
    click.echo(text, nl=False, err=err)
    return code


def rendered(diagnostics: Sequence[Diagnostic], format: str, context: Context) -> tuple[str, ExitCode]:
    """Findings in one of `FORMATS`, without colour, and how to exit."""
    failed = any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
    return _RENDERERS[format](diagnostics, context), ExitCode.FINDINGS if failed else ExitCode.CLEAN


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


class Counter:
    """Counts `what` on a terminal, and says nothing elsewhere."""

    def __init__(self, what: str, quiet: bool) -> None:
        self._what = what
        self._shown = sys.stderr.isatty() and not quiet

    def __call__(self, done: int, total: int) -> None:
        if self._shown:
            click.echo(f"\r{done} of {total} {self._what}" + ("\n" if done == total else ""), nl=False, err=True)
