"""What the rules of a program read, gathered while they are lowered: sets, edges, fields, anchors and teachers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, count

from ..dsl import checked as c
from ..dsl.canonical import digest
from .plan import CentroidPlan, Digest, SetInfo, SpanSetRef
from .recipe import AheadCheck, ContrastCheck, LabelCheck, SetKey, StoredField, StoredSet
from .written import field_text, written


@dataclass(slots=True)
class Gathered:
    """What the rules read, gathered while they are walked. Keyed by digest, so that order carries no meaning."""

    hidden: int
    vocab: int
    sets: dict[Digest, c.SpanSet] = field(default_factory=dict)
    attributes: dict[Digest, set[str]] = field(default_factory=dict)
    edges: dict[Digest, c.Join] = field(default_factory=dict)
    fields: dict[tuple[str, str, int, Digest], StoredField] = field(default_factory=dict)
    labels: list[LabelCheck] = field(default_factory=list)
    rows: list[ContrastCheck | AheadCheck] = field(default_factory=list)
    pairs: set[tuple[SetKey, SetKey]] = field(default_factory=set)
    anchors: dict[str, c.Concept] = field(default_factory=dict)
    teachers: dict[str, c.Teacher] = field(default_factory=dict)

    def span_set(self, definition: c.SpanSet, *attributes: str) -> SpanSetRef:
        """A reference to `definition`, stored unless it is every token or the whole record and nothing is read along it."""
        plain = definition.base if isinstance(definition, c.Named) else definition
        if not attributes and isinstance(plain, c.Tokens):
            return SpanSetRef(set="tokens")
        if isinstance(plain, c.Record):
            return SpanSetRef(set="record")
        key = digest(definition)
        self.sets.setdefault(key, definition)
        self.attributes.setdefault(key, set()).update(attributes)
        return SpanSetRef(set=key)

    def field(self, path: c.FieldPath, kind: str, subject: c.SpanSet, width: int = 1) -> str:
        """The column name of a field that runs along `subject`."""
        key = (field_text(path), kind, width, digest(subject))
        if key not in self.fields:
            taken = {stored.name for stored in self.fields.values()}
            dotted = ".".join(path)
            numbered = (f"{dotted}#{number}" for number in count(2))
            name = next(name for name in chain([dotted], numbered) if name not in taken)
            self.fields[key] = StoredField(name, path, kind, width, subject)  # type: ignore[arg-type]
        return self.fields[key].name

    def anchor(self, concept: c.Concept) -> str:
        self.anchors[concept.name] = concept
        return concept.name

    def teacher(self, teacher: c.Teacher) -> str:
        self.teachers[teacher.name] = teacher
        return teacher.name

    def centroids(self) -> Iterator[tuple[str, CentroidPlan]]:
        """The anchors that are means over spans, by name."""
        for name, concept in sorted(self.anchors.items()):
            if isinstance(concept.anchor, c.CentroidAnchor):
                assert concept.spans is not None, "the checker requires spans of a concept whose anchor is their mean"
                teacher, subject = self.teacher(concept.anchor.teacher), self.span_set(concept.spans)
                yield name, CentroidPlan(teacher=teacher, layer=concept.anchor.layer, subject=subject)

    def stored_sets(self) -> tuple[StoredSet, ...]:
        return tuple(StoredSet(key, self.sets[key], tuple(sorted(self.attributes[key]))) for key in sorted(self.sets))

    def stored_fields(self) -> tuple[StoredField, ...]:
        return tuple(sorted(self.fields.values(), key=lambda stored: stored.name))

    def infos(self) -> dict[Digest, SetInfo]:
        spans = {key: SetInfo(kind="span", written=written(node)) for key, node in self.sets.items()}
        edges = {key: SetInfo(kind="edge", written=written(join)) for key, join in self.edges.items()}
        return dict(sorted({**spans, **edges}.items()))
