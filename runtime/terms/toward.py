"""`toward`: hidden states pulled toward a vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from ...dsl.checked import Layer
from ..anchors import Anchors
from ..batch import HiddenRows
from ..groups import TowardGroup
from ..losses import TOWARD
from .hidden import HiddenTerm


class TowardTerm(HiddenTerm):
    """Pulls toward an anchor per rule, or toward the vectors that the rows carry or a teacher has for them."""

    def __init__(
        self, reader: int, group: TowardGroup, maps: Mapping[Layer, nn.Module], anchors: Anchors | None
    ) -> None:
        super().__init__(reader, group, maps)
        self.loss = TOWARD[group.rules[0].loss]
        self.anchors = anchors

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor]:
        target: Tensor = cast(Tensor, rows.vector) if self.anchors is None else self.anchors(rows.rule)
        return state, target.to(state.dtype)
