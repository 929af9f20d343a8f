"""The checked program: what a spec means, with every name resolved, every value typed and every layer counted.

Built by `check`, read by the compiler. Nodes are frozen and hashable, hold no unresolved name, and refer to each other
directly: a span set that the spec names twice is one object here. Places are kept where a later phase may have
something to say about the line; they take no part in comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .source import Place


def _place() -> Place:
    return field(compare=False, repr=False)  # type: ignore[no-any-return]


FieldPath: TypeAlias = tuple[str, ...]
"""`.a.b` is `("a", "b")`."""

Lost: TypeAlias = Literal["warn", "drop", "error"]
Layer: TypeAlias = int | Literal["final"]
"""0 is the embedding output, `k` the residual stream after block `k`, `final` is after the final norm."""


# --- the model contract and the sources ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Overflow:
    """What happens to a text longer than the context. `stride` counts repeated tokens, for `split` alone."""

    how: Literal["truncate", "split", "drop", "error"] = "truncate"
    stride: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """The contract: what layers, heads and widths are checked against, and what tokenises the text.

    `layers` is L, `heads` the query heads per layer, `hidden` the width of the residual stream.
    """

    name: str
    architecture: str | None
    layers: int
    heads: int
    hidden: int
    vocab: int
    causal: bool
    tokenizer: Path
    context: int
    overflow: Overflow
    weights: Path | None
    lost: Lost
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class HashSplit:
    """`hash(train: 90%, valid: 10%)`: by a digest of the record's id. Shares add up to 1."""

    shares: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class FieldSplit:
    """The split that a field of the record names."""

    path: FieldPath


@dataclass(frozen=True, slots=True)
class ConstantSplit:
    """Every record in one split."""

    name: str


Split: TypeAlias = HashSplit | FieldSplit | ConstantSplit


@dataclass(frozen=True, slots=True)
class Template:
    """The rendered text, as literal pieces (`str`) and slots (`FieldPath`) in order."""

    parts: tuple[str | FieldPath, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where records come from. `files` are resolved, sorted and below the root; `records` holds inline ones as JSON text."""

    name: str
    format: Literal["jsonl", "parquet", "csv", "arrow", "inline"]
    files: tuple[Path, ...]
    records: tuple[str, ...]
    id: FieldPath | None
    split: Split
    text: Template
    place: Place = _place()


# --- span sets -------------------------------------------------------------------------------------------------------


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
    """`base where condition`, with `condition` over the attributes of `self`."""

    base: SpanSet
    condition: Scalar


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
    place: Place = _place()


SpanSet: TypeAlias = (
    Tokens
    | Record
    | Phrases
    | Regex
    | Offsets
    | Slot
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


# --- scalars: the conditions of filters and joins --------------------------------------------------------------------

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


Scalar: TypeAlias = Literal_ | SpanRef | Attr | Length | Compare | Before | Member | Arithmetic | Not | And | Or

Pick: TypeAlias = Literal["all", "nearest", "first", "last"]


@dataclass(frozen=True, slots=True)
class Join:
    """The edges of an attention rule: pairs of a query span and a key span of one record that meet `condition`.

    Without a condition every pair is joined. `pick` keeps, per query span, all keys, the nearest, the first or the last.
    """

    query: SpanSet
    key: SpanSet
    condition: Scalar | None
    pick: Pick
    max_edges: int


# --- concepts and rules ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Orthonormal:
    """A unit vector orthogonal to every other orthonormal anchor of the program."""


@dataclass(frozen=True, slots=True)
class VectorAnchor:
    """A tensor of a safetensors file, scaled to unit length."""

    file: Path
    key: str


@dataclass(frozen=True, slots=True)
class EmbeddingAnchor:
    """The mean of the model's input embeddings of the tokens of `text`, scaled to unit length."""

    text: str


Anchor: TypeAlias = Orthonormal | VectorAnchor | EmbeddingAnchor


@dataclass(frozen=True, slots=True)
class Concept:
    """A node: the spans that express it and, maybe, a direction in the hidden space. `name` is unique in the program."""

    name: str
    spans: SpanSet | None
    anchor: Anchor | None
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers as resolved against the model, in order, and as the spec writes them."""

    resolved: tuple[Layer, ...]
    written: str = field(compare=False)


Heads: TypeAlias = Literal["any", "all", "mean"] | tuple[int, ...]
Per: TypeAlias = Literal["row", "record"]
Pool: TypeAlias = Literal["each", "first", "last", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBase:
    """What every rule has. `id` is its name, or its kind and subject as written where it has none."""

    id: str
    name: str | None
    lost: Lost
    place: Place = _place()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attend(RuleBase):
    """Each query token should place probability on its keys: at least `mass` (hinge), as much as it can (nll), or spread
    evenly over them (kl). `avoid` turns the bound around; `each` bounds every key on its own."""

    join: Join
    layers: Layers
    heads: Heads
    loss: Literal["nll", "hinge", "kl"]
    mass: float | None
    avoid: bool
    each: bool
    weight: float
    per: Per


@dataclass(frozen=True, slots=True, kw_only=True)
class Toward(RuleBase):
    """A signal that pulls the hidden state toward a concept's anchor or a vector that the record carries."""

    subject: SpanSet
    layers: Layers
    pool: Pool
    target: Concept | FieldPath
    loss: Literal["cosine", "mse"]
    weight: float
    per: Per


@dataclass(frozen=True, slots=True, kw_only=True)
class Classify(RuleBase):
    """A signal that makes a label linearly readable. `label` is a field of the record, or the name of a span attribute.

    `classes` is a count, for labels 0..n-1, or the labels themselves in the order of the probe's outputs.
    """

    subject: SpanSet
    layers: Layers
    pool: Pool
    label: FieldPath | str
    classes: int | tuple[str, ...]
    weight: float
    per: Per


@dataclass(frozen=True, slots=True, kw_only=True)
class Relate(RuleBase):
    """A bound on the cosine between the hidden state of each span of `subject` and the anchor of `object`."""

    subject: Concept
    relation: Literal["is_a", "opposes", "distinct"]
    object: Concept
    layers: Layers
    pool: Pool
    margin: float
    weight: float
    per: Per


@dataclass(frozen=True, slots=True, kw_only=True)
class Weigh(RuleBase):
    """Multiplies the loss of the predicted token. `only` gives factor 0 to every token outside `subject`."""

    subject: SpanSet
    factor: float | FieldPath
    only: bool


Rule: TypeAlias = Attend | Toward | Classify | Relate | Weigh


# --- curriculum and expectations -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ramp:
    """A multiplier that goes from `start` to `end` over its stage. A constant has both equal."""

    start: float
    end: float
    shape: Literal["linear", "cosine", "exponential"] = "linear"


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of training time `[start, end)`, in shares of 1. A rule that `factors` does not name has factor 1, or 0
    where `only` is given and does not name it."""

    name: str
    start: float
    end: float
    factors: tuple[tuple[str, Ramp], ...]
    only: tuple[str, ...] | None
    token_loss: Ramp
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Coverage:
    """`expect coverage(subject) >= count`: the number of spans, in records of the split `of`."""

    subject: SpanSet
    written: str = field(compare=False)
    op: str
    count: float
    of: str
    place: Place = _place()


@dataclass(frozen=True, slots=True)
class Program:
    """A whole spec that checked clean."""

    edition: int
    path: str
    root: Path
    files: tuple[Path, ...]
    model: Model
    sources: tuple[Source, ...]
    spans: tuple[Named, ...]
    concepts: tuple[Concept, ...]
    rules: tuple[Rule, ...]
    stages: tuple[Stage, ...]
    expects: tuple[Coverage, ...]
    settings: tuple[tuple[str, Any], ...] = ()
