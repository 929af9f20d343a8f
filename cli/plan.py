"""`mcd plan`: what a spec compiles to, in words or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from ..compiler.chart import chart
from ..compiler.describe import describe
from ..compiler.files.output import json_text
from ..compiler.prepare import prepare
from ..compiler.rebuild import Rebuild, rebuild
from ..dsl.check import check
from .options import format_option, model_option, settings_option
from .output import ExitCode, report


@click.command
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also read the sources, and say what compiling into DIR would reuse.",
)
@format_option("it is")
@model_option
@settings_option
@click.pass_context
def command(
    context: click.Context,
    spec: Path,
    model: Path | None,
    settings: tuple[str, ...],
    output: Path | None,
    format: str,
) -> None:
    """Print the plan of a spec: its rules with resolved layers, heads and formulae, its sets and its schedule.

    Sources are not read, unless -o asks what compiling into a directory would reuse. JSON is the text of program.json. Exits as
    `mcd check` does.
    """
    program, findings = check(spec, model, settings)
    if program is None:
        context.exit(report(findings.items, err=True))
    lowered, _ = prepare(program)
    if findings.items:
        report(findings.items, err=True)
    if format == "json":
        click.echo(json_text(lowered.plan), nl=False)
        context.exit(ExitCode.CLEAN)
    click.echo(describe(program, lowered), nl=False)
    for line in chart(lowered.plan):
        click.echo(f"  {line}")
    if output is not None:
        click.echo("\n".join(_rebuild(rebuild(program, lowered, output), output)))
    context.exit(ExitCode.CLEAN)


def _rebuild(found: Rebuild, output: Path) -> Iterator[str]:
    yield "inputs"
    yield from (f"  {entry.digest[:8]}  {entry.path}" for entry in found.inputs)
    yield f"compiling into {output}"
    if not found.ran:
        yield "  keeps the shards and writes the plan"
    elif found.kept:
        yield f"  runs {found.ran:,} of {found.kept + found.ran:,} tasks and keeps the shards of the others:"
    else:
        yield "  writes the shards anew:"
    yield from (f"    {reason}" for reason in found.reasons)
