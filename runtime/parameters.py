"""Whose parameters are whose: of the embedding (layer 0), of a block, of the final norm and the head (`final`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from torch import nn

from ..dsl.checked import Layer
from .adapters import Parts

ByLayer: TypeAlias = Mapping[Layer, tuple[nn.Parameter, ...]]
"""The parameters of every layer, each once in a layer. One that layers share, as a head that is tied to the embedding, is of
each of them."""


def by_layer(model: nn.Module, parts: Parts) -> ByLayer:
    """The parameters of `model` by layer. What is of no block, norm or head is of layer 0: token and position embeddings."""
    found: dict[Layer, Iterable[nn.Parameter]] = {
        layer: block.parameters() for layer, block in enumerate(parts.blocks, 1)
    }
    found["final"] = [*parts.norm.parameters(), *(() if parts.head is None else parts.head.parameters())]
    sorted_ = {layer: tuple(dict.fromkeys(own)) for layer, own in found.items()}
    elsewhere = {parameter for own in sorted_.values() for parameter in own}
    rest = [parameter for parameter in model.parameters() if parameter not in elsewhere]
    return {0: tuple(dict.fromkeys([*parts.embedding.parameters(), *rest])), **sorted_}
