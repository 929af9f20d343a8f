"""One file per measure, each a pure function that gives one number per token; here is the table that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ...compiler.files.measures import MeasureWriter
from .entropy import entropy
from .excess_loss import excess_loss
from .loss import loss

__all__ = ["MEASURES", "Measure", "MeasureWriter", "Seen", "entropy", "excess_loss", "loss"]


@dataclass(frozen=True, eq=False)
class Seen:
    """What models gave for a batch: `logits` [B, T, V], those of the reference where there is one, and `input_ids` [B, T]."""

    logits: Tensor
    reference: Tensor | None
    input_ids: Tensor


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure that `mcd measure` takes: `of` a batch [B, T]. `reference`: whether it compares with a second model."""

    of: Callable[[Seen], Tensor]
    reference: bool = False


def _excess(seen: Seen) -> Tensor:
    assert seen.reference is not None
    return excess_loss(seen.logits, seen.reference, seen.input_ids)


MEASURES: dict[str, Measure] = {
    "loss": Measure(lambda seen: loss(seen.logits, seen.input_ids)),
    "entropy": Measure(lambda seen: entropy(seen.logits)),
    "excess_loss": Measure(_excess, reference=True),
}
"""By the column that `measure("NAME", column)` reads."""
