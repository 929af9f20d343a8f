"""Which rows training meets, and in which order: the `mix` and the `order` of a curriculum, under a seeded shuffle.

An order from easy to hard: Bengio et al. 2009, "Curriculum Learning", https://dl.acm.org/doi/10.1145/1553374.1553380.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.files.shard_reader import Chunk, Lists
from ..compiler.plan import FieldTerm, LengthTerm, MeasureTerm, RecordScore
from ..compiler.ragged import Ints, offsets, owners, ranges
from ..dsl.codes.runtime import POSITION
from ..dsl.codes.shards import MIX_EMPTY
from ..dsl.diagnostics import Failure
from ..dsl.source import DataPlace
from .dataset import Dataset
from .scores import Variable, evaluate

Floats = npt.NDArray[np.float64]


class Sampler:
    """The places of a dataset's rows, as torch's `DataLoader` takes them for `sampler`: an iteration is the rest of an epoch.

    Without a mix an epoch is every row once, in a permutation by `seed` and the number of the epoch. With one it has as many
    tokens as the rows of its sources: of source s, whose rows hold n tokens, share x N of the N in all. Each source is an endless
    row of permutations, of which an epoch takes on where the one before ended: a row belongs to the epoch in which its first
    token falls, so that over any number of epochs a source is within one row of its share. What an epoch has drawn is shuffled
    together; an `order` then sorts it, by which equal rows stay as they were shuffled and rows without a value come last.

    Raises Failure where a source of the mix has no row, or a measure of the order cannot be read.
    """

    def __init__(self, dataset: Dataset, seed: int = 0) -> None:
        plan = dataset.plan
        self._lengths = dataset.lengths()
        self._sources = _by_source(dataset) if plan.mix else {}
        self._mix = plan.mix
        self._tokens = sum(int(self._lengths[rows].sum()) for rows in self._sources.values())
        self._values = None if plan.order is None else values_of(dataset, plan.order)
        order = (
            None if plan.order is None else [t if isinstance(t, float | str) else t.model_dump() for t in plan.order]
        )
        self.meaning = {"mix": dict(plan.mix), "order": order, "values": _digest_of(self._values)}
        """What decides the order beside seed and rows, as plain values."""
        meaning = json.dumps([len(self._lengths), plan.mix, order], sort_keys=True)
        self._key = hashlib.sha256(meaning.encode()).hexdigest()[:32]
        self._seed = seed
        self._epoch = 0
        self._position = 0

    def epoch(self, number: int, seed: int | None = None, *, shuffle: bool = True) -> Ints:
        """The rows of an epoch in their order: int64. `seed`: another than the sampler's own; without `shuffle`, rows that no mix
        draws stay as they are stored, but for an `order`."""
        own = self._seed if seed is None else seed
        random = np.random.default_rng([own, number])
        if self._mix:
            drawn = np.concatenate([self._drawn(source, number, own) for source in self._sources])
            rows = drawn[random.permutation(len(drawn))]
        elif shuffle:
            rows = random.permutation(len(self._lengths))
        else:
            rows = np.arange(len(self._lengths), dtype=np.int64)
        if self._values is not None:
            rows = rows[np.argsort(self._values[rows], kind="stable")]
        return rows

    def _drawn(self, source: str, epoch: int, seed: int) -> Ints:
        """The rows of a source whose first token falls into the epoch."""
        rows = self._sources[source]
        length = self._lengths[rows]
        tokens = int(length.sum())
        share = math.ceil(self._mix[source] * self._tokens - 1e-6)
        begin, end = epoch * share, (epoch + 1) * share
        found = []
        for round_ in range(begin // tokens, (end - 1) // tokens + 1):
            entropy = [seed, round_, 1 + zlib.crc32(source.encode())]
            order = np.random.default_rng(entropy).permutation(len(rows))
            first = round_ * tokens + offsets(length[order])[:-1]
            found.append(rows[order[(first >= begin) & (first < end)]])
        return np.concatenate(found)

    def __len__(self) -> int:
        """Rows that are left of the epoch."""
        return len(self.epoch(self._epoch)) - self._position

    def __iter__(self) -> Iterator[int]:
        number, rows = self._epoch, self.epoch(self._epoch)
        for at in range(self._position, len(rows)):
            last = at + 1 == len(rows)
            self._epoch, self._position = (number + 1, 0) if last else (number, at + 1)
            yield int(rows[at])

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, behind the row that it gave last. Plain values, for any kind of checkpoint."""
        return {"seed": self._seed, "epoch": self._epoch, "position": self._position, "of": self._key}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where a sampler stood. Raises Failure where that one had other rows, another mix or another order."""
        if state.get("of") != self._key:
            message = "the saved position is one of other rows, or of another `mix` or `order`"
            raise Failure(POSITION.at(None, message, help="resume with the dataset and the plan of the run"))
        self._seed, self._epoch, self._position = state["seed"], state["epoch"], state["position"]


def _by_source(dataset: Dataset) -> dict[str, Ints]:
    """The rows of each source of the mix. Raises Failure for one that has none."""
    names = sorted(dataset.plan.mix)
    found = [chunk.sources(names) for chunk in dataset.chunks]
    numbers = np.concatenate([np.zeros(0, np.int64), *found])
    rows = {name: np.flatnonzero(numbers == place) for place, name in enumerate(names)}
    empty = [name for name in names if not len(rows[name])]
    if empty:
        share = dataset.plan.mix[empty[0]]
        message = f"`mix` gives `{empty[0]}` {share * 100:g}% of the tokens, and it has no row here"
        raise Failure(MIX_EMPTY.at(DataPlace(str(dataset.path)), message))
    return rows


def _digest_of(values: Floats | None) -> str | None:
    """A digest of what rows are ordered by: a measure that was taken again is another order."""
    return None if values is None else hashlib.sha256(values.tobytes()).hexdigest()[:32]


# --- what records are ordered by -------------------------------------------------------------------------------------


def values_of(dataset: Dataset, order: RecordScore) -> Floats:
    """What `order` gives each row: float64 [rows], NaN where a field or a measure has no number for it."""
    if any(isinstance(term, MeasureTerm) for term in order):
        dataset.read_measures()
    found = [_chunk_values(chunk, order) for chunk in dataset.chunks]
    return np.concatenate([np.zeros(0), *found])


def _chunk_values(chunk: Chunk, order: RecordScore) -> Floats:
    def value(term: Variable) -> Floats:
        match term:
            case LengthTerm():
                return np.diff(chunk.tokens.offsets).astype(np.float64)
            case FieldTerm(field=name):
                return _means(chunk.columns[f"field.{name}"])
            case MeasureTerm(file=file, column=column):
                return _means(chunk.measures[file, column])
        raise ValueError(f"a record has no {term}")

    with np.errstate(all="ignore"):
        return evaluate(order, value)


def _means(lists: Lists) -> Floats:
    """The mean over each row's numbers, those that are none left out; NaN where there is none."""
    lengths = np.diff(lists.offsets).astype(np.int64)
    row = owners(lengths)
    numbers = lists.values[ranges(lists.offsets[:-1].astype(np.int64), lengths)].astype(np.float64)
    there = ~np.isnan(numbers)
    total = np.bincount(row[there], numbers[there], minlength=len(lengths))
    count = np.bincount(row[there], minlength=len(lengths))
    with np.errstate(invalid="ignore"):
        found: Floats = total / count
    return found
