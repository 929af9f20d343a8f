"""Conditions: over the spans of one set, or over pairs of a query span and a key span.

One recursion serves both. A *leaf* answers for what it knows how to read (an attribute of a span, a constant), the table
below combines the answers. Over pairs, whatever asks one side alone is computed once on that side's set and then read for
each pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl import checked as c
from ...dsl.codes.sources import TEXTS_TOO_LONG
from ...dsl.diagnostics import Failure
from ..batch import Bools, Ints, Spans, TextBatch
from ..tokens.text import CodePoints, slices
from ..written import written
from .links import Links
from .spans import NONE, Tokens
from .values import (
    Flags,
    Nulls,
    Numbers,
    Places,
    Texts,
    Value,
    arithmetic,
    before,
    column_value,
    compare,
    constant,
    length,
    member,
    truth,
)

Leaf = Callable[[c.Scalar], Value | None]
TOKEN_STEPS = ("next", "previous")
MAX_TEXT = 1 << 30
"""Bytes that the texts of a set's spans may have together in a batch: only long spans that overlap come near it."""


def roles(node: c.Scalar) -> frozenset[str]:
    """Which spans a condition asks: a part of `self`, `query`, `key`."""
    if isinstance(node, c.SpanRef):
        return frozenset([node.role])
    if isinstance(node, c.Attr):
        return frozenset([node.span.role])
    if isinstance(node, c.Linked):
        return frozenset(["query", "key"])
    return frozenset[str]().union(*map(roles, _operands(node)))


def _operands(node: c.Scalar) -> tuple[c.Scalar, ...]:
    match node:
        case c.Compare() | c.Before() | c.Arithmetic():
            return (node.left, node.right)
        case c.And() | c.Or():
            return node.operands
        case c.Length() | c.Not():
            return (node.operand,)
        case c.Member():
            return (node.item,)
    return ()


def evaluate(node: c.Scalar, leaf: Leaf) -> Value:
    """The value of `node`. Raises Failure (MCD556) where types do not go together."""
    known = leaf(node)
    if known is not None:
        return known
    if isinstance(node, c.Literal_):
        if isinstance(node.value, tuple):
            raise TypeError("a list is no value of its own")
        return constant(node.value)
    return _COMBINE[type(node)](node, *(evaluate(operand, leaf) for operand in _operands(node)))


def _flags(data: Bools) -> Flags:
    return Flags(data, np.ones_like(data))


def _all(node: c.And, *operands: Value) -> Value:
    return _flags(np.logical_and.reduce(np.broadcast_arrays(*map(truth, operands))))


def _any(node: c.Or, *operands: Value) -> Value:
    return _flags(np.logical_or.reduce(np.broadcast_arrays(*map(truth, operands))))


_COMBINE: dict[type, Callable[..., Value]] = {
    c.Compare: lambda node, left, right: _flags(compare(node.op, left, right)),
    c.Before: lambda node, left, right: _flags(before(left, right)),
    c.Member: lambda node, item: _flags(member(item, node.values)),
    c.Length: lambda node, operand: length(operand),
    c.Arithmetic: lambda node, left, right: arithmetic(node.op, left, right),
    c.Not: lambda node, operand: _flags(~truth(operand)),
    c.And: _all,
    c.Or: _any,
}


@contextmanager
def explained(node: c.Filter | c.Join, source: str) -> Iterator[None]:
    """Says which condition, and where, over which source, a Failure within is about."""
    try:
        yield
    except Failure as failure:
        where = "a join" if node.condition is None else f"`{written(node.condition)}`"
        told = [
            replace(
                found, message=f"in {where}, over source `{source}`: {found.message}", place=found.place or node.place
            )
            for found in failure.diagnostics
        ]
        raise Failure(*told) from failure


@dataclass(frozen=True, eq=False)
class Text:
    """What conditions read of a batch."""

    batch: TextBatch
    tokens: Tokens
    points: CodePoints


@dataclass(frozen=True, eq=False)
class _Referred:
    """The spans that a reference gives, one per span of the set. `token` is as in Spans; `attributes` if they keep them."""

    places: Places
    token: Ints
    attributes: bool


@dataclass(eq=False)
class Scope:
    """The spans of one set, and what conditions have asked of them, whatever role they play there."""

    text: Text
    spans: Spans
    _referred: dict[tuple[str, ...], _Referred] = field(default_factory=dict)
    _read: dict[tuple[tuple[str, ...], str], Value] = field(default_factory=dict)

    def condition(self, node: c.Scalar) -> Bools:
        """Per span, whether it meets `node`. Raises Failure (MCD556)."""
        return np.broadcast_to(truth(self.value(node)), len(self.spans))

    def value(self, node: c.Scalar) -> Value:
        """The value of `node` per span, or one for all where it asks no span. Raises Failure (MCD556)."""
        return evaluate(node, self._leaf)

    def places(self, reference: c.SpanRef) -> Places:
        """The spans that `reference` gives."""
        return self._refer(reference.steps).places

    def _leaf(self, node: c.Scalar) -> Value | None:
        match node:
            case c.SpanRef():
                return self.places(node)
            case c.Attr():
                return self._attribute(node.span.steps, node.name)
            case c.Length(operand=c.Attr(name="text") as text):
                places = self.places(text.span)
                return Numbers(self.text.points.char_of_byte(places.start, places.end), places.valid)
        return None

    def _refer(self, steps: tuple[str, ...]) -> _Referred:
        if steps not in self._referred:
            self._referred[steps] = self._step(self._refer(steps[:-1]), steps[-1]) if steps else self._itself()
        return self._referred[steps]

    def _itself(self) -> _Referred:
        spans = self.spans
        own = self.text.tokens.identity(spans.token)
        return _Referred(Places(spans.start, spans.end, own, np.ones(len(spans), np.bool_)), spans.token, True)

    def _step(self, origin: _Referred, side: str) -> _Referred:
        tokens, places = self.text.tokens, origin.places
        edge = "last" if side in ("last", "next") else "first"
        token = tokens.edge(places.start, places.end, origin.token, edge)
        if side in TOKEN_STEPS:
            token = tokens.step(token, side)
        valid = places.valid & (token != NONE)
        begin = self.text.batch.bounds[self.spans.record]
        start, end = begin.copy(), begin.copy()
        start[valid], end[valid] = tokens.table.start[token[valid]], tokens.table.end[token[valid]]
        token = np.where(valid, token, NONE)
        kept = origin.attributes and side not in TOKEN_STEPS
        return _Referred(Places(start, end, tokens.identity(token), valid), token, kept)

    def _attribute(self, steps: tuple[str, ...], name: str) -> Value:
        key = (steps, name)
        if key not in self._read:
            builtin = self._builtin(steps, name)
            self._read[key] = self._data(steps, name) if builtin is None else builtin
        return self._read[key]

    def _builtin(self, steps: tuple[str, ...], name: str) -> Value | None:
        referred = self._refer(steps)
        places = referred.places
        match name:
            case "text":
                return self._texts(referred)
            case "start" | "end":
                position = places.start if name == "start" else places.end
                origin = self.text.batch.bounds[self.spans.record]
                return Numbers(self.text.points.char_of_byte(origin, position), places.valid)
            case "index" if not steps:
                return Numbers(self.spans.index, places.valid)
            case "index":
                index = np.zeros(len(places.valid), np.int64)
                index[places.valid] = self.text.tokens.rank[referred.token[places.valid]]
                return Numbers(index, places.valid)
        return None

    def _texts(self, referred: _Referred) -> Texts:
        places, tokens = referred.places, self.text.tokens
        total = int((places.end - places.start).sum())
        if total > MAX_TEXT:
            message = f"the texts of a set's spans have {total} bytes together, and at most {MAX_TEXT} can be compared"
            raise Failure(TEXTS_TOO_LONG.at(None, message))
        data = slices(self.text.batch.buffer, places.start, places.end)
        if not places.valid.all():
            data = _masked(data, places.valid)
        twin = places.own != NONE
        vocabulary = np.full(len(twin), NONE)
        vocabulary[twin] = tokens.table.ids[places.own[twin]]
        return Texts(data, vocabulary)

    def _data(self, steps: tuple[str, ...], name: str) -> Value:
        referred = self._refer(steps)
        column = self.spans.attributes.get(name) if referred.attributes else None
        if column is None:
            return Nulls(np.zeros(len(self.spans), np.bool_))
        valid = referred.places.valid
        return column_value(column if valid.all() else _masked(column, valid))


def _masked(column: pa.Array, valid: Bools) -> pa.Array:
    return pc.if_else(pa.array(valid), column, pa.scalar(None, column.type))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of spans: rows of the query set and of the key set. `links`: what each `linked` lists."""

    query: Scope
    key: Scope
    query_rows: Ints
    key_rows: Ints
    links: Mapping[c.Linked, Links] = field(default_factory=dict)

    def condition(self, node: c.Scalar) -> Bools:
        """Per pair, whether it meets `node`. Raises Failure (MCD556)."""
        return np.broadcast_to(truth(evaluate(node, self._leaf)), len(self.query_rows))

    def _leaf(self, node: c.Scalar) -> Value | None:
        if isinstance(node, c.Linked):
            return _flags(self.links[node].among(self.query_rows, self.key_rows)[0])
        asked = roles(node)
        if asked == {"query"}:
            return self.query.value(node).take(self.query_rows)
        if asked == {"key"}:
            return self.key.value(node).take(self.key_rows)
        return None
