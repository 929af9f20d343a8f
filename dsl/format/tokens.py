"""Spec text -> its tokens as typed, each with the comments that stand before it.

Takes a text that parses, so every character belongs to a token, a comment or white space, and a token's kind does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_SCAN = re.compile(
    r"""
      (?P<blank>[ \t\r\n]+)
    | (?P<comment>\#[^\n]*)
    | r?"[^"\\\n]*(?:\\.[^"\\\n]*)*"                                    # strings
    | \.(?:[A-Za-z_]\w*|"[^"\\\n]*(?:\\.[^"\\\n]*)*")                   # fields
    | [0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?%?                         # numbers
    | \$?[A-Za-z_]\w*                                                   # words
    | -> | \.\. | [=!<>]= | [^ \t\r\n]                                  # marks
    """,
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Comment:
    """`# text` without blanks at its end. `own`: first on its line. `blank`: below an empty line."""

    text: str
    own: bool
    blank: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A token at character `start`, and the comments before it. `blank`: first on its line, below an empty line."""

    text: str
    start: int
    comments: tuple[Comment, ...]
    blank: bool


def scan(text: str) -> list[Token]:
    """The tokens of `text`; the last one is empty, stands at the end, and has the comments there."""
    tokens: list[Token] = []
    comments: list[Comment] = []
    breaks, first = 0, True
    for match in _SCAN.finditer(text):
        part = match.group()
        if match.lastgroup == "blank":
            breaks = part.count("\n")
            first = first or breaks > 0
        elif match.lastgroup == "comment":
            comments.append(Comment(part.rstrip(" \t\r"), first, breaks > 1))
            breaks = 0
        else:
            tokens.append(Token(part, match.start(), tuple(comments), breaks > 1))
            comments.clear()
            breaks, first = 0, False
    tokens.append(Token("", len(text), tuple(comments), False))
    return tokens


def meaning(tokens: Sequence[Token]) -> tuple[list[str], list[str]]:
    """What formatting keeps: the tokens, but for a comma before a closing bracket, and the comments."""
    kept = [token.text for token, after in pairwise(tokens) if token.text != "," or after.text not in (")", "]", "}")]
    return kept, [comment.text for token in tokens for comment in token.comments]
