"""The terminals of grammar/mcd.lark as editors need them: keywords, operators, and the patterns of literals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from lark import Lark
from lark.lexer import PatternStr

_BOUNDED = re.compile(r"(?:\(\?:)?([a-z]+)\\b(.*)")


@dataclass(frozen=True, slots=True)
class Terminals:
    """`keywords` are names where a name stands; `operator_words` never are. `patterns`: terminal -> regular expression."""

    keywords: tuple[str, ...]
    operator_words: tuple[str, ...]
    symbols: tuple[str, ...]
    keyword_end: str
    patterns: dict[str, str]


@cache
def terminals() -> Terminals:
    """The terminals of the grammar, each group in the order of the file, symbols from long to short."""
    text = files("mcd.grammar").joinpath("mcd.lark").read_text("utf-8")
    lark = Lark(text, parser="lalr", lexer="contextual", start="spec")
    keywords: list[str] = []
    operator_words: list[str] = []
    symbols: list[str] = []
    ends: set[str] = set()
    patterns: dict[str, str] = {}
    for terminal in lark.terminals:
        pattern = terminal.pattern.to_regexp()
        word = _BOUNDED.fullmatch(pattern)
        if word and word[1].upper() == terminal.name:
            (keywords if word[2] else operator_words).append(word[1])
            ends |= {r"\b" + word[2]} if word[2] else set()
        elif isinstance(terminal.pattern, PatternStr):
            symbols.append(terminal.pattern.value)
        else:
            patterns[terminal.name] = pattern
    (end,) = ends
    symbols += [symbol.replace("\\", "") for symbol in patterns.pop("CMP").strip("(?:)").split("|")]
    symbols.append("=")
    order = text.find
    return Terminals(
        tuple(sorted(keywords, key=lambda word: order(f'"{word}" KEYWORD_END'))),
        tuple(sorted(operator_words, key=lambda word: order(rf"/{word}\b/"))),
        tuple(sorted(symbols, key=lambda symbol: (-len(symbol), symbol))),
        end,
        patterns,
    )
