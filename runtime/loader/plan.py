"""The order that a dataset and the settings of a loader make: what an epoch is, and what a saved position depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ...dsl.codes import runtime as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..dataset import Dataset
from ..order import Sampler
from .rows import AsStored, ByShards, Listed, RowOrder, Shuffled
from .state import Meaning
from .units import Buckets, Cut, Single
from .walk import Epoch

Shuffle = bool | Literal["shards"]


@dataclass(frozen=True)
class Ordering:
    """`rows` of an epoch by seed and number, how they are `cut`, and what a position in that depends on."""

    rows: Callable[[int, int], RowOrder]
    cut: Cut
    meaning: Meaning

    def epoch(self, seed: int, number: int) -> Epoch:
        """An epoch by its number."""
        return Epoch(self.rows(seed, number), self.cut, seed, number)


def ordering(dataset: Dataset, batch_size: int, shuffle: Shuffle, together: int, buckets: int | None) -> Ordering:
    """The order of these settings. Raises Failure where they contradict each other or the curriculum."""
    _check(dataset, batch_size, shuffle, together, buckets)
    settings: dict[str, Any] = {"shuffle": shuffle}
    if shuffle == "shards":
        settings["together"] = together
    rows, curriculum = _rows(dataset, shuffle, together)
    settings |= curriculum
    cut: Cut = Single()
    if buckets is not None:
        window = -(-buckets // batch_size) * batch_size
        cut = Buckets(dataset.lengths, window, batch_size)
        settings |= {"buckets": window, "batch_size": batch_size}
    return Ordering(rows, cut, Meaning(_digest_of(dataset), json.loads(json.dumps(settings))))


def _rows(dataset: Dataset, shuffle: Shuffle, together: int) -> tuple[Callable[[int, int], RowOrder], dict[str, Any]]:
    """The rows of an epoch by seed and number, and what of the curriculum decides them."""
    size = len(dataset)
    if dataset.plan.mix or dataset.plan.order is not None:
        sampler = Sampler(dataset)
        return lambda seed, number: Listed(sampler.epoch(number, seed, shuffle=bool(shuffle))), sampler.meaning
    if shuffle == "shards":
        sizes = dataset.shard_rows
        return lambda seed, number: ByShards(sizes, together, seed, number), {}
    if shuffle:
        return lambda seed, number: Shuffled(size, seed, number), {}
    return lambda seed, number: AsStored(size), {}


def _check(dataset: Dataset, batch_size: int, shuffle: Shuffle, together: int, buckets: int | None) -> None:
    if shuffle not in (True, False, "shards"):
        raise _wrong(f"`shuffle` is {shuffle!r}; True, False or `shards` is expected")
    for name, value in (("batch_size", batch_size), ("together", together), ("buckets", buckets)):
        if value is not None and value < 1:
            raise _wrong(f"`{name}` is {value}; at least 1 is expected")
    if not len(dataset):
        message = f"`{dataset.path.name}` has no record to train on"
        raise Failure(codes.NO_ROWS.at(DataPlace(str(dataset.path)), message))
    plan = dataset.plan
    held = "mix" if plan.mix else "order" if plan.order is not None else None
    if held and shuffle == "shards":
        message = f"`shuffle` goes by shards, and the curriculum has `{held}`, which is of the whole epoch"
        raise _wrong(message, f"shuffle all rows together, or take `{held}` out of the curriculum")
    if plan.mix and not shuffle:
        raise _wrong("`shuffle` is off, and the curriculum has `mix`, which draws at random", "leave `shuffle` on")
    if plan.order is not None and buckets is not None:
        message = "`buckets` moves rows about by length, and the curriculum has `order`"
        raise _wrong(message, "leave `buckets` out, or take `order` out of the curriculum")


def _digest_of(dataset: Dataset) -> str:
    """A digest of the rows: of the content of the shards in their order."""
    content = "".join(shard.sha256 for shard in dataset.shards)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _wrong(message: str, help: str | None = None) -> Failure:
    return Failure(codes.LOADER_SETTINGS.at(None, message, help=help))
