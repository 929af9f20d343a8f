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


def field_paths(definitions: Iterable[checked.SpanSet]) -> set[checked.FieldPath]:
    """The fields of the record that sets read. Slots are none: the template reads those."""
    return {node.path for node in below(definitions) if isinstance(node, checked.Offsets)}


def join_sets(joins: Iterable[checked.Join]) -> Iterator[checked.SpanSet]:
    """The sets that joins ask for."""
    for join in joins:
        yield join.query
        yield join.key
