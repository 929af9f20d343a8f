"""A compiled dataset -> a directory that other tools read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..files.listed import check_file
from ..inspect.opened import Opened, schema_of
from ..inspect.overview import overview
from ..manifest import ANCHORS_FILE, EXPORTED, MANIFEST_FILE, PLAN_FILE, FileEntry, ShardEntry, file_digest
from .card import card
from .contents import Contents, Exported
from .croissant import croissant
from .parquet import write_parquet
from .staging import CARD, CROISSANT, DATA, staged

Progress = Callable[[int, int], None]


def export(opened: Opened, target: Path, license: str | None, overwrite: bool, progress: Progress) -> Contents:
    """Write every shard as Parquet, with the card and the metadata. `license`: an identifier that both shall have.

    `target` appears complete or not at all. Raises Failure where it may not be replaced or cannot be written, and for a dataset
    that is not what was written.
    """
    splits = _split_names(opened)
    with staged(target, overwrite) as work:
        files = tuple(_files(opened, work, splits, progress))
        for entry in opened.manifest.files:
            file = check_file(opened.directory, entry, "digest")
            if entry.path in (PLAN_FILE, ANCHORS_FILE):
                _copy(file, work / EXPORTED / entry.path)
        _copy(opened.directory / MANIFEST_FILE, work / EXPORTED / MANIFEST_FILE)
        report = overview(opened, None, False, progress=lambda done, total: None)
        contents = Contents(target.resolve().name, license, report, opened.plan, files)
        (work / CARD).write_text(card(contents), encoding="utf-8", newline="\n")
        (work / CROISSANT).write_text(croissant(contents), encoding="utf-8", newline="\n")
    return contents


def _split_names(opened: Opened) -> dict[str, str]:
    """Split -> its name in the export, where letters, digits and `_` alone name one. Raises Failure for two alike."""
    names: dict[str, str] = {}
    for split in opened.splits:
        name = split.replace("-", "_").replace(".", "_")
        if name in names.values():
            other = next(each for each in names if names[each] == name)
            message = f"splits `{other}` and `{split}` would both be `{name}` in an export"
            help = "name them apart without `-` and `.`"
            raise Failure(codes.EXPORT_SPLIT.at(DataPlace(str(opened.directory)), message, help=help))
        names[split] = name
    return names


def _files(opened: Opened, work: Path, splits: dict[str, str], progress: Progress) -> Iterator[Exported]:
    shards = tuple(opened.shards())
    counts = {split: sum(shard.split == split for shard in shards) for split in splits}
    done = dict.fromkeys(splits, 0)
    (work / DATA).mkdir()
    first = schema_of(opened.directory / shards[0].path) if shards else None
    for number, shard in enumerate(shards, 1):
        path = f"{DATA}/{splits[shard.split]}-{done[shard.split]:05}-of-{counts[shard.split]:05}.parquet"
        done[shard.split] += 1
        made = _file(opened, shard, work, path, splits[shard.split])
        if not made.schema.equals(first, check_metadata=True):
            message = f"shard `{shard.path}` has other columns or sets than `{shards[0].path}`"
            raise Failure(codes.SHARD_STRUCTURE.at(DataPlace(shard.path), message, help="compile the spec again"))
        yield made
        progress(number, len(shards))


def _file(opened: Opened, shard: ShardEntry, work: Path, path: str, split: str) -> Exported:
    chunks = opened.chunks(shard)
    schema = schema_of(opened.directory / shard.path)
    size = write_parquet(work / path, schema, chunks)
    digest, stored = file_digest(work / path)
    rows = sum(chunk.rows for chunk in chunks)
    return Exported(FileEntry(path=path, bytes=stored, sha256=digest), split, rows, size, schema)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
