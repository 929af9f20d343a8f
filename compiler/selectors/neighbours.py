"""Tokens that stand in a relation to spans: `.first` and `.last` of them, `.next` and `.previous` to them, `predicting`.

The neighbours of a span are the tokens that a model reads right before its first and right after its last token, white
space alone included and added tokens left out: what counts for attention is the position.
"""

from __future__ import annotations

import numpy as np

from ...dsl import checked
from ..batch import Ints, Spans
from ..evaluation.spans import NONE, Tokens, distinct, ranked
from ..ragged import ranges
from .base import Context


def edge(node: checked.Edge, context: Context) -> Spans:
    """The first or the last token of each span, with the span's attributes. A span without a token gives none."""
    spans, tokens = context.spans(node.base), context.tokens
    rows = tokens.edge(spans.start, spans.end, spans.token, node.end)
    there = rows != NONE
    table, kept = tokens.table, spans.take(there)
    rows = rows[there]
    moved = Spans(table.record[rows], table.start[rows], table.end[rows], kept.index, rows, kept.attributes)
    return ranked(distinct(moved, tokens))


def neighbour(node: checked.Neighbour, context: Context) -> Spans:
    """The token after the last, or before the first, token of each span; a span without one gives none."""
    spans, tokens = context.spans(node.base), context.tokens
    rows = tokens.edge(spans.start, spans.end, spans.token, "last" if node.side == "next" else "first")
    return _token_set(tokens.step(rows, node.side), tokens)


def predicting(node: checked.Predicting, context: Context) -> Spans:
    """The tokens whose next token lies in a span of the base."""
    tokens = context.tokens
    return _token_set(tokens.step(_members(context.spans(node.base), tokens), "previous"), tokens)


def _members(spans: Spans, tokens: Tokens) -> Ints:
    """Rows of the tokens that belong to any of `spans`."""
    is_token = spans.token != NONE
    rest = spans.take(~is_token)
    first, stop = tokens.inside(rest.start, rest.end)
    return np.union1d(spans.token[is_token], tokens.inked[ranges(first, stop - first)])


def _token_set(rows: Ints, tokens: Tokens) -> Spans:
    rows = np.unique(rows)
    return tokens.spans(rows[rows != NONE])
