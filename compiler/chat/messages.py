"""Records with messages -> rendered texts, and the table of their messages. Whole blocks of records at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from ...dsl import checked
from ...dsl.codes.sources import (
    BAD_ENCODING,
    CHAT_DATE,
    CHAT_LIMIT,
    CHAT_REFUSED,
    MESSAGE_ENTRY,
    MESSAGES_SHAPE,
    MIXED_TYPES,
)
from ...dsl.diagnostics import Failure, Findings
from ...dsl.vocabulary import BUILT_INS, STEPS
from ..batch import Messages
from ..manifest import ChatCause
from ..ragged import Ints
from ..sources.base import Origin, Rows, Tally
from ..sources.records import CONVERSION_ERRORS, MANY, convert, has_surrogate, kind_of
from ..sources.render import Rendered as Texts
from ..tokens.text import string_bytes
from ..written import field_text
from .render import Message, Rendered, Renderer, content_text
from .traced import CHANGED
from .values import Dated, Exhausted, Refused

NUMBER = "message"
"""The attribute that says which message of its record a span is, from 0."""


class Chats:
    """Renders the records of one task. Keeps the type of every key of messages from one block to the next."""

    def __init__(self, chat: checked.Chat, origin: Origin, strict: bool) -> None:
        self._chat = chat
        self._origin = origin
        self._strict = strict
        self._renderer = Renderer(chat.template)
        self._types: dict[str, pa.DataType] = {}

    @property
    def fields(self) -> tuple[checked.FieldPath, ...]:
        """The fields of a record that are read."""
        return (self._chat.path, *((name,) for name in self._chat.template.fields), ("tools",), ("documents",))

    def texts(self, rows: Rows, tally: Tally) -> tuple[Rows, Texts]:
        """The rows that have a text, and the texts. Counts what is dropped, and what became of messages.

        Raises Failure for what is no list of messages, and for a template that does what it may not; with `strict` for a record
        that the template refuses, too.
        """
        talks: list[list[Message]] = []
        found: list[Rendered] = []
        kept = np.zeros(len(rows.rows), np.bool_)
        for place, messages in enumerate(self._lists(rows, tally)):
            rendered = messages and self._render(messages, rows, place, tally)
            if messages and rendered:
                kept[place] = True
                talks.append(messages)
                found.append(rendered)
        rows = rows if kept.all() else rows.filter(kept)
        texts = self._array([each.text for each in found], rows)
        buffer, bounds = string_bytes(texts)
        _count(talks, found, tally.chat)
        return rows, Texts(texts, buffer, bounds, {}, messages=self._table(talks, found, rows))

    def _render(self, messages: list[Message], rows: Rows, place: int, tally: Tally) -> Rendered | None:
        fields = {path[0]: rows.raw[path][place] for path in self.fields[1:]}
        given = {name: value for name, value in fields.items() if value is not None}
        row = int(rows.rows[place])
        try:
            return self._renderer.render(messages, given)
        except Refused as refused:
            if self._strict:
                raise Failure(
                    self._origin.at(CHAT_REFUSED, f"the chat template refuses it: {refused.fact}", row)
                ) from None
            tally.dropped["refused"] += 1
            return None
        except Exhausted as exhausted:
            raise Failure(self._origin.at(CHAT_LIMIT, f"the chat template has no end: {exhausted.fact}", row)) from None
        except Dated as dated:
            help = "a record may have a field of the name of the variable that the template sets to the date"
            raise Failure(
                self._origin.at(CHAT_DATE, f"the chat template cannot be used: {dated.fact}", row, help)
            ) from None

    # --- what the data has

    def _lists(self, rows: Rows, tally: Tally) -> Iterator[list[Message] | None]:
        """The messages of every row, None where there are none."""
        findings = Findings()
        lists = [
            self._list(value, int(row), findings)
            for value, row in zip(rows.raw[self._chat.path], rows.rows, strict=True)
        ]
        if findings.failed:
            raise Failure(*findings.items[:MANY])
        for messages in lists:
            if not messages:
                tally.dropped["null_text" if messages is None else "no_messages"] += 1
            yield messages

    def _list(self, value: Any, row: int, findings: Findings) -> list[Message] | None:
        name = field_text(self._chat.path)
        if value is None:
            return None
        if not isinstance(value, list):
            fact = f"`{name}` is {kind_of(value)}, where a list of messages is expected"
            findings.add(self._origin.at(MESSAGES_SHAPE, fact, row))
            return None
        for number, message in enumerate(value):
            if wrong := _wrong(message):
                findings.add(self._origin.at(MESSAGE_ENTRY, f"message {number} of `{name}` {wrong}", row))
        return value

    def _array(self, texts: list[str], rows: Rows) -> pa.StringArray:
        try:
            return pa.array(texts, pa.string())
        except UnicodeEncodeError:
            bad = next(place for place, text in enumerate(texts) if has_surrogate(text))
            fact = f"`{field_text(self._chat.path)}` holds half of a surrogate pair"
            raise Failure(self._origin.at(BAD_ENCODING, fact, int(rows.rows[bad]))) from None

    # --- the table

    def _table(self, talks: Sequence[list[Message]], found: Sequence[Rendered], rows: Rows) -> Messages:
        counts = np.fromiter(map(len, talks), np.int64, len(talks))
        first = np.cumsum(counts) - counts
        record = np.repeat(np.arange(len(talks)), counts)
        runs = [(place, run) for place, each in enumerate(found) for run in each.runs]
        pieces = [(number, piece) for number, (_, run) in enumerate(runs) for piece in run if piece.offset != CHANGED]
        messages = list(chain.from_iterable(talks))
        return Messages(
            path=self._chat.path,
            record=record,
            number=np.arange(len(record)) - first[record],
            contents=pa.array(map(content_text, messages), pa.string()),
            keys=self._keys(messages, rows.rows[record]),
            run_message=_ints(first[place] + run[0].message for place, run in runs),
            run_start=_ints(run[0].start for _, run in runs),
            run_end=_ints(run[-1].end for _, run in runs),
            piece_run=_ints(number for number, _ in pieces),
            piece_start=_ints(piece.start for _, piece in pieces),
            piece_offset=_ints(piece.offset for _, piece in pieces),
            piece_length=_ints(piece.end - piece.start for _, piece in pieces),
        )

    def _keys(self, messages: Sequence[Message], row: Ints) -> dict[str, pa.Array]:
        """The keys of messages that hold single values, as columns. Built-in attributes win over keys of their names."""
        names = sorted({name for message in messages for name in message} - {"content", NUMBER, *BUILT_INS, *STEPS})
        found: dict[str, pa.Array] = {}
        for name in names:
            values = [None if isinstance(value := message.get(name), list | dict) else value for message in messages]
            known = self._types.get(name, pa.null())
            try:
                column = convert(values, known)
            except CONVERSION_ERRORS:
                bad = next(at for at in range(len(values)) if not _goes(values[: at + 1], known))
                fact = f"key `{name}` of a message is {kind_of(values[bad])} that does not go with the messages before"
                raise Failure(self._origin.at(MIXED_TYPES, fact, int(row[bad]))) from None
            self._types[name] = column.type
            found[name] = column
        return found


def _wrong(message: Any) -> str | None:
    """What is wrong with a message."""
    if not isinstance(message, dict):
        return f"is {kind_of(message)}, where an object is expected"
    if not isinstance(message.get("role"), str):
        return "has no `role`, a string"
    found = message.get("content")
    if not isinstance(found, str | list | None):
        return f"has a `content` that is {kind_of(found)}, where a text or a list of parts is expected"
    return None


def _goes(values: list[Any], known: pa.DataType) -> bool:
    try:
        convert(values, known)
    except CONVERSION_ERRORS:
        return False
    return True


def _ints(values: Iterator[int]) -> Ints:
    return np.fromiter(values, np.int64)


# --- counts


def _count(talks: Sequence[list[Message]], found: Sequence[Rendered], counts: Counter[ChatCause]) -> None:
    """Count messages by what became of their contents."""
    for messages, rendered in zip(talks, found, strict=True):
        counts["messages"] += len(messages)
        covered: dict[int, set[tuple[int, int]]] = {}
        changed: set[int] = set()
        for piece in chain.from_iterable(rendered.runs):
            if piece.offset == CHANGED:
                changed.add(piece.message)
            else:
                covered.setdefault(piece.message, set()).add((piece.offset, piece.offset + piece.end - piece.start))
        counts["changed"] += len(changed)
        for number, message in enumerate(messages):
            text = content_text(message)
            ranges = covered.get(number, set())
            if number not in changed and ranges != {(0, len(text))} and (lost := _left_out(text, ranges)):
                counts["shortened" if ranges else "unrendered"] += lost


def _left_out(text: str, ranges: set[tuple[int, int]]) -> bool:
    """Whether a character of `text` that is no white space is in none of the ranges."""
    at = 0
    for start, end in sorted(ranges):
        if text[at:start].strip():
            return True
        at = max(at, end)
    return bool(text[at:].strip())
