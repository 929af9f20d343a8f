"""Parts of records that hold spans of two sets: the rows of rules that read both."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..counted import Counted
from ..ragged import Ints
from ..recipe import Recipe
from ..sets import RECORD, TOKENS, both
from .align import Aligned


def count_together(recipe: Recipe, aligned: Aligned) -> Counted:
    """For each of the recipe's pairs, the parts that hold both sets (`rows`), and records of which none does (`unmatched`)."""
    parts = aligned.parts
    counted = Counted(tuple(both(*pair) for pair in recipe.pairs), len(parts.count))
    kept = parts.count > 0

    @cache
    def holding(key: str) -> Ints:
        """The parts in which a span of the set acts."""
        if key == TOKENS:
            return np.flatnonzero(parts.end > parts.fresh)
        if key == RECORD:
            return parts.first[(aligned.counts.per_record("rows", RECORD) > 0) & kept]
        return np.unique(aligned.spans.row[aligned.spans.set == aligned.keys.index(key)])

    for place, (one, other) in enumerate(recipe.pairs):
        record = parts.record[np.intersect1d(holding(one), holding(other), assume_unique=True)]
        counted.add("rows", np.full_like(record, place), record)
        none = np.flatnonzero(kept & ~np.isin(np.arange(len(kept)), record))
        counted.add("unmatched", np.full_like(none, place), none)
    return counted
