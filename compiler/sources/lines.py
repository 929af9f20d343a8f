"""What the formats of lines share: ranges of bytes that cut no unit, and the lines of a range, block by block.

A *unit* is what one record takes: a line, or a paragraph, which is lines up to a blank one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

from ...dsl.codes.sources import BAD_ENCODING
from ...dsl.diagnostics import Failure
from .base import TASK_BYTES, Limits, Origin, Range, Survey, Task, reading
from .files import open_file

_BOM = b"\xef\xbb\xbf"
_LONGEST_BLANK = 1 << 12


class Unit(NamedTuple):
    """`end(text, at)`: where the first unit ends that ends in a line break at or after `at`, 0 where none is seen to.
    `rest(stream)`: the lines up to the end of the unit that the line before them is in."""

    end: Callable[[bytes, int], int]
    rest: Callable[[IO[bytes]], Iterator[bytes]]


def _paragraph_end(text: bytes, at: int) -> int:
    cut = text.find(b"\n", at)
    while cut >= 0 and (after := text.find(b"\n", cut + 1)) >= 0:
        if not text[cut:after].strip():
            return after + 1
        cut = after
    return 0


def _paragraph_rest(stream: IO[bytes]) -> Iterator[bytes]:
    for line in iter(stream.readline, b""):
        yield line
        if not line.strip():
            return


LINE = Unit(lambda text, at: text.find(b"\n", at) + 1, lambda stream: iter(()))
PARAGRAPH = Unit(_paragraph_end, _paragraph_rest)


def survey(blocks: Iterator[bytes], unit: Unit, size: int = TASK_BYTES) -> Survey:
    """Ranges of about `size` bytes, with the number of their first line, counted while the file goes by."""
    ranges: list[Range] = []
    start = row = lines = position = counted = 0
    blank, last, text = True, b"", b""
    for last in blocks:
        blank = blank and not (last.removeprefix(_BOM) if position == 0 else last).strip()
        base = position - len(text)
        text += last
        while cut := unit.end(text, max(start + size - 1 - base, 0)):
            lines += text.count(b"\n", counted - base, cut)
            counted = base + cut
            ranges.append(Range(start, counted, row))
            start, row = counted, lines
        lines += text.count(b"\n", counted - base)
        position = counted = base + len(text)
        text = _unfinished(text)
    if position > start:
        ranges.append(Range(start, position, row))
    if last and not last.endswith(b"\n"):
        lines += 1
    return Survey((), 0) if blank else Survey(tuple(ranges), lines)


def _unfinished(text: bytes) -> bytes:
    """The last line break and what follows it, where that may turn out to be a blank line of a sensible length."""
    tail = text[max(text.rfind(b"\n"), 0) :]
    return b"" if len(tail) > _LONGEST_BLANK or tail.strip() else tail


def blocks(task: Task, origin: Origin, limits: Limits, unit: Unit) -> Iterator[tuple[int, list[str]]]:
    """The lines of a task in runs of whole units, each with the number of its first line."""
    row = task.range.row
    with reading(origin), open_file(origin) as stream:
        stream.seek(task.range.start)
        while (left := task.range.stop - stream.tell()) > 0:
            block = stream.read(min(limits.bytes, left))
            if stream.tell() < task.range.stop:
                block += stream.readline()
            if stream.tell() < task.range.stop:
                block += b"".join(unit.rest(stream))
            if stream.tell() == len(block):
                block = block.removeprefix(_BOM)
            lines = _decode(block, row, origin).removesuffix("\n").split("\n")
            yield row, lines
            row += len(lines)


def _decode(block: bytes, row: int, origin: Origin) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        line = row + block.count(b"\n", 0, error.start)
        column = error.start - block.rfind(b"\n", 0, error.start)
        fact = f"invalid UTF-8 at byte {column} (0x{block[error.start]:02x})"
        raise Failure(origin.at(BAD_ENCODING, fact, line)) from error
