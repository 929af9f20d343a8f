"""`relate`: the cosine with an anchor, bounded."""

from __future__ import annotations

import torch
from torch import Tensor

from ...dsl.checked import Layer
from ..anchors import Anchors
from ..batch import HiddenRows
from ..groups import RelateGroup
from ..losses import RELATE
from ..losses.cosine import cosine_similarity
from .hidden import HiddenTerm


class RelateTerm(HiddenTerm):
    """Bounds the cosine with an anchor per rule by a margin per rule."""

    margin: Tensor

    def __init__(self, reader: int, group: RelateGroup, anchors: Anchors) -> None:
        super().__init__(reader, group, {})
        self.loss = RELATE[group.rules[0].relation]
        self.anchors = anchors
        self.register_buffer("margin", torch.tensor([rule.margin for rule in group.rules]), persistent=False)

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor]:
        return cosine_similarity(state, self.anchors(rows.rule).to(state.dtype)), self.margin[rows.rule]
