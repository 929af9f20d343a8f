"""Measures joined to the rows: which file a plan reads, and whether it was taken on the shards that are here."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from ..compiler.files.measures import MEASURE_FORMAT, MeasureInfo, info_path, open_measures
from ..compiler.files.shard_reader import Chunk, Lists
from ..compiler.manifest import Manifest
from ..compiler.plan import MeasureTerm, Plan
from ..dsl.codes import shards as codes
from ..dsl.diagnostics import Failure
from .files import Verify, check_file, failure, read_json
from .scores import measures_read

AGAIN = "take it again: `{}`"


class Measured:
    """The measures of one compiled directory, each opened when it is asked for."""

    def __init__(self, directory: Path, verify: Verify, manifest: Manifest) -> None:
        self._directory, self._verify = directory, verify
        self._digests = {shard.path: shard.sha256 for shard in manifest.shards}
        self._open = cache(self._opened)

    def attach(self, plan: Plan, chunks: Iterable[Chunk]) -> None:
        """Give each of `chunks` the measures that `plan` reads.

        Raises Failure with every measure that was never taken, lacks a column, or was taken on other shards.
        """
        found = list(chunks)
        missing = [problem for term, who in measures_read(plan).items() if (problem := self._missing(term, who))]
        if missing:
            raise Failure(*(each for problem in missing for each in problem.diagnostics))
        for term in measures_read(plan):
            batches = self._open(term.file, term.column)
            for chunk in found:
                chunk.measures[term.file, term.column] = self._of(chunk, term, batches)

    def _missing(self, term: MeasureTerm, reader: str) -> Failure | None:
        """What to say where the measure or its column is not there."""
        who = "`order`" if reader == "order" else f"rule `{reader}`"
        if not (self._directory / info_path(term.file)).is_file():
            message = f"`{self._directory.name}` has no measure `{term.file}`, which {who} reads"
            return failure(codes.MEASURE_MISSING, str(self._directory), message, f"take it: `{self._command(term)}`")
        info = self._info(term.file)
        if term.column not in info.columns:
            has = ", ".join(f"`{name}`" for name in info.columns)
            message = f"measure `{term.file}` has no column `{term.column}`, which {who} reads; it has {has}"
            return failure(codes.MEASURE_COLUMN, info.file.path, message, AGAIN.format(self._command(term)))
        return None

    def _command(self, term: MeasureTerm) -> str:
        more = " --reference REFERENCE" if term.column == "excess_loss" else ""
        return f"mcd measure {self._directory} --model MODEL{more} -o {term.file}"

    def _info(self, name: str) -> MeasureInfo:
        return read_json(self._directory, info_path(name), MeasureInfo, MEASURE_FORMAT)

    def _opened(self, name: str, column: str) -> dict[tuple[str, int], Lists]:
        """A column of a measure by shard and record batch."""
        info = self._info(name)
        file = check_file(self._directory, info.file, self._verify)
        places = [(shard.path, number) for shard in info.shards for number in range(shard.batches)]
        batches = open_measures(file, info.file.path, [column])
        if len(places) != len(batches):
            message = f"`{info.file.path}` has {len(batches)} record batches, and {len(places)} were measured"
            raise failure(codes.SHARD_STRUCTURE, info.file.path, message)
        sound = {shard.path for shard in info.shards if self._digests.get(shard.path) == shard.sha256}
        found = zip(places, batches, strict=True)
        return {place: batch[column] for place, batch in found if place[0] in sound}

    def _of(self, chunk: Chunk, term: MeasureTerm, batches: dict[tuple[str, int], Lists]) -> Lists:
        lists = batches.get((chunk.shard, chunk.number))
        if lists is None or not np.array_equal(np.diff(lists.offsets), np.diff(chunk.tokens.offsets)):
            message = f"measure `{term.file}` was taken on other shards: it has nothing for `{chunk.shard}` as it is now"
            raise failure(codes.MEASURE_OTHER, info_path(term.file), message, AGAIN.format(self._command(term)))
        return lists
