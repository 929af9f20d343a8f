"""The two types that the steps of the executor hand to each other: a batch of rendered texts, and a set of spans in it.

All positions are byte offsets into one buffer that holds the UTF-8 of every text of the batch, one after another. Records
occupy disjoint ranges of it, so that comparing two positions never needs to ask which record they belong to. Code points
appear where a user put them (`offsets(...)`) or asked for them (`start`, `end`), and are converted there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..dsl.source import DataPlace

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TokenTable:
    """The tokens of a batch, all records one after another, before any cut by the context.

    `ids[n]`; `start[n]`, `end[n]`: byte range with outer white space trimmed, empty (start == end) for a token of white space
    alone and for tokens that the tokenizer added; `record[n]`; `offsets[records + 1]`: where each record's tokens begin.
    `start` and `end` are both non-decreasing. Added tokens (BOS, EOS) are in the table, and `added[n]` marks them.
    """

    ids: Ints
    start: Ints
    end: Ints
    record: Ints
    offsets: Ints
    added: Bools


@dataclass(frozen=True, eq=False)
class Marks:
    """What is marked up in the values of a slot, without the marks: `record[n]`, non-decreasing; `start[n]`, `end[n]`, bytes from
    the start of the value; `label`, n strings."""

    record: Ints
    start: Ints
    end: Ints
    label: pa.StringArray


@dataclass(frozen=True, eq=False)
class Messages:
    """The messages of records that a chat template renders, and where it put their contents.

    Per message: `record[M]`, non-decreasing; `number[M]`, from 0 in its record; `contents`, M strings; `keys`, M entries each,
    null where a message lacks one. A *run* is a content, or what is left of it, in one place of the text: `run_message[R]`, the
    message, by its place among the M, with records non-decreasing; `[run_start, run_end)`. A *piece* is a part of a run whose
    characters are those of the content, one by one: `piece_run[P]`, non-decreasing; `piece_start`, `piece_offset` in the content,
    increasing within a run, and `piece_length`. Places are code points from the start of the text, or of the content.
    """

    path: tuple[str, ...]
    record: Ints
    number: Ints
    contents: pa.StringArray
    keys: Mapping[str, pa.Array]
    run_message: Ints
    run_start: Ints
    run_end: Ints
    piece_run: Ints
    piece_start: Ints
    piece_offset: Ints
    piece_length: Ints

    def of_records(self, start: int, stop: int) -> Messages:
        """Those of the records `[start, stop)`, counted from there."""
        first, last = np.searchsorted(self.record, (start, stop)).tolist()
        low, high = np.searchsorted(self.record[self.run_message], (start, stop)).tolist()
        begin, end = np.searchsorted(self.piece_run, (low, high)).tolist()
        return Messages(
            self.path,
            self.record[first:last] - start,
            self.number[first:last],
            self.contents[first:last],
            {name: column[first:last] for name, column in self.keys.items()},
            self.run_message[low:high] - first,
            self.run_start[low:high],
            self.run_end[low:high],
            self.piece_run[begin:end] - low,
            self.piece_start[begin:end],
            self.piece_offset[begin:end],
            self.piece_length[begin:end],
        )


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Records of one source, rendered and tokenised.

    `buffer`: uint8, the UTF-8 of all texts; `bounds[records + 1]`: byte offset of each text; `slots`: for every slot of the
    template, the byte range `(start[records], end[records])` of what stands there; `fields`: the record's fields that the
    recipe names, one Arrow array of `records` entries each, absent where this source does not have the field.
    """

    source: str
    ids: pa.StringArray
    buffer: npt.NDArray[np.uint8]
    bounds: Ints
    slots: Mapping[tuple[str, ...], tuple[Ints, Ints]]
    fields: Mapping[tuple[str, ...], pa.Array]
    tokens: TokenTable
    rows: Ints
    """Row number of each record in its source file, from 0, for diagnostics."""
    marks: Mapping[tuple[str, ...], Marks] = field(default_factory=dict)
    """What is marked up in the slots that the source has marked."""
    messages: Messages | None = None
    """What a chat template rendered, in a source of messages."""
    path: str = ""
    """The file, as a person is shown it; empty for records that stand in the spec."""
    lines: bool = False
    """Whether a row of the file is a line of it."""

    @property
    def records(self) -> int:
        return len(self.bounds) - 1

    def place(self, record: int) -> DataPlace:
        """Where a record stands: its file, and its line where the file has one per record; else its source and number."""
        row = int(self.rows[record]) + 1
        if not self.path:
            return DataPlace(self.source, row)
        return DataPlace(self.path, row if self.lines else None)

    def text(self, record: int) -> str:
        """The text of one record."""
        return bytes(self.buffer[self.bounds[record] : self.bounds[record + 1]]).decode()


@dataclass(frozen=True, eq=False)
class Spans:
    """A set of spans in a batch, sorted by (start, end), no two with equal extents within a record (tokens of white space
    alone excepted).

    `record[n]`; `start[n]`, `end[n]`: bytes in the batch's buffer, outer white space trimmed; `index[n]`: rank from 0 in the
    nearest named set, per record; `token[n]`: for spans that *are* a token, its row in the TokenTable, else -1; `attributes`:
    Arrow arrays of n entries, null where a span lacks one.
    """

    record: Ints
    start: Ints
    end: Ints
    index: Ints
    token: Ints
    attributes: Mapping[str, pa.Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.record)

    def take(self, rows: Ints | Bools) -> Spans:
        """The spans at `rows` (positions or a mask), in that order."""
        if rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        chosen = {name: column.take(pa.array(rows)) for name, column in self.attributes.items()}
        return Spans(self.record[rows], self.start[rows], self.end[rows], self.index[rows], self.token[rows], chosen)


@dataclass(frozen=True, eq=False)
class Edges:
    """Pairs of spans: positions into the join's query and key sets, sorted by (query, key).

    `surplus[records]` counts the edges per record that were dropped beyond `max_edges`; `weight[n]`, float32 above 0, of joins
    with `linked`.
    """

    query: Ints
    key: Ints
    surplus: Ints
    weight: npt.NDArray[np.float32] | None = None
