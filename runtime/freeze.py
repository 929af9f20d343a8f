"""Stages that train a part of the model: every other parameter of it is frozen, until the next stage or the end.

Freezing layers by a schedule: Brock et al. 2017, "FreezeOut: Accelerate Training by Progressively Freezing Layers",
https://arxiv.org/abs/1706.04983. Here the frozen parameter has no gradient, so that no optimiser moves it.
"""

from __future__ import annotations

from torch import nn

from ..dsl.checked import Layer
from .adapters import Parts
from .parameters import by_layer


class Freezer:
    """Freezes the parameters of a model outside the layers of a stage. Those that were frozen before stay so."""

    def __init__(self, model: nn.Module, parts: Parts) -> None:
        self._model, self._parts = model, parts
        self._layers: tuple[Layer, ...] | None = None
        self._frozen: list[nn.Parameter] = []

    @property
    def frozen(self) -> int:
        """How many numbers the stage froze."""
        return sum(parameter.numel() for parameter in self._frozen)

    def train(self, layers: tuple[Layer, ...] | None) -> None:
        """Trains `layers` alone, or all where they are None. Frozen parameters lose their gradient, so that an optimiser passes
        them over, weight decay and momentum included."""
        if layers == self._layers:
            return
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        self._layers, self._frozen = layers, []
        if layers is None:
            return
        owned = by_layer(self._model, self._parts)
        kept = {parameter for layer in layers for parameter in owned[layer]}
        self._frozen = [each for each in self._model.parameters() if each.requires_grad and each not in kept]
        for parameter in self._frozen:
            parameter.requires_grad_(False)
            parameter.grad = None
