"""The batches of a run: what each optimiser step takes on this rank, where the run stands in them, and whether the files are what
they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

from ...dsl.codes import runtime as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..batch import Batch
from ..collate import Collator
from ..dataset import Dataset, Row
from ..loader.loader import Loader
from ..masking import masking_of
from ..train import Settings
from .processes import ALONE, Place


class Feed:
    """The micro-batches of one step after another, in the order of `Loader`, epoch after epoch.

    A micro-batch takes `batch_size` rows on each rank, so that two ranks take what one would of twice the size. `workers`:
    processes that make batches ahead. Raises Failure where there is no row.
    """

    def __init__(self, dataset: Dataset, settings: Settings, workers: int = 0, place: Place = ALONE) -> None:
        given: dict[str, Any] = {"rank": place.rank, "ranks": place.ranks, "workers": workers}
        collate = Checked(dataset, settings.seed)
        self._loader = Loader(dataset, settings.batch_size, seed=settings.seed, collate=collate, **given)
        self._accumulate = settings.accumulate
        self._batches = self._endless()

    def step(self) -> list[Batch]:
        """The micro-batches of the next step. Fails with MCD762 where a file that they lie in is not what it was."""
        return list(islice(self._batches, self._accumulate))

    def _endless(self) -> Iterator[Batch]:
        return chain.from_iterable(repeat(self._loader))

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, behind the step that was given last. The same on every rank."""
        return self._loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where a feed stood. Fails where that one had other rows, or another order."""
        self._loader.load_state_dict(state)
        self._batches = self._endless()

    def close(self) -> None:
        """End the worker processes."""
        self._loader.close()


class Checked(Collator):
    """A collator that looks at the files which its rows lie in before it reads them."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        super().__init__(dataset.plan, masking=masking_of(dataset.plan, seed))
        self._files = Files(dataset)

    def __call__(self, rows: Sequence[Row], *, epoch: int = 0) -> Batch:
        self._files.check({row.chunk.shard for row in rows})
        return super().__call__(rows, epoch=epoch)


class Files:
    """The shards of a dataset as they were when the run began.

    They are mapped into memory: where one becomes shorter, reading it ends the process with a signal, and where one is written
    anew, what is read is neither the old nor the new. So those that a step reads are looked at before it reads them.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._folder = dataset.path
        self._known = {name: _stamp(self._folder / name) for name in {chunk.shard for chunk in dataset.chunks}}

    def check(self, names: Iterable[str]) -> None:
        """Fails with MCD762 for a file that is gone, or whose size or time has changed."""
        for name in names:
            now = _stamp(self._folder / name)
            if now != self._known[name]:
                happened = "is gone" if now is None else "has changed"
                message = f"`{name}` {happened} since the run began to read it"
                help = "put the file back as it was: `mcd verify` says whether it is, `mcd repair` writes it anew"
                raise Failure(codes.FILE_CHANGED.at(DataPlace(str(self._folder / name)), message, help=help))


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes with a file's content; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
