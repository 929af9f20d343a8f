"""What every checked node may hold: a place, a field of the record, a layer."""

from __future__ import annotations

from dataclasses import field
from typing import Literal, TypeAlias

from ..source import Place


def no_meaning() -> Place:
    """The place of a node: kept for diagnostics, and no part of what the node means."""
    return field(compare=False, repr=False)  # type: ignore[no-any-return]


def where_written() -> Place | None:
    """The same, of a node that may be built without a text."""
    return field(default=None, compare=False, repr=False)


FieldPath: TypeAlias = tuple[str, ...]
"""`.a.b` is `("a", "b")`."""

Lost: TypeAlias = Literal["warn", "drop", "error"]
Layer: TypeAlias = int | Literal["final"]
"""0 is the embedding output, `k` the residual stream after block `k`, `final` is after the final norm."""
