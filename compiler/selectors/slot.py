"""`slot(.field)`: what the template put where `{.field}` stands, or where each message of the field stands."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...dsl import checked
from ..batch import Messages, Spans
from ..chat.messages import NUMBER
from ..evaluation.attributes import plain
from ..evaluation.spans import empty
from .base import Context


def slot(node: checked.Slot, context: Context) -> Spans:
    """One span per record; none where the field is null or white space alone, or where the template lacks the slot. Of messages,
    one per content, and one more for each further place where it stands."""
    messages = context.batch.messages
    if messages is not None and messages.path == node.path:
        return _contents(messages, context)
    if node.path not in context.batch.slots:
        return empty()
    start, end = context.batch.slots[node.path]
    return context.select(np.arange(len(start)), start, end)


def _contents(messages: Messages, context: Context) -> Spans:
    """The contents with the keys of their messages, and with their numbers."""
    of = messages.run_message
    record = messages.record[of]
    origin, points = context.batch.bounds[record], context.points
    start, end = points.byte_of_char(origin, messages.run_start), points.byte_of_char(origin, messages.run_end)
    keys = {name: plain(column.take(pa.array(of))) for name, column in messages.keys.items()}
    return context.select(record, start, end, {**keys, NUMBER: pa.array(messages.number[of])})
