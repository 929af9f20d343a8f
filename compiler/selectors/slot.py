"""`slot(.field)`: what the template put where `{.field}` stands."""

from __future__ import annotations

import numpy as np

from ...dsl import checked
from ..batch import Spans
from ..evaluation.spans import empty
from .base import Context


def slot(node: checked.Slot, context: Context) -> Spans:
    """One span per record; none where the field is null or white space alone, or where the template lacks the slot."""
    if node.path not in context.batch.slots:
        return empty()
    start, end = context.batch.slots[node.path]
    return context.select(np.arange(len(start)), start, end)
