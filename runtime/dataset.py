"""A compiled directory, opened: the plan, the anchors, and the rows of its splits.

Shards are mapped into memory; a row is a place in one, and nothing of it is read before it is asked for. Every file is held
against the manifest's checksum when it is opened, and its values against what may be used as an index. Where files were verified
before, and below a URL, a shard is opened when one of its rows is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from ..compiler.files.cached import Cached, Origin, is_url, origin
from ..compiler.files.listed import Verify, check_file
from ..compiler.files.opening import Opener, read_anchors
from ..compiler.files.shard_reader import Chunk
from ..compiler.manifest import PLAN_FILE, Manifest, ShardEntry, read_manifest
from ..compiler.plan import PLAN_FORMAT, MeasureTerm, Plan
from ..compiler.stored import failure, read_json
from ..compiler.verify import broken_invariants
from ..dsl.codes import shards as codes
from ..dsl.codes.runtime import CACHE
from ..dsl.diagnostics import Failure, did_you_mean
from ..dsl.source import DataPlace
from .measured import Measured
from .scores import measures_read


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


def load(
    path: str | Path,
    *,
    split: str | None = None,
    verify: Verify = "digest",
    cache: str | Path | None = None,
    cache_limit: int | None = None,
    options: Mapping[str, str | float] | None = None,
) -> Dataset:
    """Open a compiled directory, or one split of it.

    `verify`: `"digest"` reads every file once and holds it against its SHA-256 and the format; `"size"` looks at sizes alone, and
    at types when a shard is first read, for files that were verified before.

    `path` may be the URL of a dataset, such as `s3://bucket/out`. Its shards are fetched when they are first read, into the
    folder `cache` (`~/.cache/mcd` unless given) by their digest, which is always verified; above `cache_limit` bytes (64 GiB)
    those used longest ago go. `options`: as a table `[remote.NAME]` of mcd.toml has them.

    Raises Failure, naming the file, for whatever is not as it was written, and for a URL that cannot be read.
    """
    if is_url(path):
        where = origin(str(path), (options or {}).items(), None if cache is None else Path(cache), cache_limit)
        cached = Cached(where)
        return _load(cached.directory(), split, verify, cached)
    for name, value in (("cache", cache), ("cache_limit", cache_limit), ("options", options)):
        if value is not None:
            message = f"`{name}` is given, and `{path}` lies on this machine: it is for the URL of a dataset"
            raise Failure(CACHE.at(DataPlace(str(path)), message, help=f"leave `{name}` out"))
    return _load(Path(path), split, verify, None)


def _load(directory: Path, split: str | None, verify: Verify, cached: Cached | None) -> Dataset:
    manifest = read_manifest(directory)
    for entry in manifest.files:
        check_file(directory, entry, "digest")
    plan = read_json(directory, PLAN_FILE, Plan, PLAN_FORMAT)
    for broken in broken_invariants(plan):
        raise failure(codes.PLAN_BROKEN, PLAN_FILE, f"`{PLAN_FILE}` {broken}", "compile the spec again")
    opened = _Opened(directory, verify, manifest, plan, read_anchors(directory, plan), cached)
    return Dataset(opened, tuple(opened.splits) if split is None else (split,))


def opened_shards(directory: Path, manifest: Manifest, plan: Plan) -> Callable[[ShardEntry], Sequence[Chunk]]:
    """Opens shards of a dataset that is being written: `manifest` and `plan` are not in its directory yet."""
    return Opener(directory, manifest, plan, "size").open


class Dataset:
    """A map-style dataset of the rows of some splits, in their order. `anchors`: name -> float32 [hidden]. `shards`: what the
    manifest has of their shards; `shard_rows`: int64, the rows of each."""

    def __init__(self, opened: _Opened, splits: Sequence[str], plan: Plan | None = None) -> None:
        self._opened = opened
        self.shards: tuple[ShardEntry, ...] = tuple(shard for split in splits for shard in opened.shards(split))
        sizes = [opened.sizes(shard) for shard in self.shards]
        self._places = [
            (shard, at) for shard, found in zip(self.shards, sizes, strict=True) for at in range(len(found))
        ]
        self._ends = np.cumsum([rows for found in sizes for rows in found], dtype=np.int64)
        self.shard_rows: npt.NDArray[np.int64] = np.array([sum(found) for found in sizes], dtype=np.int64)
        self._begins = np.concatenate([np.zeros(1, np.int64), self._ends])
        self._splits = tuple(splits)
        self._terms: tuple[MeasureTerm, ...] | None = None
        self.path: Path = opened.directory
        self.plan: Plan = opened.plan if plan is None else plan
        self.manifest: Manifest = opened.manifest
        self.anchors: Mapping[str, npt.NDArray[np.float32]] = opened.anchors

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits of the directory."""
        return self._opened.splits

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
        return (Row(chunk, at) for chunk in self._all() for at in range(chunk.rows))

    def read_measures(self) -> None:
        """Open the measures that the plan reads, as `rows` does by itself.

        Raises Failure where one is missing, lacks a column, or was taken on other shards.
        """
        if self._terms is None:
            self._opened.measured.attach(self.plan, [] if self._opened.lazy else list(self._all()))
            self._terms = tuple(measures_read(self.plan))

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The record batches of the rows, in their order. All shards are opened for it."""
        return list(self._all())

    def _all(self) -> Iterator[Chunk]:
        return (self._chunk(number) for number in range(len(self._places)))

    def _chunk(self, number: int) -> Chunk:
        """A record batch, with its measures once any were read."""
        shard, at = self._places[number]
        chunk = self._opened.opened(shard)[at]
        if any((term.file, term.column) not in chunk.measures for term in self._terms or ()):
            self._opened.measured.attach(self.plan, [chunk])
        return chunk

    def rows(self, index: npt.ArrayLike) -> Rows:
        """The rows at positions `index`, in that order. Raises Failure as `read_measures` does."""
        self.read_measures()
        places = np.asarray(index, dtype=np.int64) % max(len(self), 1)
        chunk = np.searchsorted(self._ends, places, side="right")
        at = places - self._begins[chunk]
        found = {number: self._chunk(number) for number in dict.fromkeys(chunk.tolist())}
        return Rows([found[number] for number in chunk.tolist()], at.tolist())

    def __getitems__(self, index: Sequence[int]) -> Rows:
        """What torch's DataLoader calls for a batch."""
        return self.rows(index)

    def lengths(self, index: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
        """Tokens of the rows at positions `index`, of all rows without it: int64 [rows]. Offsets alone are read."""
        if index is None:
            found = [np.diff(chunk.tokens.offsets) for chunk in self._all()]
            return np.concatenate([np.zeros(0, np.int64), *found]).astype(np.int64)
        places = np.asarray(index, dtype=np.int64)
        number = np.searchsorted(self._ends, places, side="right")
        at = places - self._begins[number]
        lengths = np.zeros(len(places), dtype=np.int64)
        order = np.argsort(number, kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
            if len(mine):
                offsets = self._chunk(int(number[mine[0]])).tokens.offsets
                lengths[mine] = offsets[at[mine] + 1] - offsets[at[mine]]
        return lengths

    def __reduce__(self) -> tuple[Callable[..., Dataset], tuple[Any, ...]]:
        """A worker process opens the files again; that they are sound is known."""
        return _reopen, (str(self.path), self._splits, self.plan.model_dump_json(), self._opened.origin)

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}, splits={self._splits}, rows={len(self)})"


def _reopen(path: str, splits: tuple[str, ...], plan: str, where: Origin | None) -> Dataset:
    opened = _load(Path(path), splits[0], "size", None if where is None else Cached(where))._opened
    return Dataset(opened, splits, Plan.model_validate_json(plan))


class _Opened:
    """A directory whose plan is read. `lazy`: a shard is opened when it is first asked for, not with its split."""

    def __init__(
        self,
        directory: Path,
        verify: Verify,
        manifest: Manifest,
        plan: Plan,
        anchors: Mapping[str, npt.NDArray[np.float32]],
        cached: Cached | None,
    ) -> None:
        self.directory, self.manifest, self.plan, self.anchors = directory, manifest, plan, anchors
        self.splits = tuple(dict.fromkeys([*manifest.records, *(shard.split for shard in manifest.shards)]))
        self.lazy = cached is not None or verify == "size"
        self._cached = cached
        self._opener = Opener(directory, manifest, plan, verify, file=None if cached is None else cached.file)
        self._open: dict[str, tuple[ShardEntry, Sequence[Chunk]]] = {}
        self.measured = Measured(directory, verify, manifest, cached)

    @property
    def origin(self) -> Origin | None:
        """Where the files are fetched from; None for a folder of this machine."""
        return None if self._cached is None else self._cached.origin

    def shards(self, split: str) -> list[ShardEntry]:
        """The shards of a split, in order. Raises Failure where there is no such split, or a file is not as it was written."""
        if split not in self.splits:
            message = (
                f"`{self.directory.name}` has no split `{split}`; it has {', '.join(f'`{s}`' for s in self.splits)}"
            )
            help = did_you_mean(split, self.splits)
            raise Failure(codes.SPLIT_UNKNOWN.at(DataPlace(str(self.directory)), message, help=help))
        mine = sorted((shard for shard in self.manifest.shards if shard.split == split), key=lambda shard: shard.path)
        for shard in mine:
            if not self.lazy:
                self.opened(shard)
            elif self._cached is None:
                check_file(self.directory, shard, "size")
        return mine

    def sizes(self, shard: ShardEntry) -> Sequence[int]:
        """The rows of each record batch of a shard."""
        if self.lazy and shard.batches is not None:
            return shard.batches
        return [chunk.rows for chunk in self.opened(shard)]

    def opened(self, shard: ShardEntry) -> Sequence[Chunk]:
        """The record batches of a shard. Raises Failure for what is wrong with it."""
        found = self._open.pop(shard.path, None) or (shard, self._read(shard))
        self._open[shard.path] = found  # used last
        return found[1]

    def _read(self, shard: ShardEntry) -> Sequence[Chunk]:
        self._let_go(shard.bytes)
        chunks = self._opener.open(shard)
        if self.lazy and shard.batches not in (None, tuple(chunk.rows for chunk in chunks)):
            message = f"shard `{shard.path}` has record batches of other rows than the manifest states"
            raise Failure(codes.SHARD_COUNTS.at(DataPlace(shard.path), message, help="compile the spec again"))
        return chunks

    def _let_go(self, coming: int) -> None:
        """Close the shards used longest ago where too many of them would be kept in the cache for being open."""
        if self._cached is None:
            return
        room = self._cached.origin.limit // _OPEN_SHARE - coming
        held = sum(shard.bytes for shard, _ in self._open.values())
        while self._open and held > room:
            shard, _ = self._open.pop(next(iter(self._open)))
            self._cached.release(self._opener.files(shard))
            held -= shard.bytes


_OPEN_SHARE = 8
"""A process has an eighth of the cache open at most, and a shard at least."""
