"""What every term is: one per group of rules, from what the model left behind to one loss per row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ...compiler.plan import AttendPlan, HiddenRule
from ...dsl.checked import Layer
from ..batch import AttendRows, HiddenRows
from ..capture import Captured


class Term(nn.Module):
    """A group of rules. `forward` gives one loss per row, flat, padded rows among them, after the mean over layers and heads.

    A loss is a function of what the term reads of the model at a layer, and so is every metric.
    """

    rules: tuple[AttendPlan, ...] | tuple[HiddenRule, ...]
    layers: tuple[Layer, ...]
    loss: Callable[..., Tensor]

    def forward(self, rows: Any, seen: Captured, segments: Tensor) -> Tensor:
        """`rows` of a batch, what its pass left in `seen`, and `segments` [B, T]: as `Batch.segments`."""
        return self.over(self.read(rows, seen, segments), rows, self.loss)

    def read(self, rows: Any, seen: Captured, segments: Tensor) -> list[tuple[Any, ...]]:
        """The arguments of `loss` at each layer, of all rows."""
        raise NotImplementedError

    def over(self, found: list[tuple[Any, ...]], rows: Any, function: Callable[..., Tensor]) -> Tensor:
        """The mean over layers and heads of a function of what was read, one value per row, flat."""
        raise NotImplementedError

    def heard(self, seen: Captured) -> bool:
        """Whether the model computed everything that the rules read."""
        raise NotImplementedError


def by_rule(term: Term, rows: AttendRows | HiddenRows, values: Tensor) -> Tensor:
    """Sums `values`, one per row (padded rows among them), over the rows of each of the term's rules: [rules]."""
    return values.new_zeros(len(term.rules)).index_add(0, rows.rule.flatten(), values.flatten())


def count(term: Term, rows: AttendRows | HiddenRows) -> Tensor:
    """Rows per rule of the term: [rules] int64."""
    valid = rows.valid if isinstance(rows, AttendRows) else rows.share > 0
    return by_rule(term, rows, valid.long())
