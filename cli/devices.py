"""The option for a device, shared by the commands that run a model."""

from __future__ import annotations

import click

from ..runtime.run import device_of
from .options import no_device


def _device(context: click.Context, parameter: click.Parameter, value: str | None) -> object:
    try:
        return device_of(value)
    except RuntimeError:
        raise no_device(value) from None


device_option = click.option("--device", callback=_device, help="Where the model is: cuda if there is one, else cpu.")
