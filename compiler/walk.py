"""Walks over checked sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import get_args

from ..dsl import checked

_SETS = get_args(checked.SpanSet)


def below(definitions: Iterable[checked.SpanSet]) -> Iterator[checked.SpanSet]:
    """The sets and every set that they are made of, each object once."""
    rest, seen = list(definitions), set[int]()
    while rest:
        node = rest.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        rest += [value for f in fields(node) if isinstance(value := getattr(node, f.name), _SETS)]


def links(condition: checked.Scalar | None) -> Iterator[checked.Linked]:
    """Every `linked` of a condition, each once."""
    rest: list[object] = [condition]
    seen: dict[checked.Linked, None] = {}
    while rest:
        match rest.pop():
            case checked.Linked() as node:
                seen.setdefault(node)
            case checked.And(operands) | checked.Or(operands):
                rest += operands
            case checked.Not(operand):
                rest.append(operand)
    yield from seen


def counted_in(definition: checked.SpanSet) -> list[checked.SpanSet]:
    """The sets in which the spans of a set have their index: it itself, or those that it takes spans from."""
    found: list[checked.SpanSet] = []
    rest = [definition]
    while rest:
        match rest.pop():
            case checked.Union(left, right):
                rest += [left, right]
            case checked.Filter(base) | checked.Take(base):
                rest.append(base)
            case checked.Intersection(base) | checked.Difference(base) | checked.Within(base):
                rest.append(base)
            case node:
                found.append(node)
    return found


def elsewhere(definition: checked.SpanSet, source: str) -> bool:
    """Whether a set is one `of` another source, and so says nothing about records of this one."""
    while True:
        match definition:
            case checked.OfSource(_, of):
                return of != source
            case checked.Named(base) | checked.Filter(base) | checked.Take(base):
                definition = base
            case checked.Intersection(base) | checked.Difference(base) | checked.Within(base):
                definition = base
            case _:
                return False


def field_paths(definitions: Iterable[checked.SpanSet]) -> set[checked.FieldPath]:
    """The fields of the record that sets read. Slots are none: the template reads those."""
    return {node.path for node in below(definitions) if isinstance(node, checked.Offsets)}


def join_fields(joins: Iterable[checked.Join]) -> set[checked.FieldPath]:
    """The fields of the record that joins read, those of their sets among them."""
    listed = list(joins)
    return field_paths(join_sets(listed)) | {node.path for join in listed for node in links(join.condition)}


def join_sets(joins: Iterable[checked.Join]) -> Iterator[checked.SpanSet]:
    """The sets that joins ask for."""
    for join in joins:
        yield join.query
        yield join.key
