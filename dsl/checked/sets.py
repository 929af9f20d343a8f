"""Span sets: the selectors, and the algebra over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..source import Place
from .common import FieldPath, no_meaning, where_written

if TYPE_CHECKING:
    from .conditions import Scalar


@dataclass(frozen=True, slots=True)
class Tokens:
    """Each token as a span."""


@dataclass(frozen=True, slots=True)
class Record:
    """The whole text as one span."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """Literal phrases, leftmost-longest, without overlap. `words`: a match may not begin or end inside a word."""

    phrases: tuple[str, ...]
    ignore_case: bool = False
    words: bool = True


@dataclass(frozen=True, slots=True)
class Regex:
    """A pattern of the linear-time engine, leftmost-longest, without overlap."""

    pattern: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Offsets:
    """Spans listed by a field as `{start, end, ...}` in code points of the field `of` (None: of the rendered text).

    `rename` maps keys of the entries to attribute names.
    """

    path: FieldPath
    of: FieldPath | None
    rename: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """What the template put where `{.path}` stands."""

    path: FieldPath


@dataclass(frozen=True, slots=True)
class Markup:
    """What stands between `[[` and `|label]]` in the field `path`, which the text holds without them. Attribute `label`."""

    path: FieldPath


@dataclass(frozen=True, slots=True)
class Special:
    """The tokens of these names, in the text or added by the tokenizer, each as a span. Attribute `label`: the name."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """`left | right`: equal extents are one span, whose attributes are joined; the left's win."""

    left: SpanSet
    right: SpanSet


@dataclass(frozen=True, slots=True)
class Intersection:
    """`left & right`: spans of `left` that share a non-space character with a span of `right`."""

    left: SpanSet
    right: SpanSet


@dataclass(frozen=True, slots=True)
class Difference:
    """`left - right`: spans of `left` that share no non-space character with any span of `right`."""

    left: SpanSet
    right: SpanSet


@dataclass(frozen=True, slots=True)
class Within:
    """`inner in outer`: spans of `inner` that lie inside a span of `outer`."""

    inner: SpanSet
    outer: SpanSet


@dataclass(frozen=True, slots=True)
class Filter:
    """`base where condition`, with `condition` over the attributes of `self`; `place` is the condition's."""

    base: SpanSet
    condition: Scalar
    place: Place | None = where_written()


@dataclass(frozen=True, slots=True)
class Take:
    """`first(base, n)` or `last(base, n)`: the first or last `count` spans of each record."""

    base: SpanSet
    end: Literal["first", "last"]
    count: int


@dataclass(frozen=True, slots=True)
class Edge:
    """`base.first` or `base.last`: the first or last token of each span."""

    base: SpanSet
    end: Literal["first", "last"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """`base.next` or `base.previous`: the token after or before each span; a span without one has none."""

    base: SpanSet
    side: Literal["next", "previous"]


@dataclass(frozen=True, slots=True)
class Predicting:
    """`predicting(base)`: the tokens whose next token lies in `base`."""

    base: SpanSet


@dataclass(frozen=True, slots=True)
class OfSource:
    """`span name of source = base`: empty in records of any other source."""

    base: SpanSet
    source: str


@dataclass(frozen=True, slots=True)
class Named:
    """A set that a declaration names: `index` counts in it. The name itself is no part of the meaning."""

    base: SpanSet
    name: str = field(compare=False)
    place: Place = no_meaning()


SpanSet: TypeAlias = (
    Tokens
    | Record
    | Phrases
    | Regex
    | Offsets
    | Slot
    | Markup
    | Special
    | Union
    | Intersection
    | Difference
    | Within
    | Filter
    | Take
    | Edge
    | Neighbour
    | Predicting
    | OfSource
    | Named
)

SELECTORS = (Tokens, Record, Phrases, Regex, Offsets, Slot, Markup, Special)
"""The kinds of set that are made of no other; each ranks its own spans."""
