"""The `mcd` lexer for Pygments: highlighted specs in documentation, notebooks and terminals.

Nothing in the package imports this module: Pygments finds it by its entry point. A lexer knows no declarations, so a keyword is
told from a name by what stands around it: `span` starts a declaration where it is first on its line or in its block.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pygments.lexer import RegexLexer, bygroups, default, include, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text, Whitespace

from .cut import HEADER, KEYWORDS, OPERATORS, RULES
from .words import CONSTANTS, FUNCTIONS, PRELUDE, RELATIONS, ROLES, TYPES, VALUES

_NAME = rf"(?!(?:{'|'.join(OPERATORS)})\b)[A-Za-z_][A-Za-z0-9_]*"
_FIELD = r'\.(?:[A-Za-z_][A-Za-z0-9_]*|"[^"\\\n]*(?:\\.[^"\\\n]*)*")'
_FIRST = r"((?:^|(?<=[{}]))[ \t]*)"
_EDITION = rf"{_FIRST}({HEADER})([ \t]+)([0-9]+)(?![\w.%])"
_END = r"\b(?!\.|[ \t]*(?:=(?!=)|:))"
_VALUE = r"(?:(?<==)|(?<== )|(?<=,)|(?<=, )|(?<=:)|(?<=: )|(?<=\())"

_NAMELESS = ("import", "gradient", "curriculum", "use", "expect")
"""Keywords that no name of the declaration follows."""


def _starts(keywords: tuple[str, ...]) -> str:
    return rf"{_FIRST}({'|'.join(keywords)}){_END}"


def _declared(kind: Any) -> list[Any]:
    """The state behind a keyword: blanks, and the name that is declared."""
    return [include("blank"), (_NAME, kind, "#pop"), default("#pop")]


class McdLexer(RegexLexer):  # type: ignore[misc]
    """For specs of the `mcd` language."""

    name = "mcd"
    aliases: ClassVar[list[str]] = ["mcd"]
    filenames: ClassVar[list[str]] = ["*.mcd"]
    mimetypes: ClassVar[list[str]] = ["text/x-mcd"]
    flags = re.MULTILINE

    tokens: ClassVar[dict[str, list[Any]]] = {
        "root": [
            (_EDITION, bygroups(Whitespace, Keyword.Namespace, Whitespace, Number.Integer)),
            (_starts(("import",)), bygroups(Whitespace, Keyword.Namespace)),
            (_starts(("let",)), bygroups(Whitespace, Keyword.Declaration), ("type", "let")),
            (_starts(("frame",)), bygroups(Whitespace, Keyword.Declaration), ("parameters", "frame")),
            (_starts(("span",)), bygroups(Whitespace, Keyword.Declaration), ("of", "span")),
            (_starts(("expect",)), bygroups(Whitespace, Keyword.Declaration), "claim"),
            (_starts(RULES), bygroups(Whitespace, Keyword.Declaration), "rule"),
            (_starts(_NAMELESS), bygroups(Whitespace, Keyword.Declaration)),
            (_starts(KEYWORDS), bygroups(Whitespace, Keyword.Declaration), "thing"),
            include("blank"),
            include("values"),
        ],
        "blank": [
            (r"\n", Whitespace),
            (r"[ \t\r]+", Whitespace),
            (r"##[^\n]*", Comment.Special),
            (r"#[^\n]*", Comment.Single),
        ],
        "values": [
            (r'r"[^"\\\n]*(?:\\.[^"\\\n]*)*"', String.Regex),
            (r'"(?=[^"\\\n]*(?:\\.[^"\\\n]*)*")', String.Double, "string"),
            (r"[0-9]+(?:\.[0-9]+)?%", Number),
            (r"[0-9]+(?![A-Za-z0-9_]|\.[0-9])", Number.Integer),
            (r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_]|\.[0-9])", Number.Float),
            (r"\$[A-Za-z_][A-Za-z0-9_]*", Name.Variable),
            (_FIELD, Name.Property),
            (r"->|\.\.|[=!<>]=|[=<>|&+\-*/]", Operator),
            (r"[()\[\]{},:]", Punctuation),
            include("names"),
        ],
        "names": [
            (words(OPERATORS, suffix=r"\b"), Operator.Word),
            (rf"(stage)(\s+)({_NAME})(?=\s+[0-9.]+%)", bygroups(Keyword.Declaration, Whitespace, Name.Class)),
            (rf"{_NAME}(?=[ \t]*=(?!=))", Name.Attribute),
            (rf"{_NAME}(?=[ \t]*:)", Name.Label),
            (words(FUNCTIONS, suffix=r"(?=[ \t]*\()"), Name.Builtin),
            (rf"{_NAME}(?=[ \t]*\()", Name.Function),
            (words(CONSTANTS, suffix=r"\b"), Keyword.Constant),
            (words(VALUES, prefix=_VALUE, suffix=r"\b(?![ \t]*[.(])"), Name.Constant),
            (rf"(as)(\s+)({_NAME})(?=[ \t]*(?:#|$))", bygroups(Keyword.Namespace, Whitespace, Name.Namespace)),
            (r"like(?=\s+[\w$.]+\s*->)", Operator.Word),
            (words(RELATIONS, suffix=r"(?=[ \t]+[A-Za-z_$])"), Operator.Word),
            (words((*PRELUDE, *ROLES), suffix=r"\b"), Name.Builtin.Pseudo),
            (_NAME, Name),
        ],
        "string": [
            (r'[^"\\\n{}]+', String.Double),
            (r'\\(?:[nt"\\]|u\{[0-9A-Fa-f]{1,6}\})', String.Escape),
            (r"\{\{|\}\}", String.Escape),
            (r"\{(?:\.[A-Za-z_][A-Za-z0-9_]*)+\}", String.Interpol),
            (r"\\.|[{}]", String.Double),
            (r'"', String.Double, "#pop"),
        ],
        "thing": _declared(Name.Class),
        "span": _declared(Name.Variable),
        "let": _declared(Name.Constant),
        "frame": _declared(Name.Function),
        "rule": [include("blank"), (rf"{_NAME}(?=[ \t]*:)", Name.Function, "#pop"), default("#pop")],
        "claim": [include("blank"), (rf"trained{_END}", Keyword, "#pop"), default("#pop")],
        "of": [include("blank"), (r"of\b", Keyword, "#pop"), default("#pop")],
        "type": [
            include("blank"),
            (r":", Punctuation),
            (words(TYPES, suffix=r"\b"), Keyword.Type, "#pop"),
            default("#pop"),
        ],
        "parameters": [include("blank"), (r"\(", Punctuation, ("#pop", "parameter")), default("#pop")],
        "parameter": [
            include("blank"),
            (r"\)", Punctuation, "#pop"),
            (
                rf"({_NAME})([ \t]*)(:)([ \t]*)({'|'.join(TYPES)})\b",
                bygroups(Name.Variable, Whitespace, Punctuation, Whitespace, Keyword.Type),
            ),
            (r"\(", Punctuation, "nested"),
            (r"(?=[{}])", Text, "#pop"),
            include("values"),
        ],
        "nested": [
            (r"\(", Punctuation, "#push"),
            (r"\)", Punctuation, "#pop"),
            include("blank"),
            include("values"),
        ],
    }

    def analyse_text(text: str) -> float:
        """1 for a text whose first declaration states the edition."""
        return float(re.match(rf"(?:\s|#[^\n]*\n)*{HEADER}[ \t]+[0-9]+[ \t]*(?:#|$)", text, re.MULTILINE) is not None)
