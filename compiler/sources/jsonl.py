"""JSON Lines: a task is a range of bytes that begins at the start of a line. Blank lines hold no record and have a number."""

from __future__ import annotations

from collections.abc import Iterator

from ...dsl.codes.sources import BAD_ENCODING
from ...dsl.diagnostics import Failure
from .base import TASK_BYTES, Limits, Origin, Range, Rows, Survey, Tally, Task, Want, reading
from .records import Records

_BOM = b"\xef\xbb\xbf"


def survey(origin: Origin, blocks: Iterator[bytes]) -> Survey:
    """Ranges of about TASK_BYTES, with the number of their first line, counted while the file goes by."""
    ranges: list[Range] = []
    start = row = lines = position = 0
    blank, block = True, b""
    for block in blocks:
        blank = blank and not (block.removeprefix(_BOM) if position == 0 else block).strip()
        scanned = 0
        while (cut := block.find(b"\n", max(scanned, start + TASK_BYTES - position - 1))) >= 0:
            lines += block.count(b"\n", scanned, cut + 1)
            ranges.append(Range(start, position + cut + 1, row))
            start, row, scanned = position + cut + 1, lines, cut + 1
        lines += block.count(b"\n", scanned)
        position += len(block)
    if position > start:
        ranges.append(Range(start, position, row))
    if block and not block.endswith(b"\n"):
        lines += 1
    return Survey((), 0) if blank else Survey(tuple(ranges), lines)


def read(task: Task, origin: Origin, want: Want, limits: Limits, tally: Tally) -> Iterator[Rows]:
    """The records of the task's lines."""
    records = Records(origin, want, tally)
    row = task.range.row
    with reading(origin), origin.file.open("rb") as stream:
        stream.seek(task.range.start)
        while (left := task.range.stop - stream.tell()) > 0:
            block = stream.read(min(limits.bytes, left))
            if len(block) < left:
                block += stream.readline()
            if stream.tell() == len(block):
                block = block.removeprefix(_BOM)
            lines = _decode(block, row, origin).removesuffix("\n").split("\n")
            yield records.rows(lines, range(row, row + len(lines)))
            row += len(lines)


def _decode(block: bytes, row: int, origin: Origin) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        line = row + block.count(b"\n", 0, error.start)
        column = error.start - block.rfind(b"\n", 0, error.start)
        fact = f"invalid UTF-8 at byte {column} (0x{block[error.start]:02x})"
        raise Failure(origin.at(BAD_ENCODING, fact, line)) from error
