"""Each shard against its entry in the manifest and against the first shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Diagnostic
from ..files.arrow_reader import read_schema
from ..files.shard_reader import Chunk
from ..manifest import ShardEntry
from .base import Audited, Check, at


class Entries(Check):
    """A shard has the rows and tokens that the manifest states, records of the source that it states, and lies in the folder of
    its split; it is listed once."""

    def before(self) -> Iterator[Diagnostic]:
        seen: set[str] = set()
        for shard in self.dataset.manifest.shards:
            if shard.path in seen:
                yield at(
                    codes.SHARD_PLACE, shard.path, f"shard `{shard.path}` is listed twice, so that its rows come twice"
                )
            seen.add(shard.path)
            if not shard.path.startswith(f"shards/{shard.split}/"):
                yield at(
                    codes.SHARD_PLACE, shard.path, f"shard `{shard.path}` is listed as one of split `{shard.split}`"
                )

    def shard(self, shard: ShardEntry, chunks: Sequence[Chunk]) -> Iterator[Diagnostic]:
        records = sum(int((chunk.part == 0).sum()) for chunk in chunks)
        tokens = sum(len(chunk.tokens.used) for chunk in chunks)
        for what, number, stated in (("records", records, shard.records), ("tokens", tokens, shard.tokens)):
            if number != stated:
                message = f"shard `{shard.path}` has {number:,} {what}; the manifest states {stated:,}"
                yield at(codes.SHARD_COUNTS, shard.path, message)
        if shard.batches not in (None, found := tuple(chunk.rows for chunk in chunks)):
            message = f"shard `{shard.path}` has record batches of {found} rows; the manifest states {shard.batches}"
            yield at(codes.SHARD_COUNTS, shard.path, message)
        if shard.source is not None and any((chunk.sources([shard.source]) < 0).any() for chunk in chunks):
            message = f"shard `{shard.path}` holds records of another source than `{shard.source}`"
            yield at(codes.SHARD_PLACE, shard.path, message)


class Schemas(Check):
    """All shards have the columns of the first one, in their order, and its sets, so that a set has one number everywhere."""

    def __init__(self, dataset: Audited) -> None:
        super().__init__(dataset)
        self._first: tuple[str, pa.Schema] | None = None

    def shard(self, shard: ShardEntry, chunks: Sequence[Chunk]) -> Iterator[Diagnostic]:
        schema = read_schema(self.dataset.directory / shard.path)
        if self._first is None:
            self._first = shard.path, schema
        path, first = self._first
        if not schema.equals(first, check_metadata=True):
            what = "other sets" if schema.equals(first) else "other columns"
            yield at(codes.SCHEMA_DIFFERS, shard.path, f"shard `{shard.path}` has {what} than `{path}`")


class Parts(Check):
    """The parts of a record stand one after another in one shard, counted from 0."""

    def shard(self, shard: ShardEntry, chunks: Sequence[Chunk]) -> Iterator[Diagnostic]:
        before: tuple[int, str] | None = None
        for chunk in chunks:
            later, ids = chunk.part > 0, chunk.arrow("id")
            expected = np.zeros_like(chunk.part)
            same = np.asarray(pc.equal(ids[1:], ids[:-1]))
            expected[1:] = np.where(same & later[1:], chunk.part[:-1] + 1, 0)
            if before is not None and later[0] and chunk.id(0) == before[1]:
                expected[0] = before[0] + 1
            wrong = np.flatnonzero(chunk.part != expected)
            if len(wrong):
                row = int(wrong[0])
                message = (
                    f"shard `{shard.path}` has part {chunk.part[row]} of record `{chunk.id(row)}` where part"
                    f" {expected[row]} is expected, in row {row} of record batch {chunk.number}"
                )
                yield at(codes.PARTS_BROKEN, shard.path, message)
            before = int(chunk.part[-1]), chunk.id(chunk.rows - 1)
