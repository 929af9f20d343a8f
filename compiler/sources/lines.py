"""What the formats of lines share: ranges of bytes that cut no unit, and the lines of a range, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import IO

from ...dsl.codes.sources import BAD_ENCODING, RECORD_TOO_LONG
from ...dsl.diagnostics import Failure
from .base import RECORD_BYTES, TASK_BYTES, Limits, Origin, Range, Survey, Task, reading
from .cuts import Cutter, Unit
from .digests import changed, shortened
from .files import open_file
from .foreign import lines_expected

_BOM = b"\xef\xbb\xbf"
LONGEST: Mapping[Unit, int] = {"line": RECORD_BYTES, "paragraph": 1 << 20}
"""The longest unit in bytes. A word of CoNLL-U takes a hundred times the memory of its shortest line."""


def survey(origin: Origin, blocks: Iterator[bytes], unit: Unit, size: int | None = None) -> Survey:
    """Ranges of about `size` bytes, TASK_BYTES if not told, with the number of their first line and their digest, taken while
    the file goes by. A byte order mark belongs to none.

    Raises Failure where a unit is too long, which is never held as a whole, and where the file is none of lines.
    """
    cutter, ranges, digest = Cutter(unit, size or TASK_BYTES), list[Range](), hashlib.sha256()
    position, blocks = _after_bom(lines_expected(origin, blocks))
    start, row, lines, begun, blank, last = position, 0, 0, 0, True, b""
    for last in blocks:
        blank, done, before = blank and not last.strip(), 0, lines
        cuts = cutter.cuts(last)
        if (place := cutter.overlong(LONGEST[unit])) is not None:
            first = before + last.count(b"\n", 0, cutter.ends[place - 1]) if place else begun
            fact = f"a {unit} of more than {LONGEST[unit] >> 20} MiB"
            raise Failure(origin.at(RECORD_TOO_LONG, fact, first))
        begun = before + last.count(b"\n", 0, cutter.ends[-1]) if len(cutter.ends) else begun
        for cut in cuts:
            digest.update(last[done:cut])
            lines += last.count(b"\n", done, cut)
            ranges.append(Range(start, position + cut, row, shortened(digest)))
            start, row, done, digest = position + cut, lines, cut, hashlib.sha256()
        digest.update(last[done:])
        lines += last.count(b"\n", done)
        position += len(last)
    if position > start:
        ranges.append(Range(start, position, row, shortened(digest)))
    if last and not last.endswith(b"\n"):
        lines += 1
    return Survey((), 0) if blank else Survey(tuple(ranges), lines)


def _after_bom(blocks: Iterator[bytes]) -> tuple[int, Iterator[bytes]]:
    """The length of the byte order mark, and the blocks without it."""
    head = b""
    while len(head) < len(_BOM) and (block := next(blocks, b"")):
        head += block
    body = head.removeprefix(_BOM)
    return len(head) - len(body), chain([body] if body else [], blocks)


def blocks(task: Task, origin: Origin, limits: Limits, unit: Unit) -> Iterator[tuple[int, list[str]]]:
    """The lines of a task in runs of whole units, each with the number of its first line.

    Raises Failure after the last, where the bytes that were read are not those that were surveyed.
    """
    row, left, digest = task.range.row, task.range.stop - task.range.start, hashlib.sha256()
    with reading(origin), open_file(origin) as stream:
        stream.seek(task.range.start)
        while block := b"".join(_run(stream, min(limits.bytes, LONGEST[unit]), left, unit)):
            left -= len(block)
            digest.update(block)
            lines = _decode(block, row, origin).removesuffix("\n").split("\n")
            yield row, lines
            row += len(lines)
    if task.range.digest and shortened(digest) != task.range.digest:
        raise Failure(changed(task, origin))


def _run(stream: IO[bytes], size: int, left: int, unit: Unit) -> Iterator[bytes]:
    """About `size` bytes that end with a unit; `left` at most, which end with one."""
    block = stream.read(min(size, left))
    block += stream.readline(left - len(block))
    yield block
    left -= len(block)
    while unit == "paragraph" and left > 0 and (line := stream.readline(left)):
        yield line
        left -= len(line)
        if not line.strip():
            return


def _decode(block: bytes, row: int, origin: Origin) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        line = row + block.count(b"\n", 0, error.start)
        column = error.start - block.rfind(b"\n", 0, error.start)
        fact = f"invalid UTF-8 at byte {column} (0x{block[error.start]:02x})"
        raise Failure(origin.at(BAD_ENCODING, fact, line)) from error
