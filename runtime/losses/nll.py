"""`nll`: as much attention on the keys as there is."""

from __future__ import annotations

from torch import Tensor

from .rows import KeyRows, log_mass


def nll(rows: KeyRows) -> Tensor:
    """-log p(query -> keys): [B, H, Q], at least 0.

    Source: an attention head supervised to look at a token: Strubell et al. 2018, "Linguistically-Informed Self-Attention for
    Semantic Role Labeling", https://arxiv.org/abs/1804.08199, section 2.2; of several keys it is "MUL" of Liu et al. 2016,
    https://arxiv.org/abs/1609.04186.
    """
    return -log_mass(rows.log_p, rows.keys)
