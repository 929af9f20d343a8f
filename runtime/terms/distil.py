"""`predict = TEACHER`: a distribution pulled toward a teacher's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from ...dsl.checked import Layer
from ..adapters import Parts
from ..batch import HiddenRows
from ..groups import DistilGroup
from ..losses.distil import distil
from ..precision import taken_by
from .hidden import HiddenTerm


class DistilTerm(HiddenTerm):
    """Pulls the distribution that norm and head read toward a teacher's, whose final states the rows carry. Temperatures
    [rules]."""

    temperature: Tensor

    def __init__(
        self, reader: int, group: DistilGroup, maps: Mapping[Layer, nn.Module], parts: Parts, head: nn.Module
    ) -> None:
        super().__init__(reader, group, maps)
        assert parts.head is not None, "`check_heads` looks"
        self._model = (parts.norm, parts.head, head)  # A tuple, as for maps.
        self.loss = distil
        temperature = torch.tensor([rule.temperature for rule in group.rules])
        self.register_buffer("temperature", temperature, persistent=False)

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        norm, head, other = self._model
        with torch.no_grad():
            wanted = other(taken_by(other, cast(Tensor, rows.vector)))
        state = taken_by(head, state)
        return head(state if layer == "final" else norm(state)), wanted, self.temperature[rows.rule]
