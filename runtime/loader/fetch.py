"""From places of rows to batches: in this process, or in workers of torch's `DataLoader`, in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ...compiler.ragged import Ints
from ...dsl.diagnostics import Failure
from ..batch import Batch
from ..collate import Collator
from ..dataset import Dataset, Row
from .blank import blank

Collate = Callable[[Sequence[Row]], Batch]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A batch that is to be made: `units` of it, in epoch `epoch`. `blank`: it is to count for nothing."""

    epoch: int
    units: Sequence[Ints]
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Workers:
    """How batches are made: ahead, by `count` processes that are started by `method` (None: torch's own), `ahead` batches each;
    with 0 of them, in this process. `pinned`: in pinned memory, where there is CUDA."""

    count: int = 0
    ahead: int = 2
    method: str | None = None
    pinned: bool = False


class Maker(TorchDataset[Any]):
    """Makes the batches that are asked for; what a worker process has."""

    def __init__(self, dataset: Dataset, collate: Collate) -> None:
        self._dataset, self._collate = dataset, collate

    def batch(self, wanted: Wanted) -> Batch:
        """The batch. Raises Failure as the dataset and the collator do."""
        rows = self._dataset.rows(np.concatenate(list(wanted.units)))
        make = self._collate
        # In another epoch other tokens are masked.
        found = make(rows, epoch=wanted.epoch) if isinstance(make, Collator) else make(rows)
        return blank(found) if wanted.blank else found

    def __getitem__(self, wanted: Wanted) -> Batch | Failure:
        """The batch, or why there is none: torch would take an error apart on its way from a worker."""
        try:
            return self.batch(wanted)
        except Failure as failure:
            return failure


class _Feed:
    """What is to be made next, as a sampler that torch's `DataLoader` asks anew for each iteration."""

    def __init__(self) -> None:
        self.next: Iterator[Wanted] = iter(())

    def __iter__(self) -> Iterator[Wanted]:
        return self.next


class Batches:
    """Makes batches in order. Workers are started by the first iteration and stay until `close`."""

    def __init__(self, maker: Maker, workers: Workers) -> None:
        self._maker, self._workers = maker, workers
        self._feed = _Feed()
        self._torch: DataLoader[Any] | None = None

    def of(self, wanted: Iterator[Wanted]) -> Iterator[Batch]:
        """The batches that are wanted, which workers make ahead of whoever takes them. Raises Failure as `Maker.batch`."""
        pinned = self._workers.pinned and torch.cuda.is_available()
        if not self._workers.count:
            for each in wanted:
                batch = self._maker.batch(each)
                yield batch.pin_memory() if pinned else batch
            return
        self._feed.next = wanted
        if self._torch is None:
            self._torch = self._started(pinned)
        for found in self._torch:
            if isinstance(found, Failure):
                raise found
            yield found

    def _started(self, pinned: bool) -> DataLoader[Any]:
        """Its own generator: torch's would otherwise draw from the global random state, which training resumes."""
        return DataLoader(
            self._maker,
            batch_size=None,
            sampler=cast(Any, self._feed),
            collate_fn=_as_it_is,
            num_workers=self._workers.count,
            prefetch_factor=self._workers.ahead,
            multiprocessing_context=self._workers.method,
            persistent_workers=True,
            pin_memory=pinned,
            generator=torch.Generator(),
        )

    def close(self) -> None:
        """End the workers."""
        self._torch = None


def _as_it_is(found: Any) -> Any:
    return found
