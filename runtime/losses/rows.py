"""What every attention loss reads: recomputed attention rows, and the keys that each of them is judged by."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

NEVER = -1e30
"""Stands for log 0: finite, so that a row without any key has a gradient of 0 and not one that is no number."""


@dataclass(frozen=True, slots=True)
class KeyRows:
    """`Q` attention rows per record, of `H` heads (1 where heads were averaged), over `T` keys, for `B` records.

    `log_p` [B, H, Q, T]: natural log of the attention probability, normalised over the keys that the model allows.
    `keys`, `rest` [B, 1 or H, Q, T] bool: the row's key set, and all other keys, both without keys that the model masks.
    `mass` [B, 1, Q]: the bound on the probability of the set. `weight` [B, 1, Q, T]: of the keys; None for equal ones.
    """

    log_p: Tensor
    keys: Tensor
    rest: Tensor
    mass: Tensor
    weight: Tensor | None = None


def log_mass(log_p: Tensor, keys: Tensor) -> Tensor:
    """Natural log of the probability that each row places on `keys` [.., T], by logsumexp: [..].

    0 where `keys` is empty: no attention could meet a bound on nothing, so that such a row costs nothing.
    """
    mass = log_p.masked_fill(~keys, NEVER).logsumexp(-1)
    return mass.masked_fill(~keys.any(-1), 0.0)
