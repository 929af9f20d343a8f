"""A permutation of 0..n-1 by index: any stretch of it without the rest, in memory that does not grow with n.

A generalised Feistel network over the pairs (left, right) of a x b places, a * b at least n, in which places from n on are walked
past: Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains", https://doi.org/10.1007/3-540-45760-7_9. The rounds mix as
SplitMix64 does. It shuffles, and keeps no secret.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...compiler.ragged import Ints
from ..splitmix import GOLDEN, Words, mixed

_ROUNDS = 8


class Permutation:
    """The permutation of `size` places that `entropy` names. Raises ValueError for a number in it below 0."""

    def __init__(self, size: int, entropy: Sequence[int]) -> None:
        self._size = size
        self._left = max(math.isqrt(max(size - 1, 0)) + 1, 1)
        self._right = max(-(-size // self._left), 1)
        self._keys = np.random.SeedSequence(list(entropy)).generate_state(_ROUNDS, np.uint64)

    def __len__(self) -> int:
        return self._size

    def at(self, index: Ints) -> Ints:
        """What stands at the places `index`, each in 0..size-1: int64, as long."""
        found = self._through(index.astype(np.uint64))
        beyond = np.flatnonzero(found >= self._size)
        while len(beyond):
            found[beyond] = self._through(found[beyond])
            beyond = beyond[found[beyond] >= self._size]
        return found.astype(np.int64)

    def _through(self, number: Words) -> Words:
        """A permutation of all a * b places."""
        a, b = np.uint64(self._left), np.uint64(self._right)
        left, right = np.divmod(number, b)
        for turn, key in enumerate(self._keys):
            if turn % 2:
                right = (right + mixed((left + key) * GOLDEN) % b) % b
            else:
                left = (left + mixed((right + key) * GOLDEN) % a) % a
        return left * b + right
