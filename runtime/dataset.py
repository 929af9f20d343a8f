"""A compiled directory, opened: the plan, the anchors, and the rows of its splits.

Shards are mapped into memory; a row is a place in one, and nothing of it is read before it is asked for. Every file is held
against the manifest's checksum when it is opened, and its values against what may be used as an index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from ..compiler.files.listed import Verify, check_file
from ..compiler.files.opening import Opener, read_anchors
from ..compiler.files.shard_reader import Chunk
from ..compiler.manifest import PLAN_FILE, Manifest, ShardEntry, read_manifest
from ..compiler.plan import PLAN_FORMAT, Plan
from ..compiler.stored import failure, read_json
from ..compiler.verify import broken_invariants
from ..dsl.codes import shards as codes
from ..dsl.diagnostics import Failure, did_you_mean
from ..dsl.source import DataPlace
from .measured import Measured


@dataclass(frozen=True, slots=True)
class Row:
    """One part of one record: row `at` of a record batch."""

    chunk: Chunk
    at: int

    @property
    def id(self) -> str:
        return self.chunk.id(self.at)

    @property
    def part(self) -> int:
        return int(self.chunk.part[self.at])

    @property
    def source(self) -> str:
        return self.chunk.source(self.at)

    @property
    def input_ids(self) -> npt.NDArray[np.int32]:
        """int32 [tokens], a view."""
        lists = self.chunk.tokens
        ids: npt.NDArray[np.int32] = lists.values[lists.offsets[self.at] : lists.offsets[self.at + 1]]
        return ids

    def spans(self) -> list[tuple[str, int, int]]:
        """Every stored range as (key, start, end): to look at, not to train with."""
        begin, end = self.chunk.spans[0].offsets[self.at : self.at + 2]
        columns = [lists.values[begin:end].tolist() for lists in self.chunk.spans]
        return [(self.chunk.sets[key], a, b) for key, a, b in zip(*columns, strict=True)]


class Rows(Sequence[Row]):
    """Rows of a dataset: each the place `at` in a record batch of `chunks`."""

    def __init__(self, chunks: Sequence[Chunk], at: Sequence[int]) -> None:
        self.chunks, self.at = chunks, at

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Rows:
        """The same rows."""
        return rows if isinstance(rows, Rows) else cls([row.chunk for row in rows], [row.at for row in rows])

    def __len__(self) -> int:
        return len(self.at)

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> Rows: ...

    def __getitem__(self, place: int | slice) -> Row | Rows:
        if isinstance(place, slice):
            return Rows(self.chunks[place], self.at[place])
        return Row(self.chunks[place], self.at[place])


def load(path: str | Path, *, split: str | None = None, verify: Verify = "digest") -> Dataset:
    """Open a compiled directory, or one split of it.

    `verify`: `"digest"` reads every file once and holds it against its SHA-256 and the format; `"size"` looks at sizes and
    types alone, for files that were verified before. Raises Failure, naming the file, for whatever is not as it was written.
    """
    directory = Path(path)
    manifest = read_manifest(directory)
    for entry in manifest.files:
        check_file(directory, entry, "digest")
    plan = read_json(directory, PLAN_FILE, Plan, PLAN_FORMAT)
    for broken in broken_invariants(plan):
        raise failure(codes.PLAN_BROKEN, PLAN_FILE, f"`{PLAN_FILE}` {broken}", "compile the spec again")
    opened = _Opened(directory, verify, manifest, plan, read_anchors(directory, plan))
    return Dataset(opened, tuple(opened.splits) if split is None else (split,))


def opened_shards(directory: Path, manifest: Manifest, plan: Plan) -> Callable[[ShardEntry], Sequence[Chunk]]:
    """Opens shards of a dataset that is being written: `manifest` and `plan` are not in its directory yet."""
    return Opener(directory, manifest, plan, "size").open


class Dataset:
    """A map-style dataset of the rows of some splits, in their order. `anchors`: name -> float32 [hidden]."""

    def __init__(self, opened: _Opened, splits: Sequence[str], plan: Plan | None = None) -> None:
        self._opened = opened
        self._chunks = [chunk for split in splits for chunk in opened.chunks(split)]
        self._ends = np.cumsum([chunk.rows for chunk in self._chunks], dtype=np.int64)
        self._begins = np.concatenate([np.zeros(1, np.int64), self._ends])
        self._splits = tuple(splits)
        self._measured = False
        self.path: Path = opened.directory
        self.plan: Plan = opened.plan if plan is None else plan
        self.manifest: Manifest = opened.manifest
        self.anchors: Mapping[str, npt.NDArray[np.float32]] = opened.anchors

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits of the directory."""
        return self._opened.splits

    @property
    def shards(self) -> tuple[ShardEntry, ...]:
        """What the manifest has of the shards of the rows, in their order."""
        return tuple(shard for split in self._splits for shard in self._opened.shards(split))

    @property
    def shard_rows(self) -> npt.NDArray[np.int64]:
        """Rows of each of `shards`: int64."""
        rows = dict.fromkeys((shard.path for shard in self.shards), 0)
        for chunk in self._chunks:
            rows[chunk.shard] += chunk.rows
        return np.array(list(rows.values()), dtype=np.int64)

    def split(self, name: str) -> Dataset:
        """The rows of one split."""
        return Dataset(self._opened, (name,), self.plan)

    def with_plan(self, plan: Plan) -> Dataset:
        """The same rows under another plan over the same sets: without some of its rules, say."""
        return Dataset(self._opened, self._splits, plan)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, at: int) -> Row:
        if not -len(self) <= at < len(self):
            raise IndexError(f"row {at} of {len(self)}")
        return self.rows(np.array([at]))[0]

    def __iter__(self) -> Iterator[Row]:
        self.read_measures()
        return (Row(chunk, at) for chunk in self._chunks for at in range(chunk.rows))

    def read_measures(self) -> None:
        """Open the measures that the plan reads, as `rows` does by itself.

        Raises Failure where one is missing, lacks a column, or was taken on other shards.
        """
        if not self._measured:
            self._opened.measured.attach(self.plan, self._chunks)
            self._measured = True

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The record batches of the rows, in their order."""
        return self._chunks

    def rows(self, index: npt.ArrayLike) -> Rows:
        """The rows at positions `index`, in that order. Raises Failure as `read_measures` does."""
        self.read_measures()
        places = np.asarray(index, dtype=np.int64) % max(len(self), 1)
        chunk = np.searchsorted(self._ends, places, side="right")
        at = places - self._begins[chunk]
        return Rows([self._chunks[number] for number in chunk.tolist()], at.tolist())

    def __getitems__(self, index: Sequence[int]) -> Rows:
        """What torch's DataLoader calls for a batch."""
        return self.rows(index)

    def lengths(self, index: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
        """Tokens of the rows at positions `index`, of all rows without it: int64 [rows]. Offsets alone are read."""
        if index is None:
            found = [np.diff(chunk.tokens.offsets) for chunk in self._chunks]
            return np.concatenate([np.zeros(0, np.int64), *found]).astype(np.int64)
        places = np.asarray(index, dtype=np.int64)
        number = np.searchsorted(self._ends, places, side="right")
        at = places - np.concatenate(([0], self._ends))[number]
        lengths = np.zeros(len(places), dtype=np.int64)
        order = np.argsort(number, kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
            if len(mine):
                offsets = self._chunks[int(number[mine[0]])].tokens.offsets
                lengths[mine] = offsets[at[mine] + 1] - offsets[at[mine]]
        return lengths

    def __reduce__(self) -> tuple[Callable[..., Dataset], tuple[Any, ...]]:
        """A worker process opens the files again; that they are sound is known."""
        return _reopen, (str(self.path), self._splits, self.plan.model_dump_json())

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}, splits={self._splits}, rows={len(self)})"


def _reopen(path: str, splits: tuple[str, ...], plan: str) -> Dataset:
    opened = load(path, split=splits[0], verify="size")._opened
    return Dataset(opened, splits, Plan.model_validate_json(plan))


class _Opened:
    """A directory whose plan is read, and whose shards are opened split by split."""

    def __init__(
        self,
        directory: Path,
        verify: Verify,
        manifest: Manifest,
        plan: Plan,
        anchors: Mapping[str, npt.NDArray[np.float32]],
    ) -> None:
        self.directory, self.manifest, self.plan, self.anchors = directory, manifest, plan, anchors
        self.splits = tuple(dict.fromkeys([*manifest.records, *(shard.split for shard in manifest.shards)]))
        self._chunks: dict[str, list[Chunk]] = {}
        self.open = Opener(directory, manifest, plan, verify).open
        self.measured = Measured(directory, verify, manifest)

    def chunks(self, split: str) -> list[Chunk]:
        """The record batches of a split, in order."""
        if split not in self.splits:
            message = (
                f"`{self.directory.name}` has no split `{split}`; it has {', '.join(f'`{s}`' for s in self.splits)}"
            )
            help = did_you_mean(split, self.splits)
            raise Failure(codes.SPLIT_UNKNOWN.at(DataPlace(str(self.directory)), message, help=help))
        if split not in self._chunks:
            self._chunks[split] = [chunk for shard in self.shards(split) for chunk in self.open(shard)]
        return self._chunks[split]

    def shards(self, split: str) -> list[ShardEntry]:
        """The shards of a split, in order."""
        return sorted((shard for shard in self.manifest.shards if shard.split == split), key=lambda shard: shard.path)
