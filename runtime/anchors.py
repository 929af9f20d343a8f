"""Anchors as the losses read them: constants that the compiler wrote, and learned ones, which are parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..compiler.plan import HiddenRule
from ..dsl.codes.runtime import ANCHOR
from ..dsl.diagnostics import Failure
from ..dsl.source import DataPlace
from .probes import Probes

Vectors: TypeAlias = Mapping[str, Tensor] | Mapping[str, np.ndarray[Any, Any]]
"""Anchors by name, each of the model's width."""


class Anchors(nn.Module):
    """One anchor per rule of a group. `forward` takes `rule` [R], places in the group, and gives [R, d], learned ones as unit
    vectors. The parameters belong to the supervisor's probes.
    """

    fixed: Tensor
    place: Tensor

    def __init__(self, rules: Sequence[HiddenRule], names: Sequence[str], vectors: Vectors, probes: Probes) -> None:
        """`names`: of the anchor of each rule. Fails with MCD705 where one is missing or is no vector of the model's width."""
        super().__init__()
        rule_of = dict(zip(names, rules, strict=True))
        fixed = [name for name in rule_of if name not in probes.anchors]
        self._learned = [name for name in rule_of if name in probes.anchors]
        self._probes = (probes,)  # In a tuple, so that they are not registered a second time here.
        constant = [_vector(rule_of[name], name, vectors, probes.width) for name in fixed]
        order = {name: number for number, name in enumerate([*fixed, *self._learned])}
        self.register_buffer(
            "fixed", torch.stack(constant) if constant else torch.zeros(0, probes.width), persistent=False
        )
        self.register_buffer("place", torch.tensor([order[name] for name in names]), persistent=False)

    def forward(self, rule: Tensor) -> Tensor:
        table = self.fixed
        if self._learned:
            anchors = self._probes[0].anchors
            learned = torch.stack([anchors[name] for name in self._learned]).to(table.dtype)
            table = torch.cat([table, functional.normalize(learned, dim=-1)])
        return table[self.place[rule]]


def _vector(rule: HiddenRule, name: str, anchors: Vectors, width: int) -> Tensor:
    vector = anchors.get(name)
    if vector is None or tuple(vector.shape) != (width,):
        found = "there is none of this name" if vector is None else f"found shape {tuple(vector.shape)}"
        message = f"rule `{rule.id}` reads anchor `{name}`, a vector of width {width}: {found}"
        raise Failure(
            ANCHOR.at(DataPlace(rule.line.file, rule.line.line), message, help="pass the anchors of this plan")
        )
    return torch.as_tensor(vector).detach().float().cpu()
