"""One shard as one Parquet file, its rows and their order as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..files.shard_reader import Chunk

COMPRESSION = "zstd"


def write_parquet(path: Path, schema: pa.Schema, chunks: Sequence[Chunk]) -> int:
    """Write the record batches of a shard, each as a row group; how many bytes they have in memory.

    `schema`: of the shard, whose metadata and nullability the file keeps. Every page has a checksum. Raises OSError.
    """
    names = [name for name in schema.names if not chunks or name in chunks[0].wanted.types()]
    kept = pa.schema([schema.field(name) for name in names], schema.metadata)
    size = 0
    with pq.ParquetWriter(
        path,
        kept,
        compression=COMPRESSION,
        use_dictionary=[_path(field) for field in kept if not _unique(field)],
        column_encoding={"id": "DELTA_BYTE_ARRAY"},
        write_page_checksum=True,
        write_page_index=True,
    ) as writer:
        for chunk in chunks:
            batch = pa.RecordBatch.from_arrays([chunk.arrow(name) for name in names], schema=kept)
            size += batch.nbytes
            writer.write_batch(batch, row_group_size=max(batch.num_rows, 1))
    return size


def _unique(field: pa.Field) -> bool:
    """Whether values hardly ever repeat: a dictionary of them would be as large as they are."""
    return field.name == "id" or bool(field.type == pa.list_(pa.float16()))


def _path(field: pa.Field) -> str:
    """A column's path in the Parquet schema."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
