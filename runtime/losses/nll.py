"""`nll`: as much attention on the keys as there is."""

from __future__ import annotations

from torch import Tensor

from .rows import KeyRows, log_mass


def nll(rows: KeyRows) -> Tensor:
    """-log p(query -> keys): [B, H, Q], at least 0."""
    return -log_mass(rows.log_p, rows.keys)
