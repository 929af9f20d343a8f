"""The Pygments lexer: no spec has an error token, and its kinds are those that the grammar gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from lark import Lark
from pygments.lexers import guess_lexer
from pygments.token import Error, Keyword, Name, Number, Operator, Punctuation, String, Whitespace

from mcd.dsl.cut import HEADER, INNER, KEYWORDS
from mcd.dsl.pygments import McdLexer

from .generate import specs

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```mcd[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = [*ROOT.glob("specs/**/*.mcd"), ROOT / "tests/dsl/data/example.mcd"]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("dsl/explained/*.md")]
BROKEN = ("MCD10", "MCD11", "MCD12")  # blocks that are to show what does not parse
BLOCKS = [
    match[1]
    for page in PAGES
    for match in FENCE.finditer(page.read_text("utf-8"))
    if not any(code in match[0].split("\n", 1)[0] or page.name.startswith(code) for code in BROKEN)
]

KINDS = {
    "NUMBER": (Number,),
    "INT": (Number.Integer,),
    "PERCENT": (Number,),
    "STRING": (String,),
    "FIELD": (Name.Property,),
    "PARAM": (Name.Variable,),
    "LABEL": (Name.Label, Name.Function, Name.Variable),
    "NAME": (Name, Keyword.Type, Keyword.Constant, Operator.Word),
    "EQUAL": (Operator,),
    "ARROW": (Operator,),
    "RANGE": (Operator,),
    "CMP": (Operator,),
    **dict.fromkeys(("WHERE", "OR", "AND", "NOT", "BEFORE", "AFTER", "IN", "LIKE"), (Operator.Word,)),
    **dict.fromkeys(("LBRACE", "RBRACE", "LPAR", "RPAR", "LSQB", "RSQB", "COMMA", "COLON"), (Punctuation,)),
    **dict.fromkeys(("VBAR", "AMPERSAND", "PLUS", "MINUS", "STAR", "SLASH"), (Operator,)),
    **{word.upper(): (Keyword,) for word in (HEADER, *KEYWORDS, *INNER) if word != "like"},
}
"""Terminal of the grammar -> the tokens that it may be."""


def lexed(text: str) -> list[tuple[int, object, str]]:
    found = list(McdLexer().get_tokens_unprocessed(text))
    assert "".join(value for _, _, value in found) == text
    return found


@cache
def parser() -> Lark:
    grammar = files("mcd.grammar").joinpath("mcd.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", start="spec")


def mismatches(text: str, *, lenient: bool) -> Iterator[str]:
    """Where the lexer sees something else than the parser. `lenient`: where keywords stand as names, either is right."""
    kinds = {at: kind for start, kind, value in lexed(text) for at in range(start, start + len(value))}
    for token in parser().parse_interactive(text).iter_parse():
        if lenient and token.rstrip(" :") in (HEADER, *KEYWORDS, *INNER):
            continue
        kind = kinds[token.start_pos]
        expected = KINDS.get(token.type, (Operator, Punctuation))
        if not any(kind in allowed for allowed in expected):
            yield f"{token!r} at {token.line}:{token.column} is {kind}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_specs_are_read_as_the_grammar_reads_them(path):
    assert list(mismatches(path.read_text("utf-8"), lenient=False)) == []


def test_blocks_of_the_pages_have_no_error_token():
    assert len(BLOCKS) > 50
    wrong = [(block, found) for block in BLOCKS if (found := [t for t in lexed(block) if t[1] is Error])]
    assert wrong == []


@given(specs())
def test_random_specs_are_read_as_the_grammar_reads_them(text):
    assert [token for token in lexed(text) if token[1] is Error] == []
    assert list(mismatches(text, lenient=True)) == []


def shown(text: str) -> list[tuple[str, str]]:
    """The tokens that are no blanks, by the last words of their kinds."""
    return [
        (value, ".".join(str(kind).split(".")[1:]))
        for _, kind, value in lexed(text)
        if kind not in (Whitespace, Punctuation)
    ]


CASES = {
    "mcd 1": [("mcd", "Keyword.Namespace"), ("1", "Literal.Number.Integer")],
    "## doc\n# note": [("## doc", "Comment.Special"), ("# note", "Comment.Single")],
    "span = 3": [("span", "Name.Attribute"), ("=", "Operator"), ("3", "Literal.Number.Integer")],
    "span == 3": [("span", "Keyword.Declaration"), ("==", "Operator"), ("3", "Literal.Number.Integer")],
    "span a of b = c": [
        ("span", "Keyword.Declaration"),
        ("a", "Name.Variable"),
        ("of", "Keyword"),
        ("b", "Name.Attribute"),
        ("=", "Operator"),
        ("c", "Name"),
    ],
    "attend x: $a -> tokens": [
        ("attend", "Keyword.Declaration"),
        ("x", "Name.Function"),
        ("$a", "Name.Variable"),
        ("->", "Operator"),
        ("tokens", "Name.Builtin.Pseudo"),
    ],
    r'r"\d{2}"': [(r'r"\d{2}"', "Literal.String.Regex")],
    r'"a {.b.c} {{ \n \u{1F642}"': [
        ('"', "Literal.String.Double"),
        ("a ", "Literal.String.Double"),
        ("{.b.c}", "Literal.String.Interpol"),
        (" ", "Literal.String.Double"),
        ("{{", "Literal.String.Escape"),
        (" ", "Literal.String.Double"),
        (r"\n", "Literal.String.Escape"),
        (" ", "Literal.String.Double"),
        (r"\u{1F642}", "Literal.String.Escape"),
        ('"', "Literal.String.Double"),
    ],
    "{ layers = 50%..75%  loss = nll  x = other }": [
        ("layers", "Name.Attribute"),
        ("=", "Operator"),
        ("50%", "Literal.Number"),
        ("..", "Operator"),
        ("75%", "Literal.Number"),
        ("loss", "Name.Attribute"),
        ("=", "Operator"),
        ("nll", "Name.Constant"),
        ("x", "Name.Attribute"),
        ("=", "Operator"),
        ("other", "Name"),
    ],
    '."odd-name" .text': [('."odd-name"', "Name.Property"), (".text", "Name.Property")],
    "hash(train: 90%) f(1)": [
        ("hash", "Name.Builtin"),
        ("train", "Name.Label"),
        ("90%", "Literal.Number"),
        ("f", "Name.Function"),
        ("1", "Literal.Number.Integer"),
    ],
    "frame f(a: span, b: layers = (1)) {": [
        ("frame", "Keyword.Declaration"),
        ("f", "Name.Function"),
        ("a", "Name.Variable"),
        ("span", "Keyword.Type"),
        ("b", "Name.Variable"),
        ("layers", "Keyword.Type"),
        ("=", "Operator"),
        ("1", "Literal.Number.Integer"),
    ],
    "relate a is_a b": [
        ("relate", "Keyword.Declaration"),
        ("a", "Name"),
        ("is_a", "Operator.Word"),
        ("b", "Name"),
    ],
    "curriculum { stage x 5% { stage.factor = 0 } }": [
        ("curriculum", "Keyword.Declaration"),
        ("stage", "Keyword.Declaration"),
        ("x", "Name.Class"),
        ("5%", "Literal.Number"),
        ("stage", "Name"),
        (".factor", "Name.Property"),
        ("=", "Operator"),
        ("0", "Literal.Number.Integer"),
    ],
    "expect trained mass(x) >= 0.5": [
        ("expect", "Keyword.Declaration"),
        ("trained", "Keyword"),
        ("mass", "Name.Builtin"),
        ("x", "Name"),
        (">=", "Operator"),
        ("0.5", "Literal.Number.Float"),
    ],
}


@pytest.mark.parametrize("text", CASES)
def test_kinds_of_tokens(text):
    assert shown(text) == CASES[text]


@pytest.mark.parametrize("text", ['"open', "@", "12ab", "a ?"])
def test_what_is_no_token_is_an_error(text):
    assert any(kind is Error for _, kind, _ in lexed(text))


def test_an_error_stays_on_its_line():
    found = lexed('span a = "open\nspan b = c')
    assert (15, Keyword.Declaration, "span") in found
    assert all(start < 15 for start, kind, _ in found if kind is Error)


def test_pygments_finds_it():
    (entry,) = entry_points(group="pygments.lexers", name="mcd")
    assert entry.value == "mcd.dsl.pygments:McdLexer"
    assert isinstance(guess_lexer("# a spec\n\nmcd 1\nspan a = b\n"), McdLexer)
    assert McdLexer.analyse_text("the mcd 1") == 0
