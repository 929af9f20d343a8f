"""`mass`: how much attention goes to the keys."""

from __future__ import annotations

from torch import Tensor

from ..losses.rows import KeyRows, log_mass


def mass(rows: KeyRows) -> Tensor:
    """p(query -> keys), the attention probability of the key set: [B, H, Q], in 0..1."""
    return log_mass(rows.log_p, rows.keys).exp()
