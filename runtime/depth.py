"""A model that runs its first blocks alone, then the final norm and the head.

For the length of a pass the model's list of blocks is a shorter one of the same kind, so that the blocks left out cost nothing.
It is the longer one again however the pass ends.

Progressive stacking (Gong et al. 2019, "Efficient Training of BERT by Progressively Stacking") grows a model in this way;
progressive layer dropping (Zhang and He 2020) leaves out layers by chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    blocks: Any = getattr(owner, name)
    guard = parts.blocks[depth].register_forward_pre_hook(_refuse(depth))
    setattr(owner, name, blocks[:depth])
    try:
        yield
    finally:
        setattr(owner, name, blocks)
        guard.remove()


def _refuse(depth: int) -> Any:
    def refuse(module: nn.Module, args: object) -> None:
        message = f"block {depth + 1} ran in a stage of depth {depth}: the model does not iterate over its list of blocks"
        raise Failure(BLOCKS.at(None, message, help="let the model's forward pass loop over the list itself"))

    return refuse
