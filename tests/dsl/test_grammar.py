"""The grammar file: no conflicts, the same keywords as the cut, names wherever a name may stand."""

import logging
from importlib.resources import files
from pathlib import Path

import lark
import pytest
from lark import Lark

from mcd.dsl.cut import HEADER, INNER, KEYWORDS, OPERATORS
from mcd.dsl.diagnostics import Findings
from mcd.dsl.parse import parse
from mcd.dsl.source import SourceText

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
