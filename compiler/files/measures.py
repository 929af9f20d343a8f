"""Measure files: a number per token of the shards, written after them by whoever ran a model over them.

`measures/NAME.arrow` has a record batch for each of the shards' and in it a list column per measure, one float32 per token, NaN
where the token has none. `measures/NAME.json` says which shards, by digest, and holds the Arrow file's checksum. It is written
last: an Arrow file without it, or with that of another, is no measure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ...dsl.vocabulary import names_measure
from ...version import VERSION
from ..manifest import MEASURES, FileEntry, ShardEntry
from ..plan import Frozen
from ..stored import Sealed
from . import disk
from .arrow_file import ArrowFile
from .arrow_reader import Shown, open_batches
from .output import ADVICE, json_text, refusal
from .shard_reader import Chunk, Lists

MEASURE_FORMAT = 1
"""Raised by every change that an older reader would misread."""

VALUES = pa.list_(pa.float32())


class MeasuredShard(Frozen):
    """A shard as it was measured. `batches`: how many record batches it has."""

    path: str
    sha256: str
    batches: int = Field(ge=0)


class MeasureInfo(Sealed):
    """The whole of `measures/NAME.json`. `columns`: what each measure was made with, in words."""

    format: int = MEASURE_FORMAT
    version: str
    file: FileEntry
    columns: dict[str, str]
    shards: tuple[MeasuredShard, ...]


def info_path(name: str) -> str:
    """Where a measure is described, below the dataset."""
    return f"{MEASURES}/{name}.json"


class MeasureWriter:
    """Writes the measure `name` of the dataset in `directory`: record batch after record batch, in the order of the shards.

    As a context manager it finishes the files where the block ends well, and leaves what was there before where it does not.
    `columns`: the measures, and what each was made with. Raises Failure where the file system refuses.
    """

    def __init__(self, directory: Path, name: str, columns: Mapping[str, str]) -> None:
        if not names_measure(name):
            raise ValueError(f"{name!r} cannot name a measure")
        self._directory, self._name, self._columns = directory, name, dict(columns)
        self._target = directory / MEASURES / f"{name}.arrow"
        self._text = self._target.with_name(f".{name}.json.part")
        self._written: list[ShardEntry] = []
        fields = [("id", pa.string()), ("part", pa.int32()), *((column, VALUES) for column in columns)]
        schema = pa.schema(fields, {"mcd.format": str(MEASURE_FORMAT)})
        try:
            disk.make(self._target.parent)
            self._file = ArrowFile(self._target, schema, self._target.with_name(f".{name}.arrow.part"))
        except OSError as error:
            raise self._refused(error) from None

    def write(self, shard: ShardEntry, chunk: Chunk, values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Add the record batch `chunk` of `shard`: per column one number per token, of all rows one after another."""
        offsets = pa.array(chunk.tokens.offsets - chunk.tokens.offsets[0])
        lists = [pa.ListArray.from_arrays(offsets, pa.array(values[name], pa.float32())) for name in self._columns]
        try:
            self._file.write([chunk.arrow("id"), chunk.arrow("part"), *lists])
        except OSError as error:
            raise self._refused(error) from None
        self._written.append(shard)

    def close(self) -> MeasureInfo:
        """Finish both files and give them their names."""
        try:
            digest, size = self._file.finish()
            entry = FileEntry(path=f"{MEASURES}/{self._target.name}", bytes=size, sha256=digest)
            shards = [(next(same), 1 + sum(1 for _ in same)) for _, same in groupby(self._written, lambda s: s.path)]
            measured = tuple(MeasuredShard(path=s.path, sha256=s.sha256, batches=count) for s, count in shards)
            info = MeasureInfo(version=VERSION, file=entry, columns=self._columns, shards=measured)
            disk.write(self._text, json_text(info).encode())  # so that nothing but names is left to be given
            self._file.publish()
            disk.rename(self._text, self._directory / info_path(self._name))
        except OSError as error:
            raise self._refused(error) from None
        return info

    def _refused(self, error: OSError) -> Failure:
        message = f"measure `{self._name}` cannot be written: {refusal(error, self._directory)}"
        return Failure(codes.OUTPUT_FAILED.at(DataPlace(str(self._target)), message, help=ADVICE.get(error.errno or 0)))

    def __enter__(self) -> MeasureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._file.discard()
            with suppress(OSError):
                self._text.unlink(missing_ok=True)


def open_measures(file: Path, shown: str, columns: Sequence[str]) -> list[dict[str, Lists]]:
    """Map a measure file into memory: the columns of each record batch.

    Raises Failure for a file that is no Arrow file, or whose columns are not those of the format.
    """
    place = Shown(shown)

    def choose(schema: pa.Schema) -> Collection[str]:
        for name in columns:
            found = schema.field(name).type if schema.names.count(name) == 1 else None
            if found != VALUES:
                raise place.failure(codes.SHARD_STRUCTURE, f"has column `{name}` of type {found}; {VALUES} is expected")
        return columns

    _, batches = open_batches(file, place, choose)
    return [{name: _lists(batch.column(name), shown) for name in columns} for batch in batches]


def _lists(column: pa.ListArray, shown: str) -> Lists:
    if column.null_count or column.values.null_count:
        raise Failure(codes.SHARD_STRUCTURE.at(DataPlace(shown), f"`{shown}` has a null; NaN stands for no number"))
    return Lists(column.offsets.to_numpy(), column.values.to_numpy(zero_copy_only=True))
