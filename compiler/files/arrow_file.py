"""An Arrow file in the making: under a name of its own until it is whole."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from ..manifest import file_digest
from . import disk


class ArrowFile:
    """Writes the Arrow IPC file at `path`, under another name (`temporary`, or one that nobody else takes) until `publish`.

    Whatever the file system refuses is an OSError that names `path`.
    """

    def __init__(self, path: Path, schema: pa.Schema, temporary: Path | None = None) -> None:
        self.path, self.schema = path, schema
        self._temporary = disk.temporary(path) if temporary is None else temporary
        with disk.about(path):
            disk.reached("before write", path)
            self._sink = disk.create(self._temporary)
            try:
                self._writer = pa.ipc.new_file(self._sink, schema)
            except BaseException:
                self.discard()
                raise

    def write(self, columns: list[pa.Array]) -> None:
        """Add a record batch."""
        with disk.about(self.path):
            self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self.schema))

    def finish(self) -> tuple[str, int]:
        """Write the rest and make it last; the SHA-256 of the content and its size in bytes."""
        with disk.about(self.path):
            self._writer.close()
            disk.flush(self._sink, self.path)
            self._sink.close()
            return file_digest(self._temporary)

    def publish(self) -> None:
        """Give a finished file its name."""
        disk.rename(self._temporary, self.path)
        disk.sync(self.path.parent)

    def discard(self) -> None:
        """Remove what has no name yet; nothing after `publish`."""
        with suppress(OSError):  # what is left in the buffer finds no room either
            self._sink.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)
