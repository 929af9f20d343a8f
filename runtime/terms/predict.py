"""`predict`: tokens read through the model's final norm and head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from ...dsl.checked import Layer
from ..batch import HiddenRows
from ..groups import PredictGroup
from ..losses.predict import predict
from ..precision import taken_by
from .hidden import HiddenTerm


class PredictTerm(HiddenTerm):
    """Reads tokens through the model's final norm and head, which are the model's own and trained as such."""

    def __init__(
        self, reader: int, group: PredictGroup, maps: Mapping[Layer, nn.Module], norm: nn.Module, head: nn.Module
    ) -> None:
        super().__init__(reader, group, maps)
        self._model = (norm, head)  # A tuple, as for maps.
        self.loss = predict

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor]:
        norm, head = self._model
        state = taken_by(head, state)
        return head(state if layer == "final" else norm(state)), cast(Tensor, rows.label)
