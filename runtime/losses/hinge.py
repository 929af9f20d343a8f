"""`hinge`: at least `mass` on the keys, and no more is asked."""

from __future__ import annotations

from torch import Tensor

from .rows import KeyRows, log_mass


def hinge(rows: KeyRows) -> Tensor:
    """max(0, log(mass) - log p(query -> keys)): [B, H, Q].

    Source: this project, as nll less the bound that is met.
    """
    return (rows.mass.log() - log_mass(rows.log_p, rows.keys)).clamp(min=0)
