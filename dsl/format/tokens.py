"""Spec text -> its tokens as typed, each with the comments that stand before it.

Takes a text that parses, so every lexeme is a token or a comment, and a token's kind does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..lexemes import lexemes


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
    end, first = 0, True
    for lexeme in lexemes(text):
        breaks = text.count("\n", end, lexeme.start)
        first, end = first or breaks > 0, lexeme.end
        if lexeme.kind == "comment":
            comments.append(Comment(lexeme.text.rstrip(" \t\r"), first, breaks > 1))
        else:
            tokens.append(Token(lexeme.text, lexeme.start, tuple(comments), breaks > 1))
            comments.clear()
            first = False
    tokens.append(Token("", len(text), tuple(comments), False))
    return tokens


def meaning(tokens: Sequence[Token]) -> tuple[list[str], list[str]]:
    """What formatting keeps: the tokens, but for a comma before a closing bracket, and the comments."""
    kept = [token.text for token, after in pairwise(tokens) if token.text != "," or after.text not in (")", "]", "}")]
    return kept, [comment.text for token in tokens for comment in token.comments]
