"""A model that runs its first blocks alone, then the final norm and the head.

For the length of a pass the model's list of blocks is one that ends early for who iterates over it, so that the blocks left out
cost nothing. Who walks over the modules of the model, as transformers does once to record hidden states, finds them all.

Progressive stacking (Gong et al. 2019, "Efficient Training of BERT by Progressively Stacking",
https://proceedings.mlr.press/v97/gong19a.html) grows a model in this way;
progressive layer dropping (Zhang and He 2020) leaves out layers by chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Any

from torch import nn

from ..dsl.codes.runtime import BLOCKS
from ..dsl.diagnostics import Failure
from .adapters import Parts

LISTS = (nn.ModuleList, nn.Sequential)


def check_blocks(model: nn.Module, parts: Parts) -> None:
    """Fails with MCD740 where the model's blocks stand in something that cannot be cut short."""
    owner, name = parts.holder
    blocks = getattr(owner, name)
    if not isinstance(blocks, LISTS):
        message = (
            f"a stage has a `depth`, and the blocks of `{type(model).__name__}` stand in a `{type(blocks).__name__}`"
        )
        help = "an adapter's `blocks` is a ModuleList that the model iterates over, or a Sequential"
        raise Failure(BLOCKS.at(None, message, help=help))


@contextmanager
def shortened(parts: Parts, depth: int) -> Iterator[None]:
    """Within it the model has its first `depth` blocks alone. Fails with MCD740 where another one runs all the same."""
    if depth >= len(parts.blocks):
        yield
        return
    owner, name = parts.holder
    blocks: nn.Module = getattr(owner, name)
    guard = parts.blocks[depth].register_forward_pre_hook(_refuse(depth))
    setattr(owner, name, _first(blocks, depth))
    try:
        yield
    finally:
        setattr(owner, name, blocks)
        guard.remove()


class _First:
    """A list of modules that ends after the first `depth` of those that it holds."""

    depth: int
    _modules: dict[str, nn.Module]

    def __iter__(self) -> Iterator[nn.Module]:
        return islice(self._modules.values(), self.depth)

    def __len__(self) -> int:
        return self.depth

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]


@cache
def _kind(of: Any) -> Any:
    return type(f"First{of.__name__}", (_First, of), {})


def _first(blocks: nn.Module, depth: int) -> nn.Module:
    """The list of blocks, with its modules and hooks, that ends after `depth`."""
    of: Any = type(blocks)
    kind = _kind(of)
    short: nn.Module = kind.__new__(kind)
    short.__dict__ = {**blocks.__dict__, "depth": depth}
    return short


def _refuse(depth: int) -> Any:
    def refuse(module: nn.Module, args: object) -> None:
        message = (
            f"block {depth + 1} ran in a stage of depth {depth}: the model does not iterate over its list of blocks"
        )
        raise Failure(BLOCKS.at(None, message, help="let the model's forward pass loop over the list itself"))

    return refuse
