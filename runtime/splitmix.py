"""SplitMix64's mixing of 64-bit words: Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators",
https://doi.org/10.1145/2660193.2660195. Word n of a stream needs none of those before it. It mixes, and keeps no secret."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""What the places of a stream are apart."""
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mixed(words: Words) -> Words:
    """The words, each as one that tells nothing of how it was counted."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
