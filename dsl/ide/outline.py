"""The outline of a file: its declarations with what they hold, and the ranges of lines that fold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .. import ast
from ..check.declare import as_written, keyword_place, name_of, rule_id
from ..check.env import NOUNS
from ..lexemes import first_on_line, lexemes
from ..load import File
from ..source import Place


@dataclass(frozen=True, slots=True)
class Symbol:
    """A declaration: what it is called, the noun for what it is, where it and its name stand, and what is declared in it."""

    name: str
    noun: str
    place: Place
    name_place: Place
    children: tuple[Symbol, ...] = ()


def outline(file: File) -> list[Symbol]:
    """The declarations of a file, in order."""
    return [_symbol(file, item) for item in file.spec.items]


def _symbol(file: File, item: ast.Item) -> Symbol:
    ident, place = name_of(item), item.place
    if ident is not None:
        noun = NOUNS.get(type(item), "rule")
        return Symbol(ident.name, noun, place, ident.place, tuple(_children(file, item)))
    name_place = keyword_place(item)
    match item:
        case ast.Curriculum():
            name, noun = "curriculum", "curriculum"
        case ast.Gradient():
            name, noun = "gradient", "curriculum"
        case ast.Expect(claim=claim):
            name, noun = f"expect {as_written(claim)}", "claim"
        case ast.Relate() | ast.Attend() | ast.Signal() | ast.Weigh() | ast.Keep():
            name, noun = rule_id(file, item).removeprefix(file.prefix), "rule"
        case _:
            name, noun = item.place.text, "rule"
    return Symbol(name, noun, place, name_place, tuple(_children(file, item)))


def _children(file: File, item: ast.Item) -> Iterator[Symbol]:
    match item:
        case ast.Frame():
            yield from (_symbol(file, inner) for inner in item.items)
        case ast.Curriculum():
            for stage in item.stages:
                yield Symbol(stage.name.name, "stage", stage.place, stage.name.place)


def folds(text: str) -> Iterator[tuple[int, int, bool]]:
    """The first and last offset of what folds: brackets over several lines, and comments of several lines (True)."""
    opened: list[int] = []
    comments: list[tuple[int, int]] = []
    for lexeme in lexemes(text):
        if lexeme.kind == "comment" and first_on_line(text, lexeme.start):
            comments.append((lexeme.start, lexeme.end))
            continue
        yield from _run(comments)
        comments = []
        if lexeme.text in ("(", "[", "{"):
            opened.append(lexeme.start)
        elif lexeme.text in (")", "]", "}") and opened and "\n" in text[(start := opened.pop()) : lexeme.start]:
            yield start, text.rfind("\n", start, lexeme.start), False
    yield from _run(comments)


def _run(comments: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, bool]]:
    found = list(comments)
    if len(found) > 1:
        yield found[0][0], found[-1][1], True
