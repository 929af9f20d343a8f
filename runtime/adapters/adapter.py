"""What is said of a kind of model, and what is found in a model by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from torch import Tensor, nn

from ..batch import Batch

Run: TypeAlias = Callable[[nn.Module, Batch], Tensor]
"""Runs a model over a batch: logits [B, T, V]."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """Dotted paths of a model's parts, as `nn.Module.get_submodule` reads them.

    `norm` is the final norm; None where blocks norm their own output, and then `final` names the module whose output, or the
    first of whose outputs, is the hidden state that the head reads. `head`: what gives logits of that state, several modules one
    behind the other; None: the model gives none. `attention` is below a block; None: attention rules are refused. `logits` runs
    the model; None: as Hugging Face's are run, and without a head it gives states that nobody reads. `heads` and `causal` are
    read from the model's `config` where they are None.

    What follows concerns Hugging Face models. `first_position`, of the config: the number of the first token's place, in a model
    whose places are learned. `scale`, of the config: a factor on the logits of the head; `capped`: whether the caps and factors
    that a config names are put on them. `decoder`: the other side of a model of two stacks, which a causal plan means.
    `refused`, of the config: why a model of this kind is not supported, if so.
    """

    blocks: str
    embedding: str
    norm: str | None
    head: str | tuple[str, ...] | None
    attention: str | None = None
    logits: Run | None = None
    heads: int | None = None
    causal: bool | None = None
    final: str | None = None
    first_position: Callable[[Any], int] | None = None
    scale: Callable[[Any], float] | None = None
    capped: bool = True
    decoder: Adapter | None = None
    refused: Callable[[Any], str | None] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """The modules of a model that rules read. `attention` has one entry per block, or none where no adapter names it. `holder`:
    the module that the list of blocks belongs to, and the name of the list in it.

    `norm` maps the last block's output to what the head reads, and `final` is the module that puts that out. `head` gives the
    model's own logits [..., V] of such states [..., d], with the cap or scale that the model puts on them, and `entry` is the
    module of it that the model gives them to; both None where it has none. `logits` runs the model; without a head what it gives
    is no logits. `states` runs all but the head of a Hugging Face model.
    """

    blocks: tuple[nn.Module, ...]
    holder: tuple[nn.Module, str]
    attention: tuple[nn.Module, ...]
    embedding: nn.Module
    norm: nn.Module
    final: nn.Module
    head: nn.Module | None
    entry: nn.Module | None
    heads: int
    causal: bool
    logits: Run
    states: Run

    @property
    def shape(self) -> tuple[int, int]:
        """Vocabulary and width, as the embedding has them."""
        vocab, width = cast(Tensor, self.embedding.weight).shape
        return vocab, width
