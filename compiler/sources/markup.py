r"""Inline markup: `the [[cat|animal]] sat` -> `the cat sat`, and where `animal` stands in it.

`[[` opens a span, `]]` closes it, and what stands after the last `|` before that is its label. Spans nest; a label holds no
span. A backslash right before one of the three marks takes its meaning; of several backslashes there, two stand for one. All
else stands for itself, a `|` outside every span too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl.checked import FieldPath
from ...dsl.codes.sources import BAD_MARKUP
from ...dsl.diagnostics import Failure, Findings
from ..batch import Marks
from ..written import field_text
from .base import Origin, Rows
from .records import MANY

_OPEN, _CLOSE, _BAR, _ESCAPE = b"[[", b"]]", b"|", b"\\"
_SIGNS = ("[[", "]]", "\\|")
"""What a text holds whose marks mean anything."""

Found = tuple[int, int, str]
"""Start and end of a span in bytes, and its label."""


class _Malformed(Exception):
    """A text's marks do not go together."""


def unmark(path: FieldPath, rows: Rows, origin: Origin) -> tuple[pa.StringArray, Marks]:
    """The values of the slot `path` without their marks, and what these mark. Raises `Failure` (MCD560), with the rows."""
    texts = rows.texts[path]
    signs = [pc.match_substring(texts, sign).to_numpy(zero_copy_only=False) for sign in _SIGNS]
    signed = np.flatnonzero(np.logical_or.reduce(signs)).tolist()
    findings, plain, found = Findings(), texts.to_pylist() if signed else [], list[tuple[int, Found]]()
    for record in signed:
        try:
            plain[record], spans = parse(plain[record])
        except _Malformed as error:
            help = r"a backslash before `[[`, `]]` or `|` makes it a text"
            fact = f"`{field_text(path)}` is marked up wrongly: {error}"
            findings.add(origin.at(BAD_MARKUP, fact, int(rows.rows[record]), help))
            if len(findings.items) >= MANY:
                break
        else:
            found += [(record, span) for span in spans]
    if findings.failed:
        raise Failure(*findings.items)
    places = np.array([(record, start, end) for record, (start, end, _) in found], np.int64).reshape(-1, 3)
    labels = pa.array([label for _, (_, _, label) in found], pa.string())
    return pa.array(plain, pa.string()) if signed else texts, Marks(places[:, 0], places[:, 1], places[:, 2], labels)


def of_records(marks: Marks, start: int, stop: int) -> Marks:
    """The marks of the records `[start, stop)`, which count from 0 then."""
    first, last = np.searchsorted(marks.record, [start, stop])
    return Marks(
        marks.record[first:last] - start,
        marks.start[first:last],
        marks.end[first:last],
        marks.label[first:last],
    )


@dataclass(slots=True)
class _Open:
    """A span that is not closed yet: where it was opened in what was read, where it starts in the plain text, and where the
    last `|` that may begin its label stands there."""

    place: int
    start: int
    bar: int | None = None


def parse(text: str) -> tuple[str, list[Found]]:
    """The plain text, and its spans, inner ones first. Raises _Malformed."""
    source, plain = text.encode(), bytearray()
    spans: list[Found] = []
    stack: list[_Open] = []
    done = 0
    for place, mark in _marks(source):
        backslashes = _backslashes(source, done, place)
        plain += source[done : place - backslashes] + _ESCAPE * (backslashes // 2)
        done = place + len(mark)
        if backslashes % 2 or (mark == _BAR and not stack):
            plain += mark
        elif mark == _OPEN:
            if stack:
                stack[-1].bar = None
            stack.append(_Open(place, len(plain)))
        elif mark == _BAR:
            stack[-1].bar = len(plain)
            plain += mark
        elif not stack:
            raise _Malformed(f"`{_shown(source, place, before=True)}` closes nothing")
        else:
            spans.append(_closed(stack.pop(), plain, source))
    if stack:
        raise _Malformed(f"`{_shown(source, stack[-1].place)}` is never closed")
    plain += source[done:]
    return plain.decode(), spans


def _closed(opened: _Open, plain: bytearray, source: bytes) -> Found:
    """The span that ends at the end of `plain`, whose label is taken off it."""
    shown = _shown(source, opened.place)
    if opened.bar is None:
        raise _Malformed(f"`{shown}` has no label, which stands behind a `|`")
    label = plain[opened.bar + 1 :].decode().strip()
    del plain[opened.bar :]
    if not label:
        raise _Malformed(f"`{shown}` has an empty label")
    if opened.bar == opened.start:
        raise _Malformed(f"`{shown}` marks no text")
    return opened.start, opened.bar, label


def _marks(source: bytes) -> Iterator[tuple[int, bytes]]:
    """The marks from left to right, escaped ones too. Each kind is searched for once, however many of the others there are."""
    following = {mark: source.find(mark) for mark in (_OPEN, _CLOSE, _BAR)}
    while present := [(place, mark) for mark, place in following.items() if place >= 0]:
        place, mark = min(present)
        yield place, mark
        end = place + len(mark)
        following.update((m, source.find(m, end)) for m, at in following.items() if 0 <= at < end)


def _backslashes(source: bytes, floor: int, place: int) -> int:
    """How many backslashes stand right before `place`, from `floor` on."""
    return place - floor - len(source[floor:place].rstrip(_ESCAPE))


def _shown(source: bytes, place: int, before: bool = False, limit: int = 24) -> str:
    """Some of the text from `place` on; of the text before and with the two bytes there, where it is a closing mark."""
    piece = source[max(place + 2 - limit, 0) : place + 2] if before else source[place : place + limit]
    return " ".join(piece.decode(errors="ignore").split())
