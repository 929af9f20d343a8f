"""The manifest: versions, the digest of every input, counts per rule and cause, and a checksum per file.

Written last; a directory without one is no dataset.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ..dsl.codes import shards as codes
from .plan import Digest, Frozen
from .stored import Sealed, failure, read_json

MANIFEST_FORMAT = 1
MANIFEST_FILE = "manifest.json"
PLAN_FILE = "program.json"
ANCHORS_FILE = "anchors.safetensors"
MEASURES = "measures"
"""The folder of what was measured on the shards."""
EXPORTED = "mcd"
"""The folder in which an export keeps what it was made from."""
WEIGHT_ENDINGS = (".safetensors", ".safetensors.index.json")
"""The files of a folder of weights."""

Cause = Literal[
    "matched",  # spans, or edges, that the set holds: the one entry that is no loss
    "rows",  # token rows of them within the context
    "unmatched",  # records in which the set holds nothing
    "cut",  # spans that the context cut off, whole or in part
    "ragged",  # span edges that fall inside a token (the span acts on the whole token)
    "between",  # spans without a token of their own
    "forward",  # edges whose keys all lie after the query: impossible in a causal model
    "window",  # edges outside the window of every layer of their rule: impossible like those into the future
    "narrow",  # edges outside the window of some of the layers, which act in the others
    "surplus",  # edges beyond max_edges
    "null",  # spans without the attribute or field value that the rule reads
    "outside",  # labels outside the classes, and targets that are no token
    "lonely",  # spans without another of the same value to be contrasted with
    "unpaired",  # rows of which no token has one of the teacher
    "beyond",  # rows that look ahead beyond the end of their text: no loss, since every text ends
]


ChatCause = Literal[
    "messages",  # of records that were rendered
    "unrendered",  # messages of which nothing is in the text
    "shortened",  # messages of which a part is not in the text
    "changed",  # messages whose content the template changed, so that nothing inside has a place
    "special",  # messages in whose content the tokenizer reads a special token
    "entries",  # entries of `offsets` that stand in what the template leaves out or changes
]


def _below(path: str) -> str:
    """A path that a directory holds, whoever wrote it."""
    if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise ValueError("names no file of the directory")
    return path


class FileEntry(Frozen):
    """A written file, by its path below the output directory."""

    path: Annotated[str, AfterValidator(_below)]
    bytes: int = Field(ge=0)
    sha256: str

    def is_whole(self, directory: Path) -> bool:
        """Whether the file is in `directory` as it was written. It is read for that."""
        try:
            return file_digest(directory / self.path) == (self.sha256, self.bytes)
        except OSError:
            return False


class ShardEntry(FileEntry):
    """A shard: one Arrow IPC file, of records of one source. `batches`: the rows of each of its record batches; None in a
    manifest of an older version."""

    split: str
    records: int
    tokens: int
    source: str | None = None
    batches: tuple[int, ...] | None = None


class InputEntry(Frozen):
    """An input by its content."""

    path: str
    digest: Digest


class Counts(Frozen):
    """Counts by split and cause."""

    splits: dict[str, dict[Cause, int]]

    def total(self, cause: Cause) -> int:
        return sum(counts.get(cause, 0) for counts in self.splits.values())


class TargetEntry(Frozen):
    """The stored states of a teacher at a layer, a file for each shard. `digest`: of all that they follow from. `counts`: by
    `SET/POOL`, the rows of a rule on that set, and those that no token of the teacher is paired with."""

    digest: Digest
    width: int = Field(ge=1, lt=2**31)
    dtype: Literal["float16", "float32"]
    files: tuple[FileEntry, ...]
    counts: dict[str, Counts]


class Manifest(Sealed):
    """The whole of `manifest.json`.

    `records`, `tokens`: by split; `dropped`: records by cause; `sets`: counts by the digest of a span or
    edge set, and of `tokens` and `record`, and `A+B` of two sets together; `labels`:
    spans without a usable label, by the digest of what reads it; `rules`: counts by rule, which follow from the others; `chat`:
    messages by what became of them, of each source of messages. `teachers`: the digest of each one's files; `targets`: states of
    cached ones, by `HiddenOf.key`; `centroids`: the digest of what each was computed from. `causal`: whether edges were counted
    for a model that attends backward alone; None where there are no edges.
    """

    format: int = MANIFEST_FORMAT
    version: str
    shards_key: Digest
    inputs: tuple[InputEntry, ...]
    records: dict[str, int]
    tokens: dict[str, int]
    dropped: dict[str, int]
    sets: dict[Digest, Counts]
    labels: dict[Digest, Counts]
    rules: dict[str, Counts]
    teachers: dict[str, Digest] = Field(default_factory=dict)
    targets: dict[str, TargetEntry] = Field(default_factory=dict)
    centroids: dict[str, Digest] = Field(default_factory=dict)
    files: tuple[FileEntry, ...]
    shards: tuple[ShardEntry, ...]
    chat: dict[str, dict[ChatCause, int]] = Field(default_factory=dict)
    causal: bool | None = None

    def entries(self) -> Iterator[FileEntry]:
        """Every file of the dataset but for the manifest itself, and for measures, which are taken later."""
        yield from self.files
        yield from self.shards
        for target in self.targets.values():
            yield from target.files


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a compiled directory, once it is what was written.

    Raises Failure: where there is none, since the directory is no dataset then, and where it is not to be trusted.
    """
    if not (directory / MANIFEST_FILE).exists():
        message = f"`{directory.name}` is no compiled dataset: it has no {MANIFEST_FILE}"
        help = "`mcd compile SPEC -o DIR` writes one"
        if (directory / EXPORTED / MANIFEST_FILE).is_file():
            help = "it is an export: give the directory that it was made from"
        raise failure(codes.NOT_A_DATASET, str(directory), message, help)
    return read_json(directory, MANIFEST_FILE, Manifest, MANIFEST_FORMAT)


def teacher_digest(folder: Path, config: Path) -> Digest:
    """The digest of a teacher's config and weights, by content."""
    weights = [path for path in sorted(folder.iterdir()) if path.name.endswith(WEIGHT_ENDINGS)]
    found = [file_digest(config)[0], *([path.name, file_digest(path)[0]] for path in weights)]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:32]


def file_digest(path: Path) -> tuple[str, int]:
    """The SHA-256 of a file's content and its size in bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


def entry_of(path: Path) -> FileEntry:
    """The entry of a file of the folder that is written."""
    digest, size = file_digest(path)
    return FileEntry(path=path.name, bytes=size, sha256=digest)
