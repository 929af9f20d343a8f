"""The recipe: *where*. What the executor computes and stores, and nothing about how a model uses it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ..dsl import checked
from ..dsl.canonical import digest
from .plan import Digest
from .walk import links

VECTORS: dict[checked.Dtype, Literal["vector", "vector32"]] = {"float16": "vector", "float32": "vector32"}
"""The kind of a field of vectors, by what they are stored in."""

SetKey: TypeAlias = Digest | Literal["tokens", "record"]


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A span set to store, with the attributes that the plan reads (`index` among them where a field has one value per span)."""

    digest: Digest
    definition: checked.SpanSet
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredEdges:
    """An edge set to store."""

    digest: Digest
    join: checked.Join

    @property
    def weighted(self) -> bool:
        """Whether the edges come from links, which may have weights."""
        return any(True for _ in links(self.join.condition))


@dataclass(frozen=True, slots=True)
class StoredField:
    """A field of the record to store as column `field.NAME`.

    `type` says what the plan takes it for: a class number (int32), a label (string), a key, which is anything that can equal
    another (as text), the id of a token (int32), a factor or a number (float32), or a vector (float16, or float32 for `vector32`;
    several stand one after another). `spans` is the set that a list runs along (one entry per span, `width` numbers each); a
    single value holds for the whole record.
    """

    name: str
    path: checked.FieldPath
    type: Literal["class", "label", "key", "token", "factor", "number", "vector", "vector32"]
    width: int
    spans: checked.SpanSet


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """What a `classify` rule takes for a label, or a `predict` rule for a token, so that what is none is counted while compiling.

    Exactly one of `field` (a stored field's name) and `attribute` (of the stored set `set`) is given. `classes` is a count, for
    labels and tokens that are numbers, or the labels.
    """

    rule: str
    set: SetKey
    field: str | None
    attribute: str | None
    classes: int | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContrastCheck:
    """The key by which a `contrast` rule finds equal spans, so that spans without an equal one are counted while compiling.

    `each`: tokens are compared and not spans. `scope = batch` leaves it to the batch what is equal to what.
    """

    rule: str
    set: Digest | Literal["tokens", "record"]
    field: str | None
    attribute: str | None
    each: bool
    scope: Literal["record", "batch"]


@dataclass(frozen=True, slots=True)
class AheadCheck:
    """How far ahead of its row a `predict` rule looks, so that rows at the end of a text are counted while compiling."""

    rule: str
    set: Digest | Literal["tokens", "record"]
    pool: Literal["each", "first", "last", "mean"]
    ahead: int


Check: TypeAlias = LabelCheck | ContrastCheck | AheadCheck


def label_key(check: Check) -> Digest:
    """What the counts of a check depend on besides the shards; the rule's name does not matter."""
    if isinstance(check, LabelCheck):
        return digest((check.set, check.field, check.attribute, check.classes))
    return digest(replace(check, rule=""))


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that shards depend on, but for the content of the sources."""

    model: checked.Model
    tokenizer_digest: Digest
    sources: tuple[checked.Source, ...]
    sets: tuple[StoredSet, ...]
    edges: tuple[StoredEdges, ...]
    fields: tuple[StoredField, ...]
    labels: tuple[LabelCheck, ...]
    pairs: tuple[tuple[SetKey, SetKey], ...] = ()
    """Sets whose spans a rule reads together: the parts of records that hold both are counted."""
    rows: tuple[ContrastCheck | AheadCheck, ...] = ()

    @property
    def checks(self) -> tuple[Check, ...]:
        """Everything that is counted by rule: at most one for each."""
        return (*self.labels, *self.rows)

    @property
    def weighted(self) -> bool:
        """Whether any edges come from links, which may have weights."""
        return any(stored.weighted for stored in self.edges)
