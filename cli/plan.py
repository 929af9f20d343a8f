"""`mcd plan`: what a spec compiles to, in words or as JSON, without reading its sources."""

from __future__ import annotations

from pathlib import Path

import click

from ..compiler.compile import prepare
from ..compiler.describe import describe
from ..compiler.files.output import json_text
from ..dsl.check import check
from .options import model_option, settings_option
from .output import ExitCode, report


@click.command
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How it is printed."
)
@model_option
@settings_option
@click.pass_context
def command(context: click.Context, spec: Path, model: Path | None, settings: tuple[str, ...], format: str) -> None:
    """Print the plan of a spec: its rules with resolved layers, heads and formulae, its sets and its schedule.

    JSON is the text of program.json. Exits as `mcd check` does.
    """
    program, findings = check(spec, model, settings)
    if program is None:
        context.exit(report(findings.items, err=True))
    lowered, _ = prepare(program)
    if findings.items:
        report(findings.items, err=True)
    click.echo(json_text(lowered.plan) if format == "json" else describe(program, lowered), nl=False)
    context.exit(ExitCode.CLEAN)
