"""What an export holds: what its card and its metadata are made from."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pyarrow as pa

from ..inspect.report import DatasetReport
from ..manifest import FileEntry
from ..plan import Plan


@dataclass(frozen=True, slots=True)
class Exported:
    """A Parquet file: its split, its rows, their bytes in memory, and the schema of the shard that it was made from."""

    entry: FileEntry
    split: str
    rows: int
    bytes: int
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class Contents:
    """The whole of an export. `license`: as the user gave it."""

    name: str
    license: str | None
    report: DatasetReport
    plan: Plan
    files: tuple[Exported, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, in their order."""
        return tuple(dict.fromkeys(file.split for file in self.files))

    @property
    def columns(self) -> tuple[pa.Field, ...]:
        """The columns of the files, which they share."""
        return tuple(self.files[0].schema) if self.files else ()

    @property
    def keys(self) -> tuple[str, ...]:
        """What the numbers in `span.set` and `edge.set` stand for, in every file."""
        return tuple(json.loads(self.files[0].schema.metadata[b"mcd.sets"])) if self.files else ()

    def rows(self, split: str | None = None) -> int:
        """The rows of a split, or of all."""
        return sum(file.rows for file in self.files if split in (None, file.split))
