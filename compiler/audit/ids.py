"""No record is in two splits: a model would be measured on what it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Diagnostic
from ..files.shard_reader import Chunk
from ..manifest import ShardEntry
from .base import Audited, Check, at

MOST = 1 << 25
"""How many records are compared, at most: 8 bytes each. Of more, a share is, chosen by their ids."""

Hashes = npt.NDArray[np.uint64]


class Ids(Check):
    """Compares the ids of records by 64-bit hashes."""

    def __init__(self, dataset: Audited) -> None:
        super().__init__(dataset)
        self._several = len({shard.split for shard in dataset.manifest.shards}) > 1
        records = sum(shard.records for shard in dataset.manifest.shards)
        self._share = max(1, -(-records // MOST))
        self._seen: dict[str, list[Hashes]] = {}

    def shard(self, shard: ShardEntry, chunks: Sequence[Chunk]) -> Iterator[Diagnostic]:
        if self._several:
            self._seen.setdefault(shard.split, []).extend(map(self._hashes, chunks))
        yield from ()

    def _hashes(self, chunk: Chunk) -> Hashes:
        """Those of the records that begin in a record batch and are compared."""
        names = chunk.arrow("id").take(np.flatnonzero(chunk.part == 0)).to_pylist()
        digests = b"".join(map(_hash, names))
        found: Hashes = np.frombuffer(digests, dtype=np.uint64)
        return found if self._share == 1 else found[found % self._share == 0]

    def after(self, unread: Sequence[ShardEntry]) -> Iterator[Diagnostic]:
        unique = {split: np.unique(np.concatenate(hashes)) for split, hashes in sorted(self._seen.items())}
        for one, other in combinations(unique, 2):
            shared = np.intersect1d(unique[one], unique[other], assume_unique=True)
            if len(shared):
                path, name = self._example(other, shared[0])
                also = f", and {len(shared) - 1:,} more records" if len(shared) > 1 else ""
                message = f"record `{name}` is in split `{one}` and in split `{other}`{also}"
                yield at(codes.ID_IN_SPLITS, path, message)

    def _example(self, split: str, hash: np.uint64) -> tuple[str, str]:
        """A record of a split with that hash: its shard and its id."""
        for shard in self.dataset.manifest.shards:
            if shard.split == split and shard.path in self.dataset.sound:
                for chunk in self.dataset.opener.open(shard):
                    for row in np.flatnonzero(chunk.part == 0).tolist():
                        if _hash(chunk.id(row)) == hash.tobytes():
                            return shard.path, chunk.id(row)
        raise AssertionError("a hash of no record")

    def notes(self) -> Iterator[str]:
        if self._several and self._share > 1:
            yield f"1 record of {self._share} was compared between splits"


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()
