"""Spec text -> its lexemes with their kinds, also where the text does not parse: what the formatter lays out, and an editor
colours and looks back over from a cursor. Knows no grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["comment", "string", "field", "number", "param", "word", "mark"]

_SCAN = re.compile(
    r"""
      (?P<comment>\#[^\n]*)
    | (?P<string>r?"[^"\\\n]*(?:\\.[^"\\\n]*)*(?:"|\\?(?=\n|\Z)))       # an open one goes to the end of its line
    | (?P<field>\.(?:[A-Za-z_]\w*|"[^"\\\n]*(?:\\.[^"\\\n]*)*"))
    | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?%?)
    | (?P<param>\$(?:[A-Za-z_]\w*)?)
    | (?P<word>[A-Za-z_]\w*)
    | (?P<mark>-> | \.\. | [=!<>]= | [^\ \t\r\n])
    """,
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A lexeme at characters `[start, end)`."""

    kind: Kind
    text: str
    start: int
    end: int


def lexemes(text: str, start: int = 0, end: int | None = None) -> list[Lexeme]:
    """The lexemes of `text[start:end]`, blanks left out."""
    found: list[Lexeme] = []
    for match in _SCAN.finditer(text, start, len(text) if end is None else end):
        kind: Kind = match.lastgroup  # type: ignore[assignment]
        found.append(Lexeme(kind, match.group(), match.start(), match.end()))
    return found


def first_on_line(text: str, offset: int) -> bool:
    """Whether nothing but blanks stands before `offset` on its line."""
    return not text[text.rfind("\n", 0, offset) + 1 : offset].strip()


def at(found: Sequence[Lexeme], offset: int) -> Lexeme | None:
    """The lexeme that a cursor at `offset` touches; of two, the one that is no mark, else the one on its right."""
    touching = [lexeme for lexeme in found if lexeme.start <= offset <= lexeme.end]
    named = [lexeme for lexeme in touching if lexeme.kind not in ("mark", "comment")]
    return (named or touching)[-1] if touching else None
