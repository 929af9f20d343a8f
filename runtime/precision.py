"""Losses are computed in float32 or better, whatever the model runs in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def widen(tensor: Tensor) -> Tensor:
    """The tensor in float32, or as it is where it is float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Within it, operations keep the precision of their inputs."""
    kind = device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def taken_by(module: nn.Module, values: Tensor) -> Tensor:
    """The values in the number format of the module's first parameter."""
    return values.to(next(module.parameters()).dtype)
