"""The conditions of filters and joins, and the joins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..source import Place
from .common import FieldPath, where_written
from .sets import SpanSet

Role: TypeAlias = Literal["self", "query", "key"]


@dataclass(frozen=True, slots=True)
class Literal_:
    """A constant: a string, a number or a list of them (for `in`)."""

    value: str | int | float | tuple[str | int | float, ...]


@dataclass(frozen=True, slots=True)
class SpanRef:
    """The span itself, or a neighbour of it: `query`, `key.previous`. `steps` holds `next`, `previous`, `first`, `last`."""

    role: Role
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attr:
    """`span.name`: a built-in (`text`, `start`, `end`, `index`) or a key of the data; null where the span lacks it."""

    span: SpanRef
    name: str


@dataclass(frozen=True, slots=True)
class Length:
    """`length(text)`: in code points."""

    operand: Scalar


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`, op one of `== != < > <= >=`; of two spans, `==` and `!=` compare identity. Null compares false."""

    op: str
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class Before:
    """`left before right`: `left.end <= right.start`. `a after b` is `b before a`."""

    left: SpanRef
    right: SpanRef


@dataclass(frozen=True, slots=True)
class Member:
    """`item in [values]`."""

    item: Scalar
    values: tuple[str | int | float, ...]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left op right`, op one of `+ - * /`."""

    op: str
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class Linked:
    """`linked(.path, query.index, key.index)`: the record lists the pair, as `[query, key]` or `[query, key, weight]`.

    `first` is the span whose index stands first in an entry.
    """

    path: FieldPath
    first: Literal["query", "key"]


@dataclass(frozen=True, slots=True)
class Not:
    """`not operand`."""

    operand: Scalar


@dataclass(frozen=True, slots=True)
class And:
    """All of `operands`."""

    operands: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of `operands`."""

    operands: tuple[Scalar, ...]


Scalar: TypeAlias = (
    Literal_ | SpanRef | Attr | Length | Compare | Before | Member | Arithmetic | Linked | Not | And | Or
)

Pick: TypeAlias = Literal["all", "nearest", "first", "last"]


@dataclass(frozen=True, slots=True)
class Join:
    """The edges of an attention rule: pairs of a query span and a key span of one record that meet `condition`.

    Without a condition every pair is joined; `place` is the condition's. `pick` keeps, per query span, all keys, the nearest, the
    first or the last.
    """

    query: SpanSet
    key: SpanSet
    condition: Scalar | None
    pick: Pick
    max_edges: int
    place: Place | None = where_written()
