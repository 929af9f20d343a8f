"""Measures joined to the rows: which file a plan reads, and whether it was taken on the shards that are here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from ..compiler.files.cached import Cached
from ..compiler.files.listed import Verify, check_file
from ..compiler.files.measures import MEASURE_FORMAT, MeasureInfo, info_path, open_measures
from ..compiler.files.shard_reader import Chunk, Lists
from ..compiler.manifest import FileEntry, Manifest
from ..compiler.plan import MeasureTerm, Plan
from ..compiler.stored import failure, read_json
from ..dsl.codes import shards as codes
from ..dsl.diagnostics import Diagnostic, Failure
from ..dsl.source import DataPlace
from .measures import MEASURES
from .scores import measures_read


class Measured:
    """The measures of one compiled directory, each opened when it is asked for."""

    def __init__(self, directory: Path, verify: Verify, manifest: Manifest, cached: Cached | None = None) -> None:
        self._directory, self._verify, self._cached = directory, verify, cached
        self._exists = cache(self._there)
        self._digests = {shard.path: shard.sha256 for shard in manifest.shards}
        self._open = cache(self._opened)
        self._file = cache(self._checked)

    def attach(self, plan: Plan, chunks: Iterable[Chunk]) -> None:
        """Give each of `chunks` the measures that `plan` reads.

        Raises Failure with every measure that was never taken, lacks a column, or was taken on other shards.
        """
        found, read = list(chunks), measures_read(plan)
        missing = [*self._absent(read), *self._lacking(read)]
        if missing:
            raise Failure(*missing)
        for term in read:
            batches = self._open(term.file, term.column)
            for chunk in found:
                chunk.measures[term.file, term.column] = self._of(chunk, term, batches)

    def _absent(self, read: Mapping[MeasureTerm, str]) -> Iterator[Diagnostic]:
        """What to say of files that are not there, once for each."""
        for file in dict.fromkeys(term.file for term in read):
            if not self._exists(file):
                terms = [term for term in read if term.file == file]
                message = f"`{self._directory.name}` has no measure `{file}`, which {_who(read[terms[0]])} reads"
                yield codes.MEASURE_MISSING.at(DataPlace(str(self._directory)), message, help=self._how(*terms))

    def _lacking(self, read: Mapping[MeasureTerm, str]) -> Iterator[Diagnostic]:
        """What to say of columns that a file lacks."""
        for term, reader in read.items():
            info = self._info(term.file) if self._exists(term.file) else None
            if info is not None and term.column not in info.columns:
                has = ", ".join(f"`{name}`" for name in info.columns)
                message = (
                    f"measure `{term.file}` has no column `{term.column}`, which {_who(reader)} reads; it has {has}"
                )
                yield codes.MEASURE_COLUMN.at(DataPlace(info.file.path), message, help=self._how(term))

    def _there(self, file: str) -> bool:
        if self._cached is not None:
            self._cached.bring(self._directory, info_path(file))
        return (self._directory / info_path(file)).is_file()

    def _how(self, *terms: MeasureTerm) -> str:
        """How the columns come into a file."""
        columns = [term.column for term in terms]
        unknown = next((column for column in columns if column not in MEASURES), None)
        if unknown is not None:
            return f"`mcd measure` takes {', '.join(MEASURES)}; `{unknown}` comes by a `MeasureWriter`"
        compares = any(MEASURES[column].reference for column in columns)
        more = " --reference REFERENCE" if compares else ""
        return f"take it: `mcd measure {self._directory} --model MODEL{more} -o {terms[0].file}`"

    def _info(self, name: str) -> MeasureInfo:
        return read_json(self._directory, info_path(name), MeasureInfo, MEASURE_FORMAT)

    def _checked(self, entry: FileEntry) -> Path:
        if self._cached is not None:
            return self._cached.file(entry)
        return check_file(self._directory, entry, self._verify)

    def _opened(self, name: str, column: str) -> dict[tuple[str, int], Lists]:
        """A column of a measure by shard and record batch."""
        info = self._info(name)
        batches = open_measures(self._file(info.file), info.file.path, [column])
        if sum(shard.batches for shard in info.shards) != len(batches):
            message = (
                f"`{info.file.path}` has {len(batches)} record batches, not those of the shards that were measured"
            )
            raise failure(codes.SHARD_STRUCTURE, info.file.path, message)
        places = [(shard.path, number) for shard in info.shards for number in range(shard.batches)]
        sound = {shard.path for shard in info.shards if self._digests.get(shard.path) == shard.sha256}
        found = zip(places, batches, strict=True)
        return {place: batch[column] for place, batch in found if place[0] in sound}

    def _of(self, chunk: Chunk, term: MeasureTerm, batches: dict[tuple[str, int], Lists]) -> Lists:
        lists = batches.get((chunk.shard, chunk.number))
        if lists is None or not np.array_equal(np.diff(lists.offsets), np.diff(chunk.tokens.offsets)):
            message = (
                f"measure `{term.file}` was taken on other shards: it has nothing for `{chunk.shard}` as it is now"
            )
            raise failure(codes.MEASURE_OTHER, info_path(term.file), message, self._how(term))
        return lists


def _who(reader: str) -> str:
    return "`order`" if reader == "order" else f"rule `{reader}`"
