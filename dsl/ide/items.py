"""Proposals at a cursor, and those that are words of the language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..check.frames import IN_FRAMES
from ..cut import KEYWORDS
from .words import CALLED, function_doc
from .words import KEYWORDS as MEANINGS

ItemKind = Literal[
    "keyword",
    "attribute",
    "word",
    "function",
    "span",
    "concept",
    "rule",
    "constant",
    "field",
    "file",
    "folder",
    "value",
    "name",
]


@dataclass(frozen=True, slots=True)
class Item:
    """A proposal: what it is called, what is typed for it, and what it means. `rank`: those of a lower one stand first."""

    label: str
    kind: ItemKind
    detail: str = ""
    doc: str | None = None
    text: str | None = None
    rank: int = 0


def declarations(frame: bool) -> Iterator[Item]:
    """The keywords that start a declaration, or one of a frame."""
    allowed = [kind.__name__.lower().removesuffix("decl") for kind in IN_FRAMES]
    for word in KEYWORDS:
        if not frame or word in allowed:
            yield Item(word, "keyword", doc=MEANINGS.get(word))


def function(name: str, rank: int = 0) -> Item:
    """Something that is called."""
    return Item(name, "function", CALLED.get(name, ""), function_doc(name), rank=rank)
