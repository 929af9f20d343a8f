"""What each lexeme of a file is, by its role: what an editor colours beyond what a grammar of patterns can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..cut import INNER, KEYWORDS, OPERATORS
from ..lexemes import Lexeme, first_on_line, lexemes
from ..vocabulary import PRELUDE_SETS
from .names import Occurrence

TYPES = (
    *("keyword", "comment", "string", "number", "operator", "variable", "class", "function", "parameter"),
    *("property", "enumMember", "namespace", "struct", "macro", "method"),
)
MODIFIERS = ("declaration", "readonly", "documentation", "defaultLibrary")

NOUNS: Mapping[str, tuple[str, ...]] = {
    "span": ("variable",),
    "concept": ("class",),
    "rule": ("function",),
    "constant": ("variable", "readonly"),
    "parameter": ("parameter", "readonly"),
    "model": ("struct",),
    "teacher": ("struct",),
    "source": ("struct",),
    "frame": ("macro",),
    "imported file": ("namespace",),
    "used frame": ("namespace",),
}
"""A name's type and modifiers, by what declares it."""


@dataclass(frozen=True, slots=True)
class Role:
    """The characters `[start, end)` are of one of `TYPES`, with some of `MODIFIERS`."""

    start: int
    end: int
    type: str
    modifiers: tuple[str, ...] = ()


def roles(text: str, names: Sequence[Occurrence]) -> list[Role]:
    """The roles of a file's lexemes, in order; `names` are those in the file."""
    known = {each.start: each for each in names}
    found = lexemes(text)
    return [role for at, lexeme in enumerate(found) for role in _role(text, lexeme, found, at, known)]


def _role(
    text: str, lexeme: Lexeme, around: Sequence[Lexeme], at: int, known: Mapping[int, Occurrence]
) -> Iterator[Role]:
    start, end = lexeme.start, lexeme.end
    name = known.get(start if lexeme.kind == "word" else start + 1)
    match lexeme.kind:
        case "comment":
            yield Role(start, end, "comment", ("documentation",) if lexeme.text.startswith("##") else ())
        case "string" | "number":
            yield Role(start, end, lexeme.kind)
        case "mark":
            if lexeme.text not in "()[]{},:.":
                yield Role(start, end, "operator")
        case _ if name is not None:
            kind, *modifiers = NOUNS[name.found.noun]
            yield Role(start, end, kind, (*modifiers, *(["declaration"] if name.declares else [])))
        case "param":
            yield Role(start, end, "variable", ("readonly",))
        case "field":
            yield Role(start, end, "property")
        case "word":
            yield _word(text, lexeme, around, at)


def _word(text: str, lexeme: Lexeme, around: Sequence[Lexeme], at: int) -> Role:
    """A word that names nothing of the spec."""
    after = around[at + 1].text if at + 1 < len(around) else ""
    word, start, end = lexeme.text, lexeme.start, lexeme.end
    if word in OPERATORS:
        return Role(start, end, "keyword")
    if after == "=":
        return Role(start, end, "property")
    if (word in KEYWORDS or word == "mcd") and first_on_line(text, start):
        return Role(start, end, "keyword")
    if word in INNER:
        return Role(start, end, "keyword")
    if after == "(":
        return Role(start, end, "function", ("defaultLibrary",))
    if after == ":":
        return Role(start, end, "parameter")
    if word in PRELUDE_SETS:
        return Role(start, end, "variable", ("defaultLibrary",))
    return Role(start, end, "enumMember")
