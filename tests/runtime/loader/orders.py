"""A small dataset of three sources, and what loaders of it hand out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain, islice

import mcd
from mcd.compiler.plan import LengthTerm

from ...projects import compiled, project
from ..test_order import SPEC, records

LENGTH = LengthTerm(length="tokens")
SETTINGS = {
    "plain": {},
    "as stored": {"shuffle": False},
    "by shards": {"shuffle": "shards", "together": 2},
    "buckets": {"buckets": 30},
    "packed": {"packed": 24, "window": 37},
    "packed by shards": {"packed": 24, "window": 37, "shuffle": "shards"},
    "mix": {"mix": {"a": 0.3, "c": 0.7}},
    "mix in buckets": {"mix": {"a": 0.3, "c": 0.7}, "buckets": 24},
    "order": {"order": (LENGTH,)},
    "order, packed": {"order": (LENGTH,), "packed": 24, "window": 37},
}


def write(folder):
    """Rows of the sources a (100), b (30) and c (10), each in a shard of its own."""
    for name, count, seed in (("b", 30, 1), ("c", 10, 2)):
        lines = "".join(json.dumps(record) + "\n" for record in records(name, count, seed))
        (folder / f"{name}.jsonl").write_text(lines)
    compiled(project(folder, SPEC, records("a", 100, 0)), folder / "out")
    return folder / "out"


def under(dataset, mix=None, order=None):
    return dataset.with_plan(dataset.plan.model_copy(update={"mix": mix or {}, "order": order}))


def make(dataset, batch_size=4, *, mix=None, order=None, **settings):
    """A loader of the dataset under a curriculum."""
    return mcd.Loader(under(dataset, mix, order), batch_size, **settings)


def names(batches: Iterable[mcd.Batch]) -> list[str]:
    return list(chain.from_iterable(batch.ids for batch in batches))


def ahead(loader, count: int) -> list[mcd.Batch]:
    """The next `count` batches, over as many epochs as it takes, each in an iteration of its own."""
    found: list[mcd.Batch] = []
    while len(found) < count:
        found += islice(loader, count - len(found))
    return found


def stored(loader):
    """Its state, as a checkpoint keeps it."""
    return json.loads(json.dumps(loader.state_dict()))
