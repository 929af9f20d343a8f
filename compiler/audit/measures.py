"""Measures: numbers that were taken on the shards that are here, one for each token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Diagnostic, Failure, Severity
from ..files.measures import MeasureInfo, info_path, open_measures
from ..files.shard_reader import Chunk, Lists
from ..manifest import PLAN_FILE, ShardEntry
from ..plan import MeasureTerm
from .base import Audited, Check, at

TAKE = "`mcd measure` takes it"


class Measures(Check):
    """A measure has a number for each token of the shards that it was taken on. One that was taken on other shards is an error
    where the plan reads it, and else a warning."""

    def __init__(self, dataset: Audited) -> None:
        super().__init__(dataset)
        self._open: dict[str, dict[tuple[str, int], dict[str, Lists]]] = {}
        scores = [*(getattr(rule, "score", None) for rule in dataset.plan.rules), dataset.plan.order]
        self._read = {term: term.file for score in scores for term in score or () if isinstance(term, MeasureTerm)}

    def before(self) -> Iterator[Diagnostic]:
        for term, name in self._read.items():
            if not (self.dataset.directory / info_path(name)).exists():
                message = f"`{PLAN_FILE}` reads a measure `{name}`, which was not taken yet"
                yield replace(at(codes.MEASURE_MISSING, PLAN_FILE, message, TAKE), level=Severity.WARNING)
            elif name in self.dataset.measures and term.column not in self.dataset.measures[name].columns:
                message = f"measure `{name}` has no column `{term.column}`, which `{PLAN_FILE}` reads"
                yield at(codes.MEASURE_COLUMN, info_path(name), message, TAKE)
        for name, info in self.dataset.measures.items():
            try:
                yield from self._look(name, info)
            except Failure as failure:
                yield from failure.diagnostics

    def _look(self, name: str, info: MeasureInfo) -> Iterator[Diagnostic]:
        batches = open_measures(self.dataset.directory / info.file.path, info.file.path, list(info.columns))
        if sum(shard.batches for shard in info.shards) != len(batches):
            message = (
                f"`{info.file.path}` has {len(batches)} record batches, not those of the shards that were measured"
            )
            yield at(codes.SHARD_STRUCTURE, info.file.path, message)
            return
        now = {shard.path: shard.sha256 for shard in self.dataset.manifest.shards}
        if {shard.path: shard.sha256 for shard in info.shards} != now:
            yield self._stale(name)
            return
        places = [(shard.path, number) for shard in info.shards for number in range(shard.batches)]
        self._open[name] = dict(zip(places, batches, strict=True))

    def _stale(self, name: str) -> Diagnostic:
        message = f"measure `{name}` was taken on other shards than those that are here"
        found = at(codes.MEASURE_OTHER, info_path(name), message, TAKE)
        return found if name in self._read.values() else replace(found, level=Severity.WARNING)

    def shard(self, shard: ShardEntry, chunks: Sequence[Chunk]) -> Iterator[Diagnostic]:
        for name, batches in self._open.items():
            for chunk in chunks:
                found = batches.get((shard.path, chunk.number), {})
                lengths = np.diff(chunk.tokens.offsets)
                if not found or any(not np.array_equal(np.diff(one.offsets), lengths) for one in found.values()):
                    message = f"measure `{name}` has not a number for each token of `{shard.path}`"
                    yield at(codes.MEASURE_OTHER, info_path(name), message, TAKE)
                    break
