"""Parameters that lie in parts over ranks: what FSDP2 needs of us, and wrappers that take what rules read.

Rules read the final norm and the head, and probes, outside of the model's own forward pass. What FSDP2 gathers for that pass and
parts again at its end would not be there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.distributed.tensor import DTensor, distribute_tensor

from ..dsl.codes.runtime import WRAPPED
from ..dsl.diagnostics import Failure
from .adapters import Parts

FSDP2 = "use `torch.distributed.fsdp.fully_shard` on the blocks and the supervised model, or DDP"
AROUND = "a wrapper (DDP, FSDP, compile) goes around the supervised model"


def check_wrapper(model: nn.Module) -> None:
    """Fails with MCD724 where a wrapper over ranks is inside of what is supervised."""
    found = [type(each).__name__ for each in model.modules() if isinstance(each, FullyShardedDataParallel)]
    if not found and isinstance(model, nn.parallel.DistributedDataParallel):
        found = [type(model).__name__]
    if found:
        message = f"`{found[0]}` is around the model, and hides the parts that rules read"
        help = FSDP2 if found[0] != "DistributedDataParallel" else f"supervise the model itself: {AROUND}"
        raise Failure(WRAPPED.at(None, message, help=help))


def check_parted(supervised: nn.Module, model: nn.Module, parts: Parts, probes: nn.Module) -> None:
    """Looks at how parameters lie when the first pass begins, since wrappers go around a supervised model.

    Under FSDP2 norm and head stay gathered until the backward pass, whatever the module that keeps them was told.
    Fails with MCD724 under the first FSDP, and where the model lies in parts and the probes do not: nothing would add
    their gradients up.
    """
    if any(getattr(parameter, "_fsdp_flattened", False) for parameter in supervised.parameters()):
        message = "`FullyShardedDataParallel` flattens the parameters that rules read"
        raise Failure(WRAPPED.at(None, message, help=FSDP2))
    sharded = [each for each in model.modules() if isinstance(each, FSDPModule)]
    if not sharded:
        return
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    if ranks > 1 and not isinstance(supervised, FSDPModule) and next(probes.parameters(), None) is not None:
        message = "`fully_shard` was called on the model and not on what is supervised: nothing adds up gradients of its probes"
        raise Failure(WRAPPED.at(None, message, help="call `fully_shard` on the supervised model, after the blocks"))
    own = {part for part in (parts.norm, parts.head) if part is not None}
    read = {id(parameter) for part in own for parameter in part.parameters()}
    for module in sharded:
        # What a module keeps itself, and not one inside of it; those of a norm or head of its own come when it is called.
        if module not in own and read & {id(p) for p in _kept(cast(nn.Module, module))}:
            module.set_reshard_after_forward(False, recurse=False)


def _kept(module: nn.Module) -> Iterable[nn.Parameter]:
    yield from module.parameters(recurse=False)
    for child in module.children():
        if not isinstance(child, FSDPModule):
            yield from _kept(child)


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may lie in parts; every rank has to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def fill(tensor: Tensor, value: Tensor) -> None:
    """Writes a whole value to a tensor that may lie in parts; every rank has to do it."""
    if isinstance(tensor, DTensor):
        value = distribute_tensor(value.to(tensor.device, tensor.dtype), tensor.device_mesh, tensor.placements)
    tensor.copy_(value)


def writes(tensors: Iterable[Tensor]) -> bool:
    """Whether this rank writes a file of them: of tensors in parts, which all ranks gather, only the first."""
    return not any(isinstance(tensor, DTensor) for tensor in tensors) or dist.get_rank() == 0
