"""Permutations by index: whole, and as even as a shuffle."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mcd.runtime.loader.permute import Permutation
from mcd.runtime.loader.rows import ByShards


def whole(size, *entropy):
    return Permutation(size, entropy).at(np.arange(size, dtype=np.int64))


def test_every_place_once():
    for size in (*range(1, 130), 1000, 1024, 65537):
        assert np.array_equal(np.sort(whole(size, 1, 2)), np.arange(size)), size


def test_any_stretch_is_that_of_the_whole():
    order = Permutation(1000, (7, 0))
    picked = np.array([999, 0, 500, 500], dtype=np.int64)
    assert order.at(picked).tolist() == whole(1000, 7, 0)[picked].tolist()
    assert len(order) == 1000 and order.at(np.zeros(0, dtype=np.int64)).tolist() == []


def test_a_hundred_million_places_are_permuted_where_they_are_asked_for():
    found = Permutation(10**8, (0, 0)).at(np.arange(0, 10**8, 10**4))
    assert len(np.unique(found)) == 10**4 and found.min() >= 0 and found.max() < 10**8


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 6, 7])
def test_every_permutation_of_few_places_is_met_about_equally_often(size):
    """Pairs (what stands first, what stands second): 4000 seeds over size x (size - 1) pairs. The sum of (found - expected)^2 /
    expected is about their number; 2 times it and more has a chance below 1 to 500."""
    pairs = Counter(tuple(whole(size, seed, 0)[:2].tolist()) for seed in range(4000))
    expected = 4000 / (size * (size - 1))
    assert len(pairs) == size * (size - 1)
    assert sum((count - expected) ** 2 / expected for count in pairs.values()) < 2 * len(pairs) + 8


def test_neighbours_and_epochs_have_nothing_to_do_with_each_other():
    """The correlation of n pairs of independent numbers is 0 with a deviation of 1 / sqrt(n) = 0.003; 5 of them are allowed."""
    one, two = whole(100_000, 0, 0), whole(100_000, 0, 1)
    for pair in ((one[:-1], one[1:]), (one, two), (one, np.arange(100_000)), (one % 317, one[::-1] % 317)):
        assert abs(np.corrcoef(*pair)[0, 1]) < 0.016


def test_by_shards_any_stretch_is_that_of_the_whole():
    """Shards of 3, 0, 5, 1 and 4 rows, two at a time."""
    sizes = np.array([3, 0, 5, 1, 4], dtype=np.int64)
    order = ByShards(sizes, 2, 1, 0)
    every = order.between(0, 99)
    assert sorted(every.tolist()) == list(range(13)) and len(order) == 13
    for begin in range(13):
        for end in range(begin, 15):
            assert order.between(begin, end).tolist() == every[begin:end].tolist()
