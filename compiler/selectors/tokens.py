"""`tokens`, each token that the tokenizer did not add; `record`, the whole text."""

from __future__ import annotations

import numpy as np

from ...dsl import checked
from ..batch import Spans
from .base import Context


def tokens(node: checked.Tokens, context: Context) -> Spans:
    """Each token as a span, those of white space alone among them."""
    return context.tokens.spans(context.tokens.rows)


def record(node: checked.Record, context: Context) -> Spans:
    """The text of each record as one span; a text of white space alone gives none."""
    bounds = context.batch.bounds
    return context.select(np.arange(len(bounds) - 1), bounds[:-1], bounds[1:])
