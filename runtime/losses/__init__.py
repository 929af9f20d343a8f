"""One file per loss, each a pure function that gives one value per row; here is the table that names them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .avoid import avoid
from .cosine import cosine
from .hinge import hinge
from .kl import kl
from .mse import mse
from .nll import nll
from .relate import distinct, is_a, opposes
from .rows import KeyRows

ATTENTION: dict[str, Callable[[KeyRows], Tensor]] = {"nll": nll, "hinge": hinge, "kl": kl, "avoid": avoid}
"""Attention rows [B, H, Q, T] -> [B, H, Q]. `avoid = true` takes the last, whatever the rule's loss."""

TOWARD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cosine": cosine, "mse": mse}
"""Hidden states and targets [R, d] -> [R]."""

RELATE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"is_a": is_a, "opposes": opposes, "distinct": distinct}
"""Cosines and margins [R] -> [R]."""
