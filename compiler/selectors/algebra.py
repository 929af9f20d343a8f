"""`|`, `&`, `-`, `in`, `where`, `of SOURCE` and names: sets made of sets."""

from __future__ import annotations

from dataclasses import replace

from ...dsl import checked
from ...dsl.diagnostics import Failure
from ..batch import Spans
from ..evaluation.scalars import explained
from ..evaluation.spans import concatenate, distinct, empty, ranked, shares, within
from .base import Context


def union(node: checked.Union, context: Context) -> Spans:
    """All spans of either side. Each keeps its index, and its attributes where the other side has none; the left wins."""
    parts = [context.spans(operand) for operand in _operands(node)]
    return distinct(concatenate(parts, context.batch.source), context.tokens)


def _operands(node: checked.Union) -> list[checked.SpanSet]:
    """A run of `|`, flat: three hundred sets are one step, not three hundred."""
    operands: list[checked.SpanSet] = []
    rest: list[checked.SpanSet] = [node]
    while rest:
        last = rest.pop()
        if isinstance(last, checked.Union):
            rest += [last.right, last.left]
        else:
            operands.append(last)
    return operands


def intersection(node: checked.Intersection, context: Context) -> Spans:
    """Spans of the left that share a character, no white space, with a span of the right."""
    left = context.spans(node.left)
    return left.take(shares(left, context.spans(node.right)))


def difference(node: checked.Difference, context: Context) -> Spans:
    """Spans of the left that share none."""
    left = context.spans(node.left)
    return left.take(~shares(left, context.spans(node.right)))


def inside(node: checked.Within, context: Context) -> Spans:
    """Spans of `inner` that lie within a span of `outer`."""
    inner = context.spans(node.inner)
    return inner.take(within(inner, context.spans(node.outer)))


def where(node: checked.Filter, context: Context) -> Spans:
    """Spans that meet a condition, with the index that they have in the whole set."""
    spans = context.spans(node.base)
    with explained(node, context.batch.source):
        return spans.take(context.scope(node.base).condition(node.condition))


def of_source(node: checked.OfSource, context: Context) -> Spans:
    """The base in records of one source; no spans in those of another."""
    return context.spans(node.base) if node.source == context.batch.source else empty()


def named(node: checked.Named, context: Context) -> Spans:
    """The base, ranked anew. What only its data could show to be wrong is reported at the declaration."""
    try:
        return ranked(context.spans(node.base))
    except Failure as failure:
        places = [replace(found, place=found.place or node.place) for found in failure.diagnostics]
        raise Failure(*places) from failure
