"""Cuts a spec file into pieces, one per declaration, before any of it is parsed.

A declaration keyword in column 1 always starts a declaration, whatever stands before it. So an error stays inside its
piece, one run reports the errors of all pieces, and an editor reads again only the piece that changed. The cut knows
strings, comments and brackets and nothing else of the grammar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from .limits import MAX_BRACKETS

HEADER = "mcd"
RULES = ("attend", "signal", "relate", "weigh", "keep")
KEYWORDS = (
    *("import", "let", "model", "teacher", "source", "span", "concept"),
    *RULES,
    *("gradient", "curriculum", "frame", "use", "expect"),
)
RESERVED = ("edit", "view")
INNER = ("stage", "as", "of", "like", "trained")
OPERATORS = ("where", "or", "and", "not", "before", "after", "in")

_CONTINUE = frozenset({*OPERATORS, *INNER})
_SCAN = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|#[^\n]*|[()\[\]{}]|^[A-Za-z_]\w*', re.MULTILINE)
_TOKEN = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|#[^\n]*|\w+|[^\s\w]')
_ASSIGNED = re.compile(r"[ \t]*=(?!=)")
_HEAD = re.compile(rf'[ \t]+(?!(?:{"|".join(OPERATORS)})\b)[A-Za-z_"{{]')

Kind = Literal["stray", "header", "declaration", "unknown"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Characters `[start, end)` of a file. `word` is what stands in column 1 at `start`.

    A `stray` piece is what stands before the first word in column 1. `deep` is the offset of the first bracket beyond
    the nesting limit.
    """

    kind: Kind
    word: str
    start: int
    end: int
    deep: int | None = None


def cut(text: str) -> list[Piece]:
    """The pieces of a file, in order; together they are the whole file."""
    starts: list[tuple[Kind, str, int]] = [("stray", "", 0)]
    deep: dict[int, int] = {}
    depth = 0
    for match in _SCAN.finditer(text):
        token = match.group()
        if token in "([{":
            depth += 1
            if depth > MAX_BRACKETS:
                deep.setdefault(len(starts) - 1, match.start())
        elif token in ")]}":
            depth = max(depth - 1, 0)
        elif token[0] not in '"#' and (kind := _starts(text, token, match.end(), depth)):
            starts.append((kind, token, match.start()))
            depth = 0
    ends = [start for _, _, start in starts[1:]] + [len(text)]
    pieces = [Piece(*start, end, deep.get(i)) for i, (start, end) in enumerate(zip(starts, ends, strict=True))]
    return pieces if pieces[0].end > 0 else pieces[1:]


def token_at(text: str, number: int) -> int | None:
    """Where the token of that number starts, counted from 0 as the scanner of words, strings and marks sees them; None where
    there are not so many."""
    if len(text) <= number:
        return None
    starts = (match.start() for match in _TOKEN.finditer(text) if text[match.start()] != "#")
    return next(islice(starts, number, None), None)


def _starts(text: str, word: str, end: int, depth: int) -> Kind | None:
    """What a word in column 1 starts, if anything. Inside brackets, `layers = 6` is an attribute that lost its indent."""
    if word in _CONTINUE or (depth and _ASSIGNED.match(text, end)):
        return None
    if word == HEADER:
        return "header"
    if word in KEYWORDS:
        return "declaration"
    return "unknown" if not depth or _HEAD.match(text, end) else None
