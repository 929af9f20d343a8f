"""`mcd check`: what is wrong with a spec, without touching its data more than needed."""

from __future__ import annotations

from pathlib import Path

import click

from ..dsl.check import check
from ..dsl.diagnostics import Diagnostic
from ..dsl.source import Place
from .options import model_option, settings_option
from .output import report


@click.command
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=click.Path(path_type=Path))
@click.option(
    "--format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How findings are printed."
)
@model_option
@settings_option
@click.pass_context
def command(
    context: click.Context, specs: tuple[Path, ...], format: str, model: Path | None, settings: tuple[str, ...]
) -> None:
    """Check specs and print every finding with its place.

    Exits with 0 where there is no error (warnings are allowed), 1 where there is one, 2 on wrong usage.
    """
    found = [diagnostic for spec in specs for diagnostic in check(spec, model, settings)[1].items]
    context.exit(report(_once(found), format))


def _once(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Findings without those that another spec brought up already, through an import that both share."""
    return list({_identity(diagnostic): diagnostic for diagnostic in reversed(diagnostics)}.values())[::-1]


def _identity(diagnostic: Diagnostic) -> tuple[object, ...]:
    place = diagnostic.place
    where = (place.source.path, place.start, place.end) if isinstance(place, Place) else place
    return diagnostic.code.id, diagnostic.message, where
