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


class Size(click.ParamType[int]):
    """A number of bytes: `500MB`, `2GiB`, `0`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number that is meant."""
        if isinstance(value, int):
            return value
        assert isinstance(value, str), "what stands on a command line"
        digits = value[: len(value) - len(value.lstrip("0123456789"))]
        factor = _UNITS.get(value[len(digits) :].strip().lower())
        if not digits or factor is None:
            self.fail(f"{value!r} is no size: 500MB, 2GiB or 0, say", param, ctx)
        return int(digits) * factor


_UNITS: dict[str, int] = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}


def format_option(what: str) -> Callable[[Decorated], Decorated]:
    """`--format text|json`; `what` says what is printed so."""
    choice = click.Choice(["text", "json"])
    return click.option("--format", type=choice, default="text", show_default=True, help=f"How {what} printed.")


def no_device(value: str | None) -> click.BadParameter:
    """What to raise for a device that is not there."""
    return click.BadParameter(f"{value!r} is no device: cpu, cuda or cuda:1, say")
