"""A permutation of 0..n-1 by index: any stretch of it without the rest, in memory that does not grow with n.

A generalised Feistel network over the pairs (left, right) of a x b places, a * b at least n, in which places from n on are walked
past: Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains", https://doi.org/10.1007/3-540-45760-7_9. The rounds mix by
the finaliser of Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators",
https://doi.org/10.1145/2660193.2660195. It shuffles, and keeps no secret.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...compiler.ragged import Ints

_ROUNDS = 8
_GOLDEN, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


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

    def _through(self, number: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """A permutation of all a * b places."""
        a, b = np.uint64(self._left), np.uint64(self._right)
        left, right = np.divmod(number, b)
        for turn, key in enumerate(self._keys):
            if turn % 2:
                right = (right + _mixed(left, key) % b) % b
            else:
                left = (left + _mixed(right, key) % a) % a
        return left * b + right


def _mixed(number: npt.NDArray[np.uint64], key: np.uint64) -> npt.NDArray[np.uint64]:
    mixed = (number + key) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))
