"""Counts of a batch by set, cause and record, until the records' splits are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .manifest import Cause, Counts
from .ragged import Ints


@dataclass(slots=True)
class Counted:
    """How often each cause was met. `names`: what is counted for, sets or rules; entries are (place in it, record, amount)."""

    names: tuple[str, ...]
    records: int
    met: dict[Cause, list[tuple[Ints, Ints, Ints]]] = field(default_factory=dict)

    def add(self, cause: Cause, place: Ints, record: Ints, amount: Ints | None = None) -> None:
        """Count `amount` for each entry, or 1."""
        self.met.setdefault(cause, []).append((place, record, np.ones_like(record) if amount is None else amount))

    def per_record(self, cause: Cause, name: str) -> Ints:
        """The count of one cause for one name in every record of the batch: int64[records]."""
        found = np.zeros(self.records, dtype=np.int64)
        for place, record, amount in self.met.get(cause, ()):
            mine = place == self.names.index(name)
            np.add.at(found, record[mine], amount[mine])
        return found

    def by_split(self, split: Ints, splits: Sequence[str]) -> Found:
        """Name -> split -> cause -> count, for `split[records]`, places in `splits`. Zeros are left out."""
        found: Found = {}
        for cause, entries in self.met.items():
            total = np.zeros(len(self.names) * len(splits), dtype=np.int64)
            for place, record, amount in entries:
                np.add.at(total, place * len(splits) + split[record], amount)
            for at in np.flatnonzero(total).tolist():
                name, where = self.names[at // len(splits)], splits[at % len(splits)]
                found.setdefault(name, {}).setdefault(where, {})[cause] = int(total[at])
        return found


Found = dict[str, dict[str, dict[Cause, int]]]
"""Name -> split -> cause -> count."""


def merge(total: Found, found: Found) -> None:
    """Add the counts of one batch, or of one task, to `total`. The order of additions does not matter."""
    for name, splits in found.items():
        for split, causes in splits.items():
            into = total.setdefault(name, {}).setdefault(split, {})
            for cause, amount in causes.items():
                into[cause] = into.get(cause, 0) + amount


def in_order(found: Found) -> Found:
    """The same counts in an order that does not tell in what batches they were met."""
    return {
        name: {split: dict(sorted(causes.items())) for split, causes in sorted(splits.items())}
        for name, splits in sorted(found.items())
    }


def as_counts(total: Found, names: Sequence[str]) -> dict[str, Counts]:
    """The counts of each of `names`, in order, as the manifest holds them."""
    return {
        name: Counts(
            splits={split: dict(sorted(causes.items())) for split, causes in sorted(total.get(name, {}).items())}
        )
        for name in names
    }
