"""The shapes of tensors in safetensors files, from the header alone. The only module of the check that opens such files."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open


class Unreadable(Exception):
    """A file is no safetensors file."""


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a file, by key. Raises Unreadable."""
    try:
        with safe_open(path, framework="numpy") as opened:
            return {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise Unreadable(str(error)) from None
