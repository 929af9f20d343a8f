"""`contrast`: rows of equal label pulled together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...dsl.checked import Layer
from ..batch import HiddenRows
from ..groups import ContrastGroup
from ..losses.contrast import contrast
from ..ranks import joined, states_of_all
from .hidden import HiddenTerm


class ContrastTerm(HiddenTerm):
    """Pulls rows of equal label together, within records or over the batch of every rank. Temperatures [rules]."""

    temperature: Tensor

    def __init__(self, reader: int, group: ContrastGroup, maps: Mapping[Layer, nn.Module]) -> None:
        super().__init__(reader, group, maps)
        self.scope, self.per = group.rules[0].scope, group.rules[0].per
        temperature = torch.tensor([rule.temperature for rule in group.rules])
        self.register_buffer("temperature", temperature, persistent=False)
        self.loss = contrast

    def joined(self, rows: HiddenRows, document: Tensor | None) -> HiddenRows:
        return joined(rows, self.per == "record", document) if self.scope == "batch" else rows

    def at(self, layer: Layer, rows: HiddenRows, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        unit = functional.normalize(state, dim=-1)
        label = cast(Tensor, rows.label)
        if rows.among is not None and rows.own is not None:
            return self._over_ranks(unit, label, rows.among, rows.own)
        members = cast(Tensor, rows.members)
        there, at = members >= 0, members.clamp(min=0)
        scale = self.temperature[rows.rule[at[:, 0]]].to(unit.dtype)
        unit, key = unit[at], label[at]
        itself = torch.eye(members.shape[1], dtype=torch.bool, device=unit.device)
        others = there[:, None, :] & ~itself
        positive = others & (key[:, :, None] == key[:, None, :])
        return unit @ unit.transpose(1, 2) / scale[:, None, None], positive, others

    def by_row(self, rows: HiddenRows, values: Tensor) -> Tensor:
        if rows.among is not None:
            return values
        return values.flatten()[_places(cast(Tensor, rows.members), len(rows.rule))]

    def _over_ranks(self, unit: Tensor, label: Tensor, among: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        everyone = states_of_all(unit, len(among) // torch.distributed.get_world_size())
        others = (among >= 0).repeat(len(label), 1).scatter(1, own[:, None], False)
        positive = others & (label[:, None] == among)
        return unit @ everyone.T / self.temperature.to(unit.dtype), positive, others


def _places(members: Tensor, count: int) -> Tensor:
    """Where each of `count` rows stands among the members of all groups: [count]."""
    rows = torch.where(members < 0, count, members).flatten()
    places = torch.zeros(count + 1, dtype=rows.dtype, device=rows.device)
    return places.scatter(0, rows, torch.arange(len(rows), device=rows.device))[:count]
