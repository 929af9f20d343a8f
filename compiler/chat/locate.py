"""Where things are that are counted in contents of messages: entries of `offsets`, and special tokens that contents hold."""

from __future__ import annotations

import numpy as np

from ..batch import Bools, Ints, Messages, TokenTable
from ..ragged import owners, ranges
from ..tokens.text import CodePoints, Trimmer, string_bytes


class Contents:
    """The contents of a batch's messages as one buffer. Lengths and places are code points."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        buffer, self._bounds = string_bytes(messages.contents)
        self._points, self._trimmer = CodePoints(buffer), Trimmer(buffer)

    def length(self, message: Ints) -> Ints:
        """The length of each message's content."""
        return self._points.char_of_byte(self._bounds[message], self._bounds[message + 1])

    def place(self, message: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints, Ints]:
        """Where ranges of contents stand in the text, once per run that holds their first and their last character that is no
        white space: the place of the range, and its `[start, end)` in the text. The ranges lie in their contents."""
        start, end = self._inked(message, start, end)
        held = self._messages
        order = np.argsort(held.run_message, kind="stable")
        first = np.searchsorted(held.run_message[order], message, side="left")
        count = np.searchsorted(held.run_message[order], message, side="right") - first
        of, run = owners(count), order[ranges(first, count)]
        begin, begin_there = self._find(run, start[of])
        last, last_there = self._find(run, end[of] - 1)
        whole = begin_there & last_there & (end > start)[of]
        return of[whole], begin[whole], last[whole] + 1

    def _inked(self, message: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Ranges without outer white space."""
        origin, points = self._bounds[message], self._points
        first, last = self._trimmer.trim(points.byte_of_char(origin, start), points.byte_of_char(origin, end))
        return points.char_of_byte(origin, first), points.char_of_byte(origin, last)

    def _find(self, run: Ints, offset: Ints) -> tuple[Ints, Bools]:
        """Where the character `offset` of a content stands in the text, and whether it is in that run at all."""
        held = self._messages
        if not len(held.piece_run):
            return np.zeros_like(run), np.zeros(len(run), np.bool_)
        wide = int(max((held.piece_offset + held.piece_length).max(), offset.max(initial=0))) + 1
        keys = held.piece_run * wide + held.piece_offset
        piece = np.maximum(np.searchsorted(keys, run * wide + offset, side="right") - 1, 0)
        inside = offset - held.piece_offset[piece]
        there = (held.piece_run[piece] == run) & (inside >= 0) & (inside < held.piece_length[piece])
        return held.piece_start[piece] + inside, there


def special_messages(messages: Messages, tokens: TokenTable, special: Bools, points: CodePoints, bounds: Ints) -> int:
    """How many messages have in their content a token that is `special`, by its id. `bounds`: bytes of the records' texts."""
    rows = np.flatnonzero(special[tokens.ids] & ~tokens.added)
    if not len(rows) or not len(messages.run_message):
        return 0
    message, start, end = _of_contents(messages)
    origin = bounds[messages.record[message]]
    start, end = points.byte_of_char(origin, start), points.byte_of_char(origin, end)
    place = np.searchsorted(end, tokens.start[rows], side="right")
    there = place < len(end)
    place, rows = place[there], rows[there]
    return len(np.unique(message[place[tokens.end[rows] > start[place]]]))


def _of_contents(messages: Messages) -> tuple[Ints, Ints, Ints]:
    """Message, start and end of what came from contents, in order: pieces, and runs that are none, since they were changed."""
    alone = np.ones(len(messages.run_message), np.bool_)
    alone[messages.piece_run] = False
    run = np.concatenate([messages.piece_run, np.flatnonzero(alone)])
    start = np.concatenate([messages.piece_start, messages.run_start[alone]])
    end = np.concatenate([messages.piece_start + messages.piece_length, messages.run_end[alone]])
    order = np.lexsort((start, run))
    return messages.run_message[run[order]], start[order], end[order]
