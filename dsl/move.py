"""A tree at another place: what a declaration parses to does not depend on where in a file it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from .source import Place, SourceText

N = TypeVar("N")

_PLAIN = frozenset({str, int, float, bool, type(None)})


def moved(node: N, source: SourceText, by: int) -> N:
    """`node`, a tree node or a tuple of them, as it would be in `source`, with every place `by` characters further on."""
    found: N = _moved(node, source, by)
    return found


def _moved(node: Any, source: SourceText, by: int) -> Any:
    kind: type = type(node)
    if kind is Place:
        return Place(source, node.start + by, node.end + by)
    values = node if kind is tuple else _values(kind)(node)
    there = [value if type(value) in _PLAIN else _moved(value, source, by) for value in values]
    return tuple(there) if kind is tuple else kind(*there)


@cache
def _values(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    """What gives the fields of a node; every kind of node has two at least."""
    return attrgetter(*(field.name for field in fields(kind)))
