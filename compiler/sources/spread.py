"""A few records from all over a source, the same for the same files: an equal share of each of its parts.

The parts of a file of lines are up to `PARTS` ranges of its first `MOST` bytes; of other files the ranges that a compilation has
as tasks. The first records of each part are taken. A file of lines is read once for that, to know where lines begin and their
numbers, and a csv file to know the types of its columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ...dsl import checked
from ...dsl.checked import FieldPath
from ...dsl.diagnostics import Failure
from ..batch import TextBatch
from ..remote import not_here
from ..tokens.tokenize import Encoder
from . import lines
from .base import Limits, Origin, Survey, Tally, Task, reading
from .cuts import Unit
from .files import open_file
from .foreign import file_size
from .inventory import origin_of, survey
from .reader import Splits, read_batches
from .registry import FORMATS

PARTS = 16
MOST = 256 << 20
_BLOCK = 1 << 20
_BYTES = 256 << 10
"""How much is read at a time: a few hundred records of most sources."""

UNITS: Mapping[str, Unit] = {"jsonl": "line", "conllu": "paragraph"}


def some_batches(
    source: checked.Source, root: Path, count: int, fields: Iterable[FieldPath], encoder: Encoder, tally: Tally
) -> Iterator[tuple[TextBatch, Splits]]:
    """Batches of `count` records of a source, or a few more where the last batch has them; fewer where there are no more.

    Raises Failure with what is wrong in the data.
    """
    tasks = _parts(source, root, count)
    left = count
    for at, task in enumerate(tasks):
        share = -(-left // (len(tasks) - at))
        limits = Limits(records=max(share, 1), bytes=_BYTES)
        for batch, splits in read_batches(source, root, task, fields, encoder, tally, limits):
            yield batch, splits
            share, left = share - batch.records, left - batch.records
            if share <= 0:
                break


def _parts(source: checked.Source, root: Path, count: int) -> list[Task]:
    """At most `count` parts of all files, evenly spread."""
    if missing := not_here(source):
        raise Failure(*missing)
    tasks: list[Task] = []
    base = 0
    for index in range(max(1, len(source.files))):
        origin = origin_of(source, root, index)
        with reading(origin):
            size = file_size(origin) if source.files else 0
            found = _survey(origin, size)
        tasks += [Task(source.name, len(tasks), index, part, base, size, found.types) for part in found.ranges]
        base += found.rows
    return [tasks[len(tasks) * at // count] for at in range(count)] if len(tasks) > count else tasks


def _survey(origin: Origin, size: int) -> Survey:
    form = origin.source.format
    if form in UNITS:
        found = lines.survey(origin, _beginning(origin), UNITS[form], max(1, min(size, MOST) // PARTS))
        return Survey(found.ranges[: None if size <= MOST else -1], found.rows)
    if form == "csv":
        return survey(origin)[0]
    found = FORMATS[form].survey(origin, iter(()))
    return replace(found, ranges=tuple(replace(part, digest="") for part in found.ranges))


def _beginning(origin: Origin) -> Iterator[bytes]:
    with open_file(origin) as stream:
        for _ in range(MOST // _BLOCK):
            if not (block := stream.read(_BLOCK)):
                return
            yield block
