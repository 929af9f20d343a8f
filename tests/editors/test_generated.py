"""What the editors have follows from the grammar and the vocabulary, and a word that they lack is noticed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from mcd.dsl.cut import HEADER, INNER, KEYWORDS, OPERATORS
from mcd.dsl.diagnostics import Findings
from mcd.dsl.parse import parse
from mcd.dsl.source import SourceText
from mcd.editors.generate import TREE_SITTER, generated, stale
from mcd.editors.terminals import terminals
from mcd.editors.textmate import textmate
from mcd.editors.treesitter import for_helix, highlights, missing

ROOT = Path(__file__).parents[2]
SNIPPETS = json.loads((ROOT / "editors/vscode/snippets/mcd.json").read_text("utf-8"))


def test_everything_is_up_to_date():
    assert stale() == []
    assert all(path.is_file() for path in generated())


def test_terminals_are_those_of_the_grammar():
    found = terminals()
    assert {*found.keywords} == {HEADER, *KEYWORDS, *INNER}
    assert {*found.operator_words} == {*OPERATORS}
    assert {"->", "..", "==", "=", "|", "{"} <= {*found.symbols}
    assert re.match(found.keyword_end, " = 1") is None
    assert found.patterns["PARAM"].startswith(r"\$")


def test_a_new_keyword_is_noticed():
    more = replace(terminals(), keywords=(*terminals().keywords, "view"))
    assert missing(TREE_SITTER, more) == [
        "editors/tree-sitter-mcd/grammar.js lacks `view`: add it, then `make parser`",
    ]
    assert textmate(more) != textmate(terminals())
    assert highlights(more) != highlights(terminals())


def test_a_keyword_that_went_away_is_noticed():
    less = replace(terminals(), keywords=tuple(word for word in terminals().keywords if word != "keep"))
    assert missing(TREE_SITTER, less) == ["editors/tree-sitter-mcd/grammar.js has `keep`, which the grammar lacks"]


def test_a_new_symbol_is_noticed():
    more = replace(terminals(), symbols=("=>", *terminals().symbols))
    assert "`=>`" in missing(TREE_SITTER, more)[0]
    with pytest.raises(AssertionError, match="=>"):
        textmate(more)


def test_a_parser_of_another_grammar_is_noticed(tmp_path):
    for name in ("grammar.js", "src/grammar.json", "src/grammar.js.sha256"):
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((TREE_SITTER / name).read_bytes())
    assert missing(tmp_path, terminals()) == []
    (tmp_path / "grammar.js").write_text("// changed", encoding="utf-8")
    assert missing(tmp_path, terminals()) == ["editors/tree-sitter-mcd/src is of another grammar.js: `make parser`"]


def test_the_queries_for_helix_differ_in_captures_alone():
    query = highlights(terminals())
    helix = for_helix(query)
    assert "@constant.numeric\n" in helix and "@number" not in helix and "@keyword.control.import" in helix
    assert re.sub(r"@[\w.]+", "@", helix) == re.sub(r"@[\w.]+", "@", query)


def expanded(body: str | list[str]) -> str:
    """A snippet with the first choice at each place."""
    text = body if isinstance(body, str) else "\n".join(body)
    text = re.sub(r"\$\{\d+\|([^|]*?)(?:,[^|]*)?\|\}", r"\1", text)
    text = re.sub(r"\$\{\d+:([^{}]*)\}", r"\1", text)
    return text.replace("$0", "")


@pytest.mark.parametrize("name", SNIPPETS)
def test_snippets_parse(name):
    text = expanded(SNIPPETS[name]["body"])
    findings = Findings()
    parse(SourceText(name, text if text.startswith("mcd ") else "mcd 1\n" + text), findings)
    assert [item.message for item in findings.items] == []
    assert "$" not in text


def test_the_digest_is_of_the_file():
    recorded = (TREE_SITTER / "src/grammar.js.sha256").read_text("utf-8").split()
    assert recorded == [sha256((TREE_SITTER / "grammar.js").read_bytes()).hexdigest(), "grammar.js"]
