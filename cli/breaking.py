"""`mcd breaking`: do specs break those who read the shards that they compiled to?"""

from __future__ import annotations

from pathlib import Path

import click

from ..compiler.difference import Change, Effect, differences
from .diff import print_changes, side_of
from .options import format_option, model_option, settings_option
from .output import ExitCode
from .revision import laid_out, tracked


@click.command
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=click.Path(path_type=Path))
@click.option("--against", "revision", required=True, metavar="REV", help="The revision of git to compare with.")
@format_option("changes are")
@model_option
@settings_option
@click.pass_context
def command(
    context: click.Context,
    specs: tuple[Path, ...],
    revision: str,
    format: str,
    model: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Fail where specs break those who read the shards that they compiled to at REV.

    A set, edge set or column that is no longer stored or has another type, a source or split that is gone, other ids, another
    tokenizer. A spec that REV does not have breaks nothing. Exits with 1 where something breaks or a spec has errors, with 2 on
    wrong usage.
    """
    found: list[Change] = []
    for spec in specs:
        now = side_of(context, spec, str(spec), model, settings)
        if tracked(revision, spec):
            with laid_out(revision, spec) as path:
                before = side_of(context, path, f"{revision}:{spec}", model, settings)
            found += (change for change in differences(before, now) if change.effect is Effect.BREAKING)
    print_changes(found, format)
    context.exit(ExitCode.FINDINGS if found else ExitCode.CLEAN)
