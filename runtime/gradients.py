"""`gradient { scale stop }`: factors on the gradients of parameters, and layers through which nothing flows down.

Factors by layer are the learning rates by layer of Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text
Classification", https://arxiv.org/abs/1801.06146, section 3.2, on the gradient: g' = f g. A stop is this project's: g' = 0.

Both are part of every backward pass, by hooks: of a loss, of a loss under DDP (whose ranks add up what is scaled already), and of
`torch.autograd.grad`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

from ..dsl.checked import Layer
from ..dsl.codes.runtime import SHARDED, SHARED_PARAMETER
from ..dsl.diagnostics import Failure
from .adapters import Parts
from .parameters import by_layer


class Scales:
    """Multiplies the gradients of the parameters of `scale`'s layers, wherever they are computed."""

    def __init__(self, model: nn.Module, parts: Parts, scale: Mapping[Layer, float]) -> None:
        """Fails with MCD741 where layers that share a parameter have two factors."""
        self._model, self._parts = model, parts
        self._scale = scale
        self._hooks: dict[nn.Parameter, torch.utils.hooks.RemovableHandle] = {}
        self._factors()

    def attach(self) -> None:
        """Puts a hook on each parameter that is trained and has none yet."""
        if not self._scale:
            return
        for parameter, factor in self._factors().items():
            if parameter.requires_grad and parameter not in self._hooks:
                self._hooks[parameter] = parameter.register_hook(partial(torch.mul, other=factor))  # type: ignore[no-untyped-call]

    def _factors(self) -> dict[nn.Parameter, float]:
        found: dict[nn.Parameter, tuple[Layer, float]] = {}
        owned = by_layer(self._model, self._parts)
        for layer, factor in self._scale.items():
            for parameter in owned[layer]:
                other, known = found.setdefault(parameter, (layer, factor))
                if known != factor:
                    message = (
                        f"layers {other} and {layer} share a parameter of shape {tuple(parameter.shape)}, and `scale`"
                        f" gives it {known:g} and {factor:g}"
                    )
                    help = "give both the same factor: a tied head is the embedding's weight"
                    raise Failure(SHARED_PARAMETER.at(None, message, help=help))
        return {parameter: factor for parameter, (_, factor) in found.items()}

    def close(self) -> None:
        """Removes every hook."""
        for handle in self._hooks.values():
            handle.remove()
        self._hooks = {}


class Stops:
    """Cuts the flow of every gradient between a layer of `stop` and the block above it, in the passes of `cutting`.

    Rules that read the hidden state at that layer see it before the cut, and train the blocks below.
    """

    def __init__(self, parts: Parts, stop: Iterable[int]) -> None:
        self._active = False
        self._handles = [self._attach(parts, layer) for layer in stop]

    def _attach(self, parts: Parts, layer: int) -> torch.utils.hooks.RemovableHandle:
        if layer == 0:
            return parts.blocks[0].register_forward_pre_hook(self._before, with_kwargs=True)
        return parts.blocks[layer - 1].register_forward_hook(self._after)

    def _after(self, _: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not self._active:
            return None
        if isinstance(output, tuple):  # Whatever a block hands on flows: T5's gives its position bias to the next.
            return tuple(each.detach() if isinstance(each, Tensor) else each for each in output)
        return output.detach()

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._active:
            return None
        if args:
            return (_cut(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": _cut(kwargs["hidden_states"])}

    @contextmanager
    def cutting(self) -> Iterator[None]:
        """Within it, a forward pass is cut."""
        self._active = True
        try:
            yield
        finally:
            self._active = False

    def close(self) -> None:
        """Removes every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


class _Cut(torch.autograd.Function):
    """Gives its input, and no gradient. Unlike a detached tensor it requires one, as the input does: a block that is computed
    again for its gradient, outside the pass, then keeps the same tensors as before."""

    @staticmethod
    def forward(ctx: Any, states: Tensor) -> Tensor:
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        return None


def _cut(states: Tensor) -> Tensor:
    return cast(Tensor, _Cut.apply(states))  # type: ignore[no-untyped-call]


def in_parts(module: nn.Module) -> bool:
    """Whether FSDP keeps parameters of `module` in parts over ranks."""
    return any(isinstance(each, FSDPModule | FullyShardedDataParallel) for each in module.modules())


def check_whole(what: str, module: nn.Module) -> None:
    """Fails with MCD742 where parameters of `module` lie in parts over ranks, whose gradients no hook and no second pass sees."""
    if in_parts(module):
        message = f"`{what}` is not supported for parameters that FSDP keeps in parts"
        raise Failure(SHARDED.at(None, message, help="train under DDP, or without it"))
