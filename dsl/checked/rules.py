"""Concepts and rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ..diagnostics import Related
from ..source import Place
from .common import FieldPath, Layer, Lost, no_meaning
from .conditions import Join
from .inputs import Teacher
from .scores import Score
from .sets import SpanSet


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


@dataclass(frozen=True, slots=True)
class LearnedAnchor:
    """A unit vector that is trained along with the model."""


@dataclass(frozen=True, slots=True)
class CentroidAnchor:
    """The mean of a teacher's hidden states over the spans of the concept, scaled to unit length."""

    teacher: Teacher
    layer: Layer


Anchor: TypeAlias = Orthonormal | VectorAnchor | EmbeddingAnchor | LearnedAnchor | CentroidAnchor


@dataclass(frozen=True, slots=True)
class Concept:
    """A node: the spans that express it and, maybe, a direction in the hidden space. `name` is unique in the program."""

    name: str
    spans: SpanSet | None
    anchor: Anchor | None
    place: Place = no_meaning()


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers as resolved against the model, in order, and as the spec writes them."""

    resolved: tuple[Layer, ...]
    written: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Through:
    """A trained map of the pooled hidden state to `width` numbers: affine, or with one layer of `hidden` between."""

    kind: Literal["linear", "mlp"]
    hidden: int | None
    width: int


Pair: TypeAlias = tuple[int, int]
"""A layer from 1 and a head from 0."""

Pairs: TypeAlias = tuple[Pair, ...]
Heads: TypeAlias = Literal["any", "all", "mean"] | tuple[int, ...]
Per: TypeAlias = Literal["row", "record"]
Pool: TypeAlias = Literal["each", "first", "last", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBase:
    """What every rule has. `id` is its name, or its kind and subject as written where it has none.

    `uses`: for a rule of a frame, where that is used, the innermost `use` first.
    """

    id: str
    name: str | None
    lost: Lost
    place: Place = no_meaning()
    uses: tuple[Related, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attend(RuleBase):
    """Each query token should place probability on its keys: at least `mass` (hinge), as much as it can (nll), or spread
    evenly over them (kl). `avoid` turns the bound around; `each` bounds every key on its own. Where `pairs` names heads one by
    one, `layers` are those that it names, and `heads` is `all`."""

    join: Join
    layers: Layers
    heads: Heads
    loss: Literal["nll", "hinge", "kl"]
    mass: float | None
    avoid: bool
    each: bool
    weight: float
    per: Per
    pairs: Pairs = ()

    def explicit(self) -> Iterator[Pair]:
        """Every layer and head that the rule names, where it names heads."""
        yield from self.pairs
        if isinstance(self.heads, tuple):
            yield from ((layer, head) for layer in self.layers.resolved for head in self.heads if layer != "final")


@dataclass(frozen=True, slots=True)
class Hidden:
    """A teacher's hidden state at a layer."""

    teacher: Teacher
    layer: Layer


Dtype: TypeAlias = Literal["float16", "float32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toward(RuleBase):
    """A signal that pulls the hidden state toward a concept's anchor, a vector that the record carries or a teacher's hidden
    state. `dtype`: in what the target is stored, if it is."""

    subject: SpanSet
    layers: Layers
    pool: Pool
    target: Concept | FieldPath | Hidden
    loss: Literal["cosine", "mse"]
    weight: float
    per: Per
    through: Through | None = None
    dtype: Dtype = "float16"


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
    through: Through | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast(RuleBase):
    """A signal that pulls the hidden states of spans with equal labels together, and apart from those of all others.

    `label` is as in `Classify`. Spans are compared within a record, or with those of the whole batch on every rank.
    """

    subject: SpanSet
    layers: Layers
    pool: Pool
    label: FieldPath | str
    temperature: float
    scope: Literal["record", "batch"]
    weight: float
    per: Per
    through: Through | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predict(RuleBase):
    """A signal that reads the hidden state through the model's final norm and head. `target` is how many tokens after the
    row's the target stands, or a field that holds it."""

    subject: SpanSet
    layers: Layers
    pool: Pool
    target: int | FieldPath
    weight: float
    per: Per
    through: Through | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Distil(RuleBase):
    """A signal that reads the hidden state through the model's final norm and head, as a distribution over tokens that should be
    the teacher's, both at `temperature`."""

    subject: SpanSet
    layers: Layers
    pool: Pool
    teacher: Teacher
    temperature: float
    weight: float
    per: Per
    through: Through | None = None


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
class Like(RuleBase):
    """`relate subject -> subject_to like object -> object_to`: in a record that holds spans of both subjects, the offset between
    their hidden states has a cosine of at least `margin` with the offset between the anchors of the objects."""

    subject: Concept
    subject_to: Concept
    object: Concept
    object_to: Concept
    layers: Layers
    pool: Pool
    margin: float
    weight: float
    per: Per


@dataclass(frozen=True, slots=True, kw_only=True)
class Weigh(RuleBase):
    """Multiplies the loss of the predicted token. `only` gives factor 0 to every token outside `subject`."""

    subject: SpanSet
    factor: float | FieldPath | Score
    only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep(RuleBase):
    """A factor 0 or 1 after all `weigh`: of the tokens of `subject` that have a positive weight, the `share` with the highest
    or the lowest score is kept, within each record or each batch."""

    subject: SpanSet
    score: Score
    end: Literal["top", "bottom"]
    share: float
    within: Literal["record", "batch"]


Signal: TypeAlias = Toward | Classify | Contrast | Predict | Distil
Rule: TypeAlias = Attend | Signal | Relate | Like | Weigh | Keep
