"""Hooks: what rules read of a running model, and no more.

Hidden states: a hook at each block that a rule reads takes the rows that the batch asks for and lets the rest go. Attention:
see `attention`. The hooks stay on the model between passes, where they do nothing, until `close`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..dsl.checked import Layer
from ..dsl.codes.runtime import UNSUPPORTED_ATTENTION
from ..dsl.diagnostics import Failure
from .adapters import Parts
from .attention import REENTRANT, Observed, attention_configs, capturing, check_kernels, unmark
from .batch import HiddenRows
from .outside import forget, outside
from .precision import widen


@dataclass(frozen=True, slots=True)
class Request:
    """The tokens whose hidden states several readers want at one layer: `N` in all, `sizes` of them for each reader."""

    record: Tensor
    position: Tensor
    readers: tuple[int, ...]
    sizes: list[int]


@dataclass(frozen=True, slots=True)
class Captured:
    """What one forward pass left: `attention` by layer, from 1; `hidden` [N, d] by reader and layer, in float32 or better;
    `taught` [N, d] by reader, the states of a teacher that ran along."""

    attention: dict[int, Observed]
    hidden: dict[tuple[int, Layer], Tensor]
    taught: dict[int, Tensor] = field(default_factory=dict)


class Hooks:
    """The hooks of one supervised model. `attention` and `hidden` are the layers that some rule reads."""

    def __init__(self, model: nn.Module, parts: Parts, attention: Iterable[int], hidden: Iterable[Layer]) -> None:
        self._configs = attention_configs(model)
        self._attention: Mapping[nn.Module, int] = {parts.attention[layer - 1]: layer for layer in sorted(attention)}
        self._requests: Mapping[Layer, Request] = {}
        self._hidden: dict[tuple[int, Layer], Tensor] | None = None
        self._learning = False
        self._handles = [at_layer(parts, layer, self._take) for layer in hidden]
        self._model = model
        forget(model)

    @outside
    def _take(self, layer: Layer, states: Tensor) -> None:
        request = self._requests.get(layer)
        if request is None or self._hidden is None:
            return
        if self._learning and not torch.is_grad_enabled():
            message = f"rules cannot read layer {layer}: it runs without gradients, as under reentrant checkpointing"
            raise Failure(UNSUPPORTED_ATTENTION.at(None, message, help=REENTRANT))
        # Where checkpointing is around a block, its hooks with it, this is not computed again and may not be counted on.
        with torch.autograd.graph.saved_tensors_hooks(_as_it_is, _as_it_is):
            rows = widen(states[request.record, request.position])
        for reader, part in zip(request.readers, torch.split(rows, request.sizes), strict=True):
            self._hidden[reader, layer] = part

    @contextmanager
    def listen(self, requests: Mapping[Layer, Request]) -> Iterator[Captured]:
        """Within it, a forward pass leaves what rules read in the object that it gives. Fails with MCD703 where the
        model's kernel cannot be trained on its device."""
        check_kernels(self._configs, self._model)
        hidden: dict[tuple[int, Layer], Tensor] = {}
        self._requests, self._hidden, self._learning = requests, hidden, torch.is_grad_enabled()
        try:
            with capturing(self._configs, self._attention) as attention:
                yield Captured(attention, hidden)
        finally:
            self._requests, self._hidden = {}, None

    def close(self) -> None:
        """Removes every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        unmark(self._attention)
        forget(self._model)


def at_layer(
    parts: Parts, layer: Layer, take: Callable[[Layer, Tensor], None], *, first: bool = False
) -> torch.utils.hooks.RemovableHandle:
    """Has `take` called with the hidden state at a layer, in every pass. `first`: before the hooks that are there."""
    if layer == 0:

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            take(layer, args[0] if args else kwargs["hidden_states"])

        return parts.blocks[0].register_forward_pre_hook(before, with_kwargs=True, prepend=first)

    def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        take(layer, output if isinstance(output, Tensor) else output[0])

    module = parts.final if layer == "final" else parts.blocks[layer - 1]
    return module.register_forward_hook(after, prepend=first)


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def requests(layers: Iterable[tuple[Layer, ...]], rows: Iterable[HiddenRows]) -> dict[Layer, Request]:
    """One request per layer, for readers numbered from 0: reader i reads `layers[i]` at the tokens of `rows[i]`."""
    readers: dict[Layer, list[tuple[int, HiddenRows]]] = {}
    for reader, (read, wanted) in enumerate(zip(layers, rows, strict=True)):
        for layer in read:
            readers.setdefault(layer, []).append((reader, wanted))
    return {
        layer: Request(
            torch.cat([wanted.record for _, wanted in found]),
            torch.cat([wanted.position for _, wanted in found]),
            tuple(reader for reader, _ in found),
            [len(wanted.record) for _, wanted in found],
        )
        for layer, found in readers.items()
    }
