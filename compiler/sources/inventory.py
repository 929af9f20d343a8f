"""What the sources hold: a digest per file, and the fixed list of tasks that the executor runs.

Both depend on the content of the files alone, never on the number of workers or the size of a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...dsl import checked
from ...dsl.codes.sources import SOURCE_EMPTY, SOURCE_UNREADABLE
from ...dsl.diagnostics import Failure, Findings
from ..manifest import InputEntry
from ..plan import Digest
from ..remote import not_here
from .base import Origin, Survey, Task, reading
from .digests import shortened
from .files import open_file
from .foreign import file_size
from .registry import FORMATS

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Inventory:
    """The files of one source, by content, and its tasks. `rows` counts lines, blank ones too, in line formats."""

    source: str
    inputs: tuple[InputEntry, ...]
    tasks: tuple[Task, ...]
    rows: int


def inventory(source: checked.Source, root: Path, findings: Findings) -> Inventory:
    """Reads every file of `source` once. What cannot be read, and a source without a record, is a finding."""
    inputs: list[InputEntry] = []
    tasks: list[Task] = []
    if missing := not_here(source):
        findings.items.extend(missing)
        return Inventory(source.name, (), (), 0)
    base, known = 0, len(findings.items)
    for index in range(max(1, len(source.files))):
        origin = origin_of(source, root, index)
        try:
            found, digest, size = survey(origin)
        except Failure as failure:
            findings.items.extend(failure.diagnostics)
            continue
        inputs.append(InputEntry(path=origin.path, digest=digest))
        for part in found.ranges:
            tasks.append(Task(source.name, len(tasks), index, part, base, size, found.types))
        base += found.rows
    if not tasks and len(findings.items) == known:
        findings.add(SOURCE_EMPTY.at(source.place, f"source `{source.name}` holds no record"))
    return Inventory(source.name, tuple(inputs), tuple(tasks), base)


def origin_of(source: checked.Source, root: Path, index: int) -> Origin:
    """The origin of file `index` of `source`, or of its inline records."""
    if not source.files:
        return Origin(source, Path(), f"{source.name} (inline)")
    if index >= len(source.files):
        fact = f"source `{source.name}` has fewer files than when it was listed"
        raise Failure(SOURCE_UNREADABLE.at(source.place, fact))
    file = source.files[index]
    path = file.relative_to(root) if file.is_relative_to(root) else file
    return Origin(source, file, path.as_posix())


def survey(origin: Origin) -> tuple[Survey, Digest, int]:
    """What the format finds, and the digest and the size of all bytes."""
    content = _Content(origin)
    if origin.source.files:
        file_size(origin)
    with reading(origin):
        blocks = iter(content)
        found = FORMATS[origin.source.format].survey(origin, blocks)
        for _ in blocks:  # what the format did not look at
            pass
    return found, shortened(content.digest), content.size


class _Content:
    """The bytes behind an origin in blocks, digested and counted as they go by."""

    def __init__(self, origin: Origin) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._origin = origin

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks():
            self.digest.update(block)
            self.size += len(block)
            yield block

    def _blocks(self) -> Iterator[bytes]:
        if self._origin.source.format == "inline":
            yield "\n".join(self._origin.source.records).encode(errors="surrogatepass")
            return
        left = file_size(self._origin)
        with open_file(self._origin) as stream:
            while left > 0 and (block := stream.read(min(left, _BLOCK))):
                left -= len(block)
                yield block
