"""A compiled directory, opened to be looked at: every column of every shard, one shard at a time.

The runtime opens what the plan reads and keeps it mapped. Here a shard is opened, read and let go, so that a dataset of any size
is looked at in the memory of its largest shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure, did_you_mean
from ...dsl.source import DataPlace
from ..files.listed import check_file
from ..files.shard_reader import EDGE_COLUMNS, EDGE_WEIGHT, TYPES, Chunk, Kind, Wanted, open_shard
from ..manifest import PLAN_FILE, Manifest, ShardEntry, read_manifest
from ..plan import PLAN_FORMAT, Plan
from ..stored import failure, read_json
from ..verify import broken_invariants

_OPENED: tuple[Kind, ...] = ("class", "label", "factor", "vector")
_KINDS: dict[pa.DataType, Kind] = {pa.list_(TYPES[kind]): kind for kind in _OPENED}
"""As what a field or an attribute of a type is opened, whatever a rule takes it for."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A directory whose manifest and plan are sound."""

    directory: Path
    manifest: Manifest
    plan: Plan

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits, in the order in which rows are numbered."""
        return tuple(dict.fromkeys([*self.manifest.records, *(shard.split for shard in self.manifest.shards)]))

    def shards(self, split: str | None = None) -> Iterator[ShardEntry]:
        """The shards of a split, or of all splits, in the order of their rows. Raises Failure for a split that is not there."""
        if split is not None and split not in self.splits:
            has = ", ".join(f"`{name}`" for name in self.splits)
            message = f"`{self.directory.name}` has no split `{split}`; it has {has}"
            help = did_you_mean(split, self.splits)
            raise Failure(codes.SPLIT_UNKNOWN.at(DataPlace(str(self.directory)), message, help=help))
        for name in self.splits if split is None else (split,):
            yield from sorted((each for each in self.manifest.shards if each.split == name), key=lambda each: each.path)

    def chunks(self, shard: ShardEntry) -> tuple[Chunk, ...]:
        """The record batches of a shard with all columns of the format, once it is what was written.

        Raises Failure for a shard whose content, columns or values are not those of its manifest and of the format.
        """
        file = check_file(self.directory, shard, "digest")
        return open_shard(file, shard.path, self._wanted(_types(schema_of(file))))

    def rows(self, shard: ShardEntry) -> int:
        """How many rows a shard has, by what its record batches say of themselves."""
        file = check_file(self.directory, shard, "size")
        return sum(chunk.rows for chunk in open_shard(file, shard.path, self._wanted({}), validate=False))

    def _wanted(self, schema: dict[str, pa.DataType]) -> Wanted:
        columns = {
            name: _KINDS[kind]
            for name, kind in schema.items()
            if name.startswith(("field.", "span.at.")) and kind in _KINDS
        }
        model, edges = self.plan.model, all(name in schema for name in EDGE_COLUMNS)
        widths = dict.fromkeys(columns, 1)  # what a vector's width is, the rule that reads it knows
        weights = edges and EDGE_WEIGHT in schema
        required = self.plan.columns if schema else ()
        return Wanted(columns, edges, model.vocab, model.hidden, model.context, required, widths, weights)


def open_dataset(directory: Path) -> Opened:
    """Read the manifest and the plan. Raises Failure for a directory that is no dataset, or whose files are not as written."""
    manifest = read_manifest(directory)
    for entry in manifest.files:
        check_file(directory, entry, "digest")
    plan = read_json(directory, PLAN_FILE, Plan, PLAN_FORMAT)
    for broken in broken_invariants(plan):
        raise failure(codes.NOT_READABLE, str(directory / PLAN_FILE), f"`{PLAN_FILE}`: {broken}")
    return Opened(directory, manifest, plan)


def schema_of(file: Path) -> pa.Schema:
    """The columns and the metadata of a shard; none for what is no Arrow file, of which `open_shard` tells more."""
    try:
        with pa.memory_map(str(file)) as source:
            return pa.ipc.open_file(source).schema
    except (pa.ArrowException, OSError, ValueError):
        return pa.schema([])


def _types(schema: pa.Schema) -> dict[str, pa.DataType]:
    return dict(zip(schema.names, schema.types, strict=True))
