"""`mcd diff`: what changes between two specs, as far as it means anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from ..compiler.difference import MEANING, Change, Effect, Side, differences
from ..compiler.prepare import prepare
from ..dsl.check import check
from .options import format_option, model_option, settings_option
from .output import ExitCode, report
from .revision import spec_at

JSON_VERSION = 1


@click.command
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@format_option("changes are")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where there is a change.")
@model_option
@settings_option
@click.pass_context
def command(
    context: click.Context,
    old: str,
    new: str,
    format: str,
    exit_code: bool,
    model: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Print what changes in meaning from spec A to spec B.

    A and B are paths of specs, or REV:PATH for the spec at PATH in a revision of git. Changes are sorted into those that are
    breaking for readers of the shards, those for which the shards are compiled again, and those of the plan alone. Names, order,
    comments and layout are no changes. Exits with 0, with 1 where a spec has errors (or for a change, with --exit-code), with 2
    on wrong usage.
    """
    sides: list[Side] = []
    for written in (old, new):
        with spec_at(written) as path:
            sides.append(side_of(context, path, written, model, settings))
    changes = differences(*sides)
    print_changes(changes, format)
    context.exit(ExitCode.FINDINGS if exit_code and changes else ExitCode.CLEAN)


def side_of(context: click.Context, path: Path, written: str, model: Path | None, settings: tuple[str, ...]) -> Side:
    """A spec as it compiles; ends the command where it does not check clean."""
    program, findings = check(path, model, settings)
    if program is None:
        click.echo(f"{written}:", err=True)
        context.exit(report(findings.items, err=True))
    return Side(program, prepare(program)[0])


def print_changes(changes: Sequence[Change], format: str) -> None:
    """Changes under what they cost, the costliest first; as JSON also where there are none."""
    if format == "json":
        entries = [_entry(change) for change in changes]
        click.echo(json.dumps({"version": JSON_VERSION, "changes": entries}, indent=1, ensure_ascii=False))
        return
    for effect in reversed(Effect):
        _section(MEANING[effect], [change for change in changes if change.effect is effect])
    if not changes:
        click.echo("no change in meaning")


def _section(title: str, changes: Iterable[Change]) -> None:
    lines = [f"  {change.subject}: {change.fact}{_where(change)}" for change in changes]
    if lines:
        click.echo("\n".join([title, *lines]))


def _where(change: Change) -> str:
    return "" if change.line is None else f"  ({change.line.file}:{change.line.line})"


def _entry(change: Change) -> dict[str, object]:
    return {
        "effect": change.effect.name.lower(),
        "subject": change.subject,
        "fact": change.fact,
        "line": None if change.line is None else change.line.model_dump(),
    }
