"""Arrow files, opened: mapped into memory, once nothing that they say of themselves can lead out of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Code, Failure
from ...dsl.source import DataPlace
from .ipc import Foreign, Malformed, check_ipc


@dataclass(frozen=True, slots=True)
class Shown:
    """A file as diagnostics name it: `path`, after what it is."""

    path: str
    kind: str = ""

    def failure(self, code: Code, fact: str) -> Failure:
        """What to raise about the file."""
        return Failure(code.at(DataPlace(self.path), f"{self.kind}`{self.path}` {fact}"))


def open_batches(
    file: Path,
    place: Shown,
    choose: Callable[[pa.Schema], Collection[str]],
    *,
    most: int | None = None,
    validate: bool = True,
) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """The schema of a file, and its record batches with the columns that `choose` names, which may refuse the schema.

    `most`: elements that a column of a record batch may have; `validate`: read everything in those columns, offsets, strings and
    nulls, and not only what Arrow checks cheaply. Raises Failure for a file that is no Arrow file or not whole, and for one that
    no compilation writes: with compression, dictionaries, batches without rows.
    """
    try:
        check_ipc(file, most)
        with pa.memory_map(str(file)) as source:
            schema = pa.ipc.open_file(source).schema
            names = choose(schema)
            included = pa.ipc.IpcReadOptions(included_fields=sorted(map(schema.names.index, names)))
            reader = pa.ipc.open_file(source, options=included)
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        for batch in batches:
            batch.validate(full=validate)
    except Foreign as error:
        raise place.failure(codes.SHARD_STRUCTURE, str(error)) from None
    except Malformed as error:
        raise place.failure(codes.NOT_ARROW, f"is not a readable Arrow file: it {error}") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise place.failure(codes.NOT_ARROW, f"is not a readable Arrow file: {reason}") from None
    return schema, batches


def read_schema(file: Path) -> pa.Schema:
    """The schema of a file that `open_batches` opens."""
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).schema
