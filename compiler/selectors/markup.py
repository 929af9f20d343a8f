"""`markup(.field)`: what the values of a slot mark up, once the marks are out of the text."""

from __future__ import annotations

from ...dsl import checked
from ..batch import Spans
from ..evaluation.spans import empty
from .base import Context


def markup(node: checked.Markup, context: Context) -> Spans:
    """The marked spans with their `label`; none in a source that does not mark up the slot."""
    marks = context.batch.marks.get(node.path)
    if marks is None:
        return empty()
    origin = context.batch.slots[node.path][0][marks.record]
    return context.select(marks.record, origin + marks.start, origin + marks.end, {"label": marks.label})
