"""The digest of a checked node: what the node means, whatever it is called and wherever it was written.

A node's digest is the SHA-256 of a canonical JSON of its class and its compared fields, with every node below it standing as
its own digest, so that a set shared by many rules is hashed once. Names and places are not compared, so they do not count.
A path has no digest here: the content of its file does, and the caller knows when to read it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from . import checked as c

Memo = dict[int, tuple[object, str]]
"""Digests by identity. Holds the nodes, so that an identity cannot be reused."""


def digest(value: object, memo: Memo | None = None) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of `value`'s canonical JSON.

    `value` is built of checked nodes, tuples, strings, numbers and None. A `memo` that is passed again saves the work for
    nodes seen before. Raises TypeError for a path or anything else without a canonical form.
    """
    memo = {} if memo is None else memo
    return _digest(_meaning(value), memo)


def _meaning(value: object) -> object:
    """The node that `value` stands for: a name over a set that ranks its own spans adds nothing."""
    while isinstance(value, c.Named) and _ranks_itself(value.base):
        value = value.base
    return value


def _ranks_itself(node: object) -> bool:
    while isinstance(node, c.OfSource):
        node = node.base
    return isinstance(node, (*c.SELECTORS, c.Named))


def _digest(node: object, memo: Memo) -> str:
    if id(node) in memo:
        return memo[id(node)][1]
    text = json.dumps(_form(node, memo), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    found = hashlib.sha256(text.encode()).hexdigest()[:32]
    memo[id(node)] = (node, found)
    return found


def _form(node: object, memo: Memo) -> Any:
    """`node` as JSON: a tagged list for a node, whose nodes below it are given by their digests."""
    if is_dataclass(node) and not isinstance(node, type):
        return [type(node).__name__, *(_child(getattr(node, name), memo) for name in _compared(type(node)))]
    return _child(node, memo)


def _child(value: object, memo: Memo) -> Any:
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return int(value) if value.is_integer() else value
        case tuple():
            return [_child(item, memo) for item in value]
        case _ if is_dataclass(value):
            return {"digest": _digest(_meaning(value), memo)}
    raise TypeError(f"{type(value).__name__} has no canonical form")


@cache
def _compared(node: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(node) if field.compare)
