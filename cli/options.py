"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)

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

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print findings alone.")


def format_option(what: str) -> Callable[[Decorated], Decorated]:
    """`--format text|json`; `what` says what is printed so."""
    choice = click.Choice(["text", "json"])
    return click.option("--format", type=choice, default="text", show_default=True, help=f"How {what} printed.")


def no_device(value: str | None) -> click.BadParameter:
    """What to raise for a device that is not there."""
    return click.BadParameter(f"{value!r} is no device: cpu, cuda or cuda:1, say")
