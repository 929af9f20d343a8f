"""`first(S, n)` and `last(S, n)`: spans from one end of each record."""

from __future__ import annotations

import numpy as np

from ...dsl import checked
from ..batch import Spans
from ..ragged import ranks
from .base import Context


def take(node: checked.Take, context: Context) -> Spans:
    """The first or last `count` spans of each record, with the index that they have in the whole set."""
    spans = context.spans(node.base)
    if node.end == "first":
        return spans.take(ranks(spans.record) < node.count)
    from_end = ranks(spans.record[::-1])[::-1]
    return spans.take(np.asarray(from_end < node.count))
