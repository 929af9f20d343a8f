"""What a check of a dataset is, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...dsl.diagnostics import Code, Diagnostic
from ...dsl.source import DataPlace
from ..files.measures import MeasureInfo
from ..files.opening import Opener
from ..files.shard_reader import Chunk
from ..manifest import Manifest, ShardEntry
from ..plan import Plan


@dataclass(frozen=True, slots=True)
class Audited:
    """A dataset whose manifest and plan could be read. `sound`: the paths of the listed files that are there as they were
    written, filled in as they are read: a check says nothing of the others. `measures`: those whose files are, by name."""

    directory: Path
    manifest: Manifest
    plan: Plan
    opener: Opener
    sound: set[str]
    measures: Mapping[str, MeasureInfo]


class Check:
    """One kind of question. Made once per dataset, it is asked before any shard is read, of each sound shard with its record
    batches, in order, and after the last one, with the shards that could not be read. A subclass answers what it wants."""

    def __init__(self, dataset: Audited) -> None:
        self.dataset = dataset

    def before(self) -> Iterator[Diagnostic]:
        """What is wrong that no shard is needed for."""
        yield from ()

    def shard(self, shard: ShardEntry, chunks: Sequence[Chunk]) -> Iterator[Diagnostic]:
        """What is wrong with one shard."""
        yield from ()

    def after(self, unread: Sequence[ShardEntry]) -> Iterator[Diagnostic]:
        """What is wrong with all of them together."""
        yield from ()

    def notes(self) -> Iterator[str]:
        """What was not looked at, a sentence each."""
        yield from ()


def at(code: Code, path: str, message: str, help: str | None = None) -> Diagnostic:
    """A finding about a file of the dataset."""
    return code.at(DataPlace(path), message, help=help)


def listed(names: Sequence[str]) -> str:
    """Names for a sentence, of many the first."""
    shown = ", ".join(f"`{name}`" for name in names[:4])
    return f"{shown} and {len(names) - 4:,} more" if len(names) > 4 else shown


def differences(found: Mapping[str, int], stated: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """Names whose numbers differ, with both; one that is missing is 0."""
    for name in sorted({*found, *stated}):
        if found.get(name, 0) != stated.get(name, 0):
            yield name, found.get(name, 0), stated.get(name, 0)
