"""What rules on the hidden state share: pooled and mapped states, one function of them per layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...compiler.plan import HiddenRule
from ...dsl.checked import Layer
from ..batch import HiddenRows
from ..capture import Captured
from ..groups import HiddenGroup
from .term import Term


class HiddenTerm(Term):
    """Rules on the hidden state, with the same layers and pool: [R]. `reader` is the term's number in `Captured.hidden`.

    `maps`: by layer, what the pooled state goes through first. They belong to the supervisor, as probes do.
    """

    rules: tuple[HiddenRule, ...]

    def __init__(self, reader: int, group: HiddenGroup, maps: Mapping[Layer, nn.Module]) -> None:
        super().__init__()
        self.reader = reader
        self.rules, self.layers = group.rules, group.rules[0].layers
        self._maps = tuple(maps.items())  # A tuple, so that they are not registered a second time here.

    def read(self, rows: HiddenRows, seen: Captured, segments: Tensor) -> list[tuple[Any, ...]]:
        if self.reader in seen.taught:
            rows = replace(rows, vector=pool(rows, seen.taught[self.reader]))
        return [self.at(layer, rows, self._state(layer, rows, seen)) for layer in self.layers]

    def over(self, found: list[tuple[Any, ...]], rows: HiddenRows, function: Callable[..., Tensor]) -> Tensor:
        return torch.stack([self.by_row(rows, function(*layer)) for layer in found]).mean(0)

    def joined(self, rows: HiddenRows, document: Tensor | None) -> HiddenRows:
        """The rows together with what their losses depend on at other ranks. `document`: of their batch."""
        return rows

    def _state(self, layer: Layer, rows: HiddenRows, seen: Captured) -> Tensor:
        state = pool(rows, seen.hidden[self.reader, layer])
        through = dict(self._maps).get(layer)
        return state if through is None else cast(Tensor, through(state))

    def heard(self, seen: Captured) -> bool:
        return all((self.reader, layer) in seen.hidden for layer in self.layers)

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Any, ...]:
        """The arguments of `loss` at one layer, from pooled and mapped hidden states [R, d]."""
        raise NotImplementedError

    def by_row(self, rows: HiddenRows, values: Tensor) -> Tensor:
        """What a function of them gave, in the order of the rows."""
        return values


def pool(rows: HiddenRows, states: Tensor) -> Tensor:
    """The mean of the states [N, d] of each row's tokens, or their weighted sum: [R, d]."""
    count = len(rows.rule)
    if rows.weight is not None:
        weighted = states * rows.weight[:, None].to(states.dtype)
        return states.new_zeros(count, states.shape[1]).index_add(0, rows.row, weighted)
    if len(rows.row) == count:
        return states
    tokens = states.new_zeros(count).index_add(0, rows.row, states.new_ones(len(rows.row)))
    return states.new_zeros(count, states.shape[1]).index_add(0, rows.row, states) / tokens[:, None]
