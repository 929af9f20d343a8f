"""`classify`: a label read by a probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from ...dsl.checked import Layer
from ..batch import HiddenRows
from ..groups import ClassifyGroup
from ..losses.classify import classify
from .hidden import HiddenTerm


class ClassifyTerm(HiddenTerm):
    """One rule, which reads a label with a probe per layer. The probes belong to the supervisor."""

    def __init__(
        self,
        reader: int,
        group: ClassifyGroup,
        maps: Mapping[Layer, nn.Module],
        probes: Mapping[Layer, nn.Module],
    ) -> None:
        super().__init__(reader, group, maps)
        self._probes = tuple(probes.items())  # A tuple, as for maps.
        self.loss = classify

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor]:
        return dict(self._probes)[layer](state), cast(Tensor, rows.label)
