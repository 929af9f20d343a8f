"""Probes, maps and learned anchors: what rules train along and no model has. `classify` reads with a probe, `through` maps the
state before.

A map is W x + b, or W2 gelu(W1 x + b1) + b2 with gelu(x) = x (1 + erf(x / sqrt 2)) / 2. Maps that are trained along and thrown
away: the regressors of Romero et al. 2014, "FitNets", https://arxiv.org/abs/1412.6550, and, before a contrast, the projection
head of Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations",
https://arxiv.org/abs/2002.05709. That an anchor is learned is this project's: v / |v| of a vector that is trained along.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ..compiler.plan import ClassifyPlan, HiddenRule, ThroughPlan
from ..dsl.checked import Layer
from ..dsl.codes.runtime import PROBES
from ..dsl.diagnostics import Failure
from ..dsl.source import DataPlace


class Affine(nn.Linear):
    """W h + b in the precision of h, whatever W and b are kept in.

    It starts as `nn.Linear` does, uniform within 1 / sqrt(width), from its name alone: the global random state stays as it was,
    so that a run with probes and one without draw the same numbers.
    """

    def __init__(self, name: str, width: int, out: int) -> None:
        super().__init__(width, out, device="meta")
        self.to_empty(device="cpu")
        generator = _generator(name)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5, generator=generator)

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.weight.to(input.dtype), self.bias.to(input.dtype))


class Probes(nn.Module):
    """One `Affine` per classify rule and layer, by `(rule id, layer)`, one map per rule with `through` and layer, and a vector
    per learned anchor, which starts in a random direction from its name alone.
    """

    def __init__(self, rules: Iterable[HiddenRule], width: int, learned: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.width = width
        self._keys: list[tuple[str, Layer]] = []
        self._map_keys: list[tuple[str, Layer]] = []
        self._linears, self._maps = nn.ModuleList(), nn.ModuleList()
        for rule, layer in [(each, layer) for each in rules for layer in each.layers]:
            name, read = f"{rule.id}@{layer}", width
            if rule.through is not None:
                self._map_keys.append((rule.id, layer))
                self._maps.append(_map(f"{name}.through", width, rule.through))
                read = rule.through.width
            if isinstance(rule, ClassifyPlan):
                self._keys.append((rule.id, layer))
                self._linears.append(Affine(name, read, rule.classes))

        self._names = learned
        self._anchors = nn.ParameterList(_direction(f"{name}.anchor", width) for name in learned)

    def __getitem__(self, key: tuple[str, Layer]) -> Affine:
        linear = self._linears[self._keys.index(key)]
        assert isinstance(linear, Affine)
        return linear

    def __iter__(self) -> Iterator[tuple[str, Layer]]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys) + len(self._map_keys)

    def of(self, rule: ClassifyPlan) -> dict[Layer, Affine]:
        """A rule's probes by layer."""
        return {layer: self[rule.id, layer] for layer in rule.layers}

    @property
    def anchors(self) -> dict[str, nn.Parameter]:
        """The learned anchors by name, each [width]; their length says nothing."""
        return dict(zip(self._names, self._anchors, strict=True))

    @property
    def maps(self) -> dict[tuple[str, Layer], nn.Module]:
        """The maps by rule and layer."""
        return dict(zip(self._map_keys, self._maps, strict=True))

    def maps_of(self, rule: HiddenRule) -> dict[Layer, nn.Module]:
        """A rule's maps by layer; none without `through`."""
        return {layer: found for (name, layer), found in self.maps.items() if name == rule.id}

    def parameters_of(self, rules: Collection[str]) -> list[nn.Parameter]:
        """Every parameter that is trained for one of `rules`."""
        found = [*zip(self._keys, self._linears, strict=True), *self.maps.items()]
        return [parameter for (name, _), module in found if name in rules for parameter in module.parameters()]

    def names_of(self, rule: HiddenRule) -> set[str]:
        """The tensors of `save` without which a rule says nothing: those of its probes and maps, and the anchors it reads."""
        anchors = {getattr(rule, "anchor", None), getattr(rule, "anchor_to", None)} & set(self._names)
        own = {
            f"{prefix}.{n}"
            for name, prefix, part in self._parts()
            if name == rule.id
            for n, _ in part.named_parameters()
        }
        return own | {f"{name}.anchor" for name in anchors}

    def save(self, path: Path) -> None:
        """Writes `RULE@LAYER.weight` and `RULE@LAYER.bias`, those of maps as `RULE@LAYER.through.weight`, and `NAME.anchor`, as
        safetensors."""
        save_file(self._named(), path)

    def load(self, path: Path, *, partly: bool = False) -> None:
        """Reads what `save` wrote. Fails with MCD709 where names or sizes are not those of this plan, changing nothing. `partly`:
        what the file holds for other rules is passed over."""
        found, own = load_file(path), self._named()
        for name in sorted(own if partly else found.keys() | own.keys()):
            has = tuple(found[name].shape) if name in found else "none"
            wants = tuple(own[name].shape) if name in own else "none"
            if has != wants:
                message = f"probe tensor `{name}`: the plan has {wants}, the file has {has}"
                raise Failure(PROBES.at(DataPlace(str(path)), message, help="load the probes saved with this plan"))
        for name, tensor in own.items():
            tensor.copy_(found[name])

    def _named(self) -> dict[str, Tensor]:
        found = {f"{prefix}.{n}": p.detach() for _, prefix, part in self._parts() for n, p in part.named_parameters()}
        return found | {f"{name}.anchor": vector.detach() for name, vector in self.anchors.items()}

    def _parts(self) -> list[tuple[str, str, nn.Module]]:
        """Rule, name and module of every probe and map."""
        probes = [(rule, f"{rule}@{layer}", p) for (rule, layer), p in zip(self._keys, self._linears, strict=True)]
        return [*probes, *((rule, f"{rule}@{layer}.through", part) for (rule, layer), part in self.maps.items())]


def _map(name: str, width: int, through: ThroughPlan) -> nn.Module:
    """The map of a hidden state to `through.width` numbers."""
    if through.hidden is None:
        return Affine(name, width, through.width)
    inner, outer = Affine(f"{name}.0", width, through.hidden), Affine(f"{name}.2", through.hidden, through.width)
    return nn.Sequential(inner, nn.GELU(), outer)


def _direction(name: str, width: int) -> nn.Parameter:
    """A vector of length 1 in a random direction."""
    vector = torch.randn(width, generator=_generator(name))
    return nn.Parameter(vector / vector.norm())


def _generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))
