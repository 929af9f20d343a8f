"""The loader: batches of a dataset, epoch after epoch, over ranks and workers, from any position that was saved."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

from torch.utils.data import IterableDataset, get_worker_info

from ...dsl.codes import runtime as codes
from ...dsl.diagnostics import Failure
from ..batch import Batch
from ..collate import Collator
from ..dataset import Dataset
from .fetch import Batches, Collate, Maker, Wanted, Workers
from .plan import Ordering, ordering
from .state import read, saved
from .walk import Epoch, Position, share
from .world import world


class Loader(IterableDataset[Batch]):
    """Batches of `batch_size` rows for this rank. An iteration is what is left of the current epoch, and then the next epoch.

    The order of an epoch is a function of `seed` (0 unless given) and its number alone, and every step is shared among ranks, so
    that ranks and workers may change in mid-epoch. Every row comes once in an epoch; under the `mix` of a curriculum, as
    `Sampler` says. The last step of an epoch is shared as evenly as it goes; a rank for which nothing is left gets a batch that
    counts for nothing, unless `drop_last` leaves that step out.

    `shuffle`: True for all rows together, `"shards"` for rows of `together` shards at a time, False for the order of the shards.
    `packed`: the tokens of a packed row, None for records that are padded; then `batch_size` counts packed rows, into which the
    rows of a `window` of the order are put together. `buckets`: rows among which those of about one length are brought
    together, None for no buckets. `collate`: makes a batch of rows, and is given `epoch` if it takes that; by default
    `Collator(dataset.plan)`. `workers`: processes that make batches ahead, `prefetch` each; `method` starts them (`"fork"`,
    `"spawn"`, `"forkserver"`). `pin_memory`: in pinned memory, where there is CUDA. `rank` of `ranks`: by default those of
    torch.distributed.

    Raises Failure for settings that contradict each other, and as `Sampler`.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 8,
        *,
        seed: int | None = None,
        shuffle: bool | Literal["shards"] = True,
        together: int = 8,
        packed: int | None = None,
        window: int = 1024,
        buckets: int | None = None,
        drop_last: bool = False,
        collate: Collate | None = None,
        workers: int = 0,
        prefetch: int = 2,
        method: str | None = None,
        pin_memory: bool = False,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        self._ordering: Ordering = ordering(dataset, batch_size, shuffle, together, buckets, packed, window)
        self._batch_size, self._drop_last = batch_size, drop_last
        self._given_seed, self._seed = seed, seed or 0
        self._given_world = rank, ranks
        maker = Maker(dataset, Collator(dataset.plan) if collate is None else collate, packed)
        self._batches = Batches(maker, Workers(workers, prefetch, method, pin_memory))
        self._at = Position()
        self._turn = 0
        self._current: Epoch | None = None

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 0, that the batch handed out last belongs to; of the coming one once it is through."""
        return self._at.epoch

    def __len__(self) -> int:
        """Batches that are left of the epoch; as many on every rank."""
        left, step = self._epoch().left(self._at), self._step()
        return left // step if self._drop_last else -(-left // step)

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the epoch. Raises Failure, also in between, as dataset and collator do, and where another iteration has
        begun or a position was loaded since; in a worker process of torch's at once."""
        if get_worker_info() is not None:
            message = "a loader is read in a worker process of a `DataLoader`, which would lose its position"
            raise Failure(codes.LOADER_READ.at(None, message, help="give `workers=` to the loader itself"))
        self._settle()
        self._turn += 1
        if not len(self) and not self._at.done:
            message = (
                f"`drop_last` leaves no batch of the epoch: a step takes {self._step()} units, and there are fewer"
            )
            raise Failure(codes.LOADER_SETTINGS.at(None, message, help="use a smaller `batch_size`, or fewer ranks"))
        return self._left(self._turn)

    def _left(self, turn: int) -> Iterator[Batch]:
        behind: deque[Position] = deque()
        for batch in self._batches.of(self._wanted(behind)):
            self._still(turn)
            self._at = behind.popleft()
            yield batch
            self._still(turn)
        self._at = Position(self._at.epoch + 1)

    def _wanted(self, behind: deque[Position]) -> Iterator[Wanted]:
        """What is to be made for this rank, ahead of what was handed out; `behind` gets the position behind each."""
        at, epoch, step = self._at, self._epoch(), self._step()
        rank, ranks = world(*self._given_world)
        while True:
            units, at = epoch.take(at, step)
            if not units or (self._drop_last and len(units) < step):
                return
            behind.append(at)
            mine = share(units, rank, ranks)
            yield Wanted(at.epoch, mine or units[:1], blank=not mine)

    def _still(self, turn: int) -> None:
        if turn != self._turn:
            message = "an iteration of a loader went on after another had begun or a position had been loaded"
            raise Failure(codes.LOADER_READ.at(None, message, help="have one iteration at a time"))

    def _step(self) -> int:
        """Units of a step, over all ranks."""
        return self._batch_size * world(*self._given_world)[1]

    def _epoch(self) -> Epoch:
        if self._current is None or self._current.number != self._at.epoch:
            self._current = self._ordering.epoch(self._seed, self._at.epoch)
        return self._current

    def _settle(self) -> None:
        """Go on to the next epoch, where the last batch of one was handed out and nobody asked for another."""
        epoch = self._epoch()
        if self._at.window == epoch.windows and self._at.done:
            self._at = Position(self._at.epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, behind the batch that was handed out last. Plain values, for any kind of checkpoint; the same on every
        rank."""
        at = self._at
        if at.done and at.window == self._epoch().windows:
            at = Position(at.epoch + 1)
        return saved(at, self._seed, self._ordering.meaning)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where a loader stood, with any number of ranks and workers.

        Raises Failure for a state of other rows, another order or seed, or another version, and for one that was edited.
        """
        at, seed = read(state, self._ordering.meaning, self._given_seed)
        self._turn += 1
        self._at, self._seed, self._current = at, seed, None

    def close(self) -> None:
        """End the worker processes; another iteration starts them again."""
        self._batches.close()
