"""The rows of every micro-batch of a trainer: an epoch of the `Sampler`, cut alike on every rank.

The rows of a step follow from the number of the epoch and of the batch alone, so that a run that goes on behind a checkpoint
reads no row of the batches before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from ...compiler.ragged import Ints
from ...dsl.codes import runtime as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..batch import Batch
from ..collate import Collator
from ..dataset import Row
from ..order import Sampler

ORDER_FILE = "order.json"
"""Beside a checkpoint: what its position in the data counts on."""


@dataclass(frozen=True, slots=True)
class Share:
    """One rank of `ranks`, and `size`, the rows of its micro-batches."""

    size: int
    rank: int = 0
    ranks: int = 1


class Batches:
    """The rows of each micro-batch of an epoch on one rank, as torch's `DataLoader` takes them for `batch_sampler`.

    A batch of all ranks is `size` x `ranks` rows that follow each other, of which each rank has `size`. The last one has the rows
    that are left, spread evenly; where they are fewer than the ranks, it shares evenly with the one before. `whole` leaves them
    out. Every epoch has as many batches as the first, on every rank, and every row once: the epochs of a mix may differ by a few
    rows, which the last batch has more or less.

    `epoch_rows`: number of an epoch -> its rows, in order. `collate`: is told the epoch too.
    Fails with MCD754 where there are fewer rows than ranks.
    """

    def __init__(
        self,
        epoch_rows: Callable[[int], Ints],
        share: Share,
        place: Path,
        *,
        whole: bool = False,
        collate: EpochCollator | None = None,
    ) -> None:
        self._rows, self._share, self._whole, self._collate = epoch_rows, share, whole, collate
        self._epoch = 0
        together = share.size * share.ranks
        rows = len(epoch_rows(0))
        self._batches = rows // together if whole else -(-rows // together)
        if rows < share.ranks or not self._batches:
            needed = together if whole else share.ranks
            message = f"`{place.name}` has {rows} rows to train on, and a batch of every rank needs {needed}"
            raise Failure(codes.NO_ROWS.at(DataPlace(str(place)), message))

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration goes through."""
        self._epoch = epoch
        if self._collate is not None:
            self._collate.epoch = epoch

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        rows = self._rows(self._epoch)
        together = self._share.size * self._share.ranks
        ends = np.minimum(np.arange(self._batches + 1) * together, len(rows))
        if not self._whole:
            ends[-1] = len(rows)
            if self._batches > 1 and ends[-1] - ends[-2] < self._share.ranks:
                ends[-2] = (ends[-3] + ends[-1] + 1) // 2
        for begin, end in pairwise(ends.tolist()):
            mine = np.array_split(rows[begin:end], self._share.ranks)[self._share.rank]
            yield mine.tolist()


class EpochCollator:
    """A collator that is told the epoch, of which masks are made. Processes of a loader have it as it was when they began."""

    def __init__(self, collate: Collator) -> None:
        self._collate = collate
        self.epoch = 0

    def __call__(self, rows: Sequence[Row]) -> Batch:
        return self._collate(rows, epoch=self.epoch)


class EpochLoader(DataLoader[Any]):
    """A `DataLoader` over `Batches` that hands the number of the epoch on."""

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration goes through."""
        assert isinstance(self.batch_sampler, Batches)
        self.batch_sampler.set_epoch(epoch)


@dataclass(frozen=True, slots=True)
class Order:
    """What a number of steps means: which rows in which order (`of`, `seed`), and how many make a step."""

    of: str
    seed: int
    rows: int

    @classmethod
    def of_steps(cls, sampler: Sampler, rows: int) -> Order:
        """The order of `sampler`, `rows` of it to a step."""
        state = sampler.state_dict()
        return cls(state["of"], state["seed"], rows)

    def save(self, folder: Path) -> None:
        """Writes it beside a checkpoint."""
        (folder / ORDER_FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    def check(self, folder: Path) -> None:
        """Fails with MCD730 where the checkpoint counts the rows of another order, or tells nothing of it."""
        place = DataPlace(str(folder / ORDER_FILE))
        try:
            found = json.loads((folder / ORDER_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            message = f"the checkpoint `{folder.name}` does not say which rows it has seen: it has no `{ORDER_FILE}`"
            raise Failure(codes.POSITION.at(place, message, help="resume from a checkpoint of a supervised trainer"))
        said = {"of": "other rows, or another `mix` or `order`", "seed": "another seed", "rows": "steps of other sizes"}
        for name, what in said.items():
            if found.get(name) != getattr(self, name):
                message = f"the checkpoint `{folder.name}` counts {what}"
                help = "resume with the dataset, the plan, the seed and the rows per step of the run"
                raise Failure(codes.POSITION.at(place, message, help=help))
