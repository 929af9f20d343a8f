"""A task -> batches of rendered and tokenised records, each with its split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from ...dsl import checked
from ...dsl.checked import ConstantSplit, FieldPath, FieldSplit, HashSplit
from ...dsl.codes.sources import BAD_ENCODING, BAD_SPLIT, NO_ID
from ...dsl.diagnostics import Code, Failure
from ..batch import Bools, Ints, Marks, TextBatch, TokenTable
from ..chat.locate import special_messages
from ..chat.messages import Chats
from ..tokens.text import CodePoints
from ..written import field_text
from .base import Limits, Origin, Rows, Tally, Task, Want
from .digests import unchanged
from .inventory import origin_of
from .markup import of_records, unmark
from .registry import FORMATS
from .render import Rendered, render, slots_of

LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class Splits:
    """The split of each record of a batch: `names[index[n]]`."""

    names: tuple[str, ...]
    index: Ints


class Encodes(Protocol):
    """A tokenizer, or what stands for one: see `Encoder`."""

    @property
    def special(self) -> Bools: ...

    def encode(self, texts: pa.StringArray, bare: bool = False) -> TokenTable: ...


Batches: TypeAlias = Generator[tuple[TextBatch, Splits], None, None]


def read_batches(
    source: checked.Source,
    root: Path,
    task: Task,
    fields: Iterable[FieldPath],
    encoder: Encodes,
    tally: Tally,
    limits: Limits = LIMITS,
    strict: bool = False,
) -> Batches:
    """The records of `task` in order, with `fields` as columns. Counts what it drops, and the fields it sees, in `tally`. With
    `strict`, a record that a chat template refuses is a failure.

    Batches hold at most `limits`, and one record at least; where they are cut changes nothing but their number. Raises
    `Failure` with what is wrong in the data; after the last batch, where the file is not what it was when the task was made.
    """
    origin = origin_of(source, root, task.file)
    chats = Chats(source.text, origin, strict) if isinstance(source.text, checked.Chat) else None
    raw = () if chats is None else chats.fields
    want = Want(read_as_texts(source), tuple(dict.fromkeys(fields)), tuple(dict.fromkeys(raw)))
    form = FORMATS[source.format]
    with unchanged(task, origin, form.digest):
        for read in form.read(task, origin, want, limits, tally):
            rows, rendered = _templated(source, read, origin, tally) if chats is None else chats.texts(read, tally)
            _check_no_nul(rendered, rows, origin)
            ids = _ids(source, rows, task.base, origin)
            splits = _splits(source.split, ids, rows, origin)
            for start, stop in _cuts(rendered.bounds, limits):
                batch = _batch(origin, rendered, rows, ids, encoder, start, stop)
                _count_special(batch, encoder, tally)
                yield batch, Splits(splits.names, splits.index[start:stop])


def read_as_texts(source: checked.Source) -> tuple[FieldPath, ...]:
    """The fields that are read as strings: those of a template, the id and the split."""
    slots = slots_of(source.text) if isinstance(source.text, checked.Template) else ()
    split = (source.split.path,) if isinstance(source.split, FieldSplit) else ()
    return tuple(dict.fromkeys((*slots, *((source.id,) if source.id else ()), *split)))


def _templated(source: checked.Source, read: Rows, origin: Origin, tally: Tally) -> tuple[Rows, Rendered]:
    """The rows that have a text, and the texts that the template gives."""
    assert isinstance(source.text, checked.Template), "messages are rendered elsewhere"
    rows = _with_text(read, slots_of(source.text), tally)
    texts, marks = _unmarked(source, rows, origin)
    return rows, replace(render(source.text, texts, len(rows.rows)), marks=marks)


def _count_special(batch: TextBatch, encoder: Encodes, tally: Tally) -> None:
    """Count the messages whose content the tokenizer does not read as it is written."""
    if batch.messages is not None:
        points = CodePoints(batch.buffer)
        found = special_messages(batch.messages, batch.tokens, encoder.special, points, batch.bounds)
        tally.chat["special"] += found


def _with_text(rows: Rows, slots: Iterable[FieldPath], tally: Tally) -> Rows:
    """The rows of which no slot is null; the others are counted."""
    whole = np.ones(len(rows.rows), np.bool_)
    for path in slots:
        if rows.texts[path].null_count:
            whole &= rows.texts[path].is_valid().to_numpy(zero_copy_only=False)
    if whole.all():
        return rows
    tally.dropped["null_text"] += int((~whole).sum())
    return rows.filter(whole)


def _unmarked(
    source: checked.Source, rows: Rows, origin: Origin
) -> tuple[Mapping[FieldPath, pa.StringArray], Mapping[FieldPath, Marks]]:
    """The slots' values without their marks, and what those mark. Raises `Failure` where marks do not go together."""
    found = {path: unmark(path, rows, origin) for path in source.marked}
    texts = {**rows.texts, **{path: plain for path, (plain, _) in found.items()}}
    return texts, {path: marks for path, (_, marks) in found.items()}


def _check_no_nul(rendered: Rendered, rows: Rows, origin: Origin) -> None:
    zeros = np.flatnonzero(rendered.buffer == 0)
    if len(zeros):
        record = int(np.searchsorted(rendered.bounds, zeros[0], side="right")) - 1
        raise Failure(origin.at(BAD_ENCODING, "the text holds a NUL character", int(rows.rows[record])))


def _ids(source: checked.Source, rows: Rows, base: int, origin: Origin) -> pa.StringArray:
    if source.id is None:
        return pa.array([f"{source.name}:{row}" for row in (rows.rows + base).tolist()], pa.string())
    ids = rows.texts[source.id]
    _check_present(ids, rows, origin, NO_ID, f"`{field_text(source.id)}` is null, where the id is expected")
    return ids


def _splits(split: checked.Split, ids: pa.StringArray, rows: Rows, origin: Origin) -> Splits:
    match split:
        case ConstantSplit(name):
            return Splits((name,), np.zeros(len(ids), np.int64))
        case HashSplit(shares):
            return Splits(tuple(name for name, _ in shares), hashed(ids.to_pylist(), [share for _, share in shares]))
        case FieldSplit(path):
            return _read_splits(path, rows, origin)


def hashed(ids: Iterable[str], shares: Iterable[float]) -> Ints:
    """Per id, the position of the share that it falls into: by the first 8 bytes of its BLAKE2b, as a number in [0, 1)."""
    digests = b"".join(hashlib.blake2b(id.encode(), digest_size=8).digest() for id in ids)
    points = np.frombuffer(digests, ">u8").astype(np.float64) / 2.0**64
    ends = np.cumsum(list(shares))
    return np.minimum(np.searchsorted(ends, points, side="right"), len(ends) - 1)


def _read_splits(path: FieldPath, rows: Rows, origin: Origin) -> Splits:
    column = rows.texts[path]
    name = field_text(path)
    _check_present(column, rows, origin, BAD_SPLIT, f"`{name}` is null, where the split is expected")
    coded = column.dictionary_encode()
    names, index = coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)
    for code, split in enumerate(names):
        if not _names_a_folder(split):
            row = int(rows.rows[np.flatnonzero(index == code)[0]])
            help = "a split is a folder's name: letters, digits, `-`, `_` and inner `.`"
            raise Failure(
                origin.at(BAD_SPLIT, f"`{name}` is {json.dumps(split)}, which cannot name a split", row, help)
            )
    return Splits(tuple(names), index)


def _names_a_folder(split: str) -> bool:
    return 0 < len(split) <= 100 and split[0] not in ".-" and all(char.isalnum() or char in "-_." for char in split)


def _check_present(column: pa.StringArray, rows: Rows, origin: Origin, code: Code, fact: str) -> None:
    if column.null_count:
        first = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise Failure(origin.at(code, fact, int(rows.rows[first])))


def _cuts(bounds: Ints, limits: Limits) -> Iterator[tuple[int, int]]:
    """Ranges of records that stay within the limits, or hold one record."""
    start, records = 0, len(bounds) - 1
    while start < records:
        fitting = int(np.searchsorted(bounds, bounds[start] + limits.bytes, side="right")) - 1
        stop = min(records, start + limits.records, max(fitting, start + 1))
        yield start, stop
        start = stop


def _batch(
    origin: Origin, rendered: Rendered, rows: Rows, ids: pa.StringArray, encoder: Encodes, start: int, stop: int
) -> TextBatch:
    """The records `[start, stop)`, tokenised."""
    first, last = rendered.bounds[start], rendered.bounds[stop]
    return TextBatch(
        source=origin.source.name,
        ids=ids[start:stop],
        buffer=rendered.buffer[first:last],
        bounds=rendered.bounds[start : stop + 1] - first,
        slots={path: (a[start:stop] - first, b[start:stop] - first) for path, (a, b) in rendered.slots.items()},
        fields={path: column[start:stop] for path, column in rows.fields.items()},
        tokens=encoder.encode(rendered.texts[start:stop], bare=rendered.messages is not None),
        rows=rows.rows[start:stop],
        marks={path: of_records(found, start, stop) for path, found in rendered.marks.items()},
        messages=None if rendered.messages is None else rendered.messages.of_records(start, stop),
        path=origin.path if origin.source.files else "",
        lines=origin.source.format == "jsonl",
    )
