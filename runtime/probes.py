"""Probes: the affine maps that `classify` rules train along. They are no part of the model."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..compiler.plan import ClassifyPlan
from ..dsl.checked import Layer
from ..dsl.codes.runtime import PROBES
from ..dsl.diagnostics import Failure
from ..dsl.source import DataPlace


class Probes(nn.Module):
    """One `nn.Linear` per classify rule and layer, by `(rule id, layer)`.

    The start of a probe depends on its rule and layer alone and leaves the global random state as it was, so that a run with
    probes and one without draw the same numbers.
    """

    def __init__(self, rules: tuple[ClassifyPlan, ...], width: int) -> None:
        super().__init__()
        self._keys = [(rule.id, layer) for rule in rules for layer in rule.layers]
        sizes = [rule.classes for rule in rules for _ in rule.layers]
        self._linears = nn.ModuleList(
            _probe(f"{rule}@{layer}", width, classes) for (rule, layer), classes in zip(self._keys, sizes, strict=True)
        )

    def __getitem__(self, key: tuple[str, Layer]) -> nn.Linear:
        linear = self._linears[self._keys.index(key)]
        assert isinstance(linear, nn.Linear)
        return linear

    def __iter__(self) -> Iterator[tuple[str, Layer]]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, rule: ClassifyPlan) -> dict[Layer, nn.Linear]:
        """A rule's probes by layer."""
        return {layer: self[rule.id, layer] for layer in rule.layers}

    def save(self, path: Path) -> None:
        """Writes `RULE@LAYER.weight` and `RULE@LAYER.bias` as safetensors."""
        save_file(self._named(), path)

    def load(self, path: Path) -> None:
        """Reads what `save` wrote. Fails with MCD709 where names or sizes are not those of this plan, changing nothing."""
        found, own = load_file(path), self._named()
        for name in sorted(found.keys() | own.keys()):
            has = tuple(found[name].shape) if name in found else "none"
            wants = tuple(own[name].shape) if name in own else "none"
            if has != wants:
                message = f"probe tensor `{name}`: the plan has {wants}, the file has {has}"
                raise Failure(PROBES.at(DataPlace(str(path)), message, help="load the probes saved with this plan"))
        for name, tensor in own.items():
            tensor.copy_(found[name])

    def _named(self) -> dict[str, torch.Tensor]:
        parts = zip(self._keys, self._linears, strict=True)
        return {f"{rule}@{layer}.{n}": p.detach() for (rule, layer), m in parts for n, p in m.named_parameters()}


def _probe(name: str, width: int, classes: int) -> nn.Linear:
    """A linear map that starts as `nn.Linear` does: uniform within 1 / sqrt(width)."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    probe = nn.Linear(width, classes, device="meta").to_empty(device="cpu")
    for parameter in probe.parameters():
        nn.init.uniform_(parameter, -(width**-0.5), width**-0.5, generator=generator)
    return probe
