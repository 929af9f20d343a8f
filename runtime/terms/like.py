"""`relate .. like ..`: an offset along another."""

from __future__ import annotations

import torch
from torch import Tensor

from ...dsl.checked import Layer
from ..anchors import Anchors
from ..batch import HiddenRows
from ..groups import LikeGroup
from ..losses.like import like
from .hidden import HiddenTerm


class LikeTerm(HiddenTerm):
    """Bounds the cosine of an offset with that of two anchors per rule by a margin per rule."""

    margin: Tensor

    def __init__(self, reader: int, group: LikeGroup, start: Anchors, end: Anchors) -> None:
        super().__init__(reader, group, {})
        self.start, self.end = start, end
        self.loss = like
        self.register_buffer("margin", torch.tensor([rule.margin for rule in group.rules]), persistent=False)

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        target = self.end(rows.rule) - self.start(rows.rule)
        return state, target.to(state.dtype), self.margin[rows.rule]
