"""`avoid`: at most `mass` on the keys, which is at least 1 - mass on all others."""

from __future__ import annotations

import torch
from torch import Tensor

from .rows import KeyRows, log_mass


def avoid(rows: KeyRows) -> Tensor:
    """max(0, log(1 - mass) - log(1 - p(query -> keys))): [B, H, Q].

    1 - p is summed over the other keys, not subtracted, so that it is exact where p is near 1. A row that can attend to
    nothing else cannot avoid its keys and costs nothing.

    Source: this project, as the hinge turned around.
    """
    return (torch.log1p(-rows.mass) - log_mass(rows.log_p, rows.rest)).clamp(min=0)
