"""The recipe: *where*. What the executor computes and stores, and nothing about how a model uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..dsl import checked
from .plan import Digest


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


@dataclass(frozen=True, slots=True)
class StoredField:
    """A field of the record to store as column `field.NAME`.

    `type` says what the plan takes it for: a class number (int32), a label (string), a factor (float32), or a vector of the
    model's width (float16; several vectors stand one after another). `spans` is the set that a list runs along (one entry per
    span, `width` numbers each); a single value holds for the whole record.
    """

    name: str
    path: checked.FieldPath
    type: Literal["class", "label", "factor", "vector"]
    width: int
    spans: checked.SpanSet


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """What a `classify` rule takes for a label, so that labels outside it are counted while compiling.

    Exactly one of `field` (a stored field's name) and `attribute` (of the stored set `set`) is given. `classes` is a count, for
    integer labels, or the labels.
    """

    rule: str
    set: Digest | Literal["tokens", "record"]
    field: str | None
    attribute: str | None
    classes: int | tuple[str, ...]


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
