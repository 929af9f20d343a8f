"""The grammar file: no conflicts, the same keywords as the cut, names wherever a name may stand."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import lark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark, UnexpectedCharacters, UnexpectedToken

from mcd.dsl.build import Builder
from mcd.dsl.check.env import walk
from mcd.dsl.cut import HEADER, INNER, KEYWORDS, OPERATORS, cut
from mcd.dsl.diagnostics import Findings
from mcd.dsl.lalr import END, Unexpected, load
from mcd.dsl.parse import parse
from mcd.dsl.source import SourceText
from mcd.grammar.tables import digest, tables

from .generate import specs

GRAMMAR = files("mcd.grammar").joinpath("mcd.lark").read_text("utf-8")


@pytest.fixture(scope="module")
def whole() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", start="spec")


def conflicts(grammar: str, start: list[str], caplog: pytest.LogCaptureFixture) -> list[str]:
    """lark resolves shift/reduce silently, except in its log; reduce/reduce raises."""
    caplog.clear()
    lark.logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.DEBUG, logger=lark.logger.name):
            Lark(grammar, parser="lalr", lexer="contextual", start=start, debug=True)
    finally:
        lark.logger.removeHandler(caplog.handler)
    return [record.getMessage() for record in caplog.records if "onflict" in record.getMessage()]


def test_no_conflict(caplog: pytest.LogCaptureFixture) -> None:
    assert conflicts(GRAMMAR, ["spec", "piece"], caplog) == []


def test_a_conflict_would_show(caplog: pytest.LogCaptureFixture) -> None:
    assert conflicts('start: a\na: "x" | a "y" a', ["start"], caplog) != []


def test_reads_a_whole_file(whole: Lark) -> None:
    example = (Path(__file__).parent / "data" / "example.mcd").read_text("utf-8")
    assert len(whole.parse(example).children) == 1 + 30


def test_keywords_agree_with_the_cut(whole: Lark) -> None:
    terminals = {terminal.name.lower() for terminal in whole.terminals}
    assert {HEADER, *KEYWORDS, *OPERATORS, *INNER} <= terminals


def clean(text: str) -> None:
    findings = Findings()
    parse(SourceText("x.mcd", "mcd 1\n" + text), findings)
    assert [item.message for item in findings.items] == []


@pytest.mark.parametrize("word", [HEADER, *KEYWORDS, *INNER])
def test_a_keyword_is_a_name_where_a_name_stands(word: str) -> None:
    clean(f"signal {word}: {word} {{ {word} = {word}  x = {word}.{word}  {word} = f({word}, {word}: .{word}) }}")
    clean(f"span {word} of {word} = {word} where {word} == {word}.{word}")
    clean(f'import "x" as {word}\nlet {word}: {word} = [${word}, {{{word}: {word}}}]')
    clean(f"frame {word}({word}: {word} = {word}) {{ span {word} = {word} }}\nuse {word}({word}) as {word}")
    clean(f"relate {word}: {word} is_a {word} {{}}\nrelate {word} -> {word} like {word} -> {word} {{}}")
    clean(f"curriculum {{ {word} = {word} {word} = 1 stage {word} 5% {{ {word}.factor = 1 {word}.{word} = 2 }} }}")
    clean(f"attend {word} -> {word} where {word} before {word} where {word} == 1 {{ {word} = 1 }}")
    clean(f"model {word} {{\n{word} = 1\n}}")


@pytest.mark.parametrize("word", OPERATORS)
def test_an_operator_word_is_no_name_but_may_be_a_field(word: str) -> None:
    clean(f"span a = slot(.{word}) where key.{word} == 1")
    findings = Findings()
    parse(SourceText("x.mcd", f"mcd 1\nspan {word} = a"), findings)
    assert f"found `{word}`" in findings.items[0].message


def test_a_keyword_before_a_double_equals_is_a_keyword() -> None:
    findings = Findings()
    parse(SourceText("x.mcd", "mcd 1\nspan == 3"), findings)
    assert findings.items[0].message == "expected a name after `span`, found `==`"


# --- the tables


@pytest.fixture(scope="module")
def by_lark() -> tuple[Lark, Builder]:
    """lark's own parser of the grammar, with a builder of its own."""
    builder = Builder()
    options = {"start": "piece", "keep_all_tokens": True, "maybe_placeholders": False}
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", transformer=builder, **options), builder


def test_the_tables_are_those_of_the_grammar() -> None:
    assert files("mcd.grammar").joinpath("tables.json").read_text("utf-8") == tables(GRAMMAR)


def test_the_tables_are_the_same_in_every_process() -> None:
    """lark numbers states by hashes, which differ from process to process."""
    script = "from mcd.grammar.tables import *; print(digest(tables(grammar())))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout == f"{digest(tables(GRAMMAR))}\n".encode()


def outcome(builder: Builder, source: SourceText, parse: Callable[[str], object]) -> object:
    """The tree of a piece with its places, or where and why it has none: the position, and the terminal that stands there."""
    builder.open(source, 0)
    try:
        tree = parse(source.text)
        return tree, [(node.place.start, node.place.end) for node, _ in walk(tree)]
    except Unexpected as error:
        return error.token.start_pos, error.token.type
    except UnexpectedToken as error:
        token = error.token
        return (token.end_pos or 0) if token.type == END else token.start_pos, token.type
    except UnexpectedCharacters as error:
        return error.pos_in_stream, ""


def agree(by_lark: tuple[Lark, Builder], text: str) -> None:
    lark, builder = by_lark
    mine = Builder()
    parser = load(mine)
    for piece in cut(text):
        part = SourceText("x.mcd", text[piece.start : piece.end])
        if piece.deep is None:
            assert outcome(mine, part, parser.parse) == outcome(builder, part, lark.parse), part.text


@given(specs())
@settings(max_examples=60, deadline=None)
def test_the_tables_read_as_lark_does(by_lark: tuple[Lark, Builder], text: str) -> None:
    agree(by_lark, text)


@given(specs(), st.data())
@settings(max_examples=120, deadline=None)
def test_they_fail_where_lark_does(by_lark: tuple[Lark, Builder], text: str, data: st.DataObject) -> None:
    """A spec with a few characters taken out or put in somewhere."""
    at = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 3))
    new = data.draw(st.sampled_from(["", "=", "(", "}", '"', "where", " 5x", "->", "é", "\\", "$", ".", ":", "\n"]))
    agree(by_lark, text[:at] + new + text[at + gone :])
