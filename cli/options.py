"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

model_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    metavar="CONFIG",
    help="Another model's config.json: layers, heads and widths are counted against it.",
)

settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value for the constant that `let NAME` declares, written as in a spec; may stand several times.",
)
