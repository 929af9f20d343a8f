"""The formatter: what the one form looks like, and what holds of it for every spec there is."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcd.dsl import ast
from mcd.dsl import format as format_module
from mcd.dsl.diagnostics import Findings
from mcd.dsl.format import format_source, format_spec
from mcd.dsl.format.layout import WIDTH
from mcd.dsl.format.tokens import scan
from mcd.dsl.limits import MAX_BRACKETS, MAX_DEPTH
from mcd.dsl.parse import parse
from mcd.dsl.source import SourceText

from .generate import CHAINS, PAIRS, spec, specs
from .test_check import PROGRAMS, whole
from .test_parse import TOKENS

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("specs/**/*.mcd"), *ROOT.glob("tests/**/*.mcd")])
BLOCK = re.compile(r"^```mcd[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CASES = Path(__file__).parent / "data" / "format.txt"


def formatted(text: str) -> str:
    findings = Findings()
    result = format_source(SourceText("x.mcd", text), findings)
    assert [item.message for item in findings.items] == []
    assert result is not None
    return result


def tree(text: str) -> ast.Spec:
    findings = Findings()
    spec = parse(SourceText("x.mcd", text), findings)
    assert [item.message for item in findings.items] == []
    return spec


# --- what holds of every spec


def holds(text: str) -> None:
    """Everything that formatting promises, for one spec."""
    for row in too_long(keeps(text)):
        # What cannot be broken: a token, with what has to stand with it.
        rest = len(row) - max(len(token.text) for token in scan(row))
        assert rest < 60, row


def keeps(text: str) -> str:
    """The same but for the width."""
    result = formatted(text)
    assert tree(result) == tree(text)
    assert formatted(result) == result
    assert neighbours(result) == neighbours(text)
    assert "\r" not in result and result.endswith("\n") and not result.endswith("\n\n")
    assert "\n\n\n" not in result and not re.search(r"[ \t]$", result, re.MULTILINE)
    return result


def neighbours(text: str) -> list[tuple[str, int]]:
    """Every comment, with the number of tokens before it. Commas do not count, since the last one of a bracket comes and goes."""
    found, count = [], 0
    for token in scan(text):
        found += [(comment.text, count) for comment in token.comments]
        count += token.text != ","
    return found


def too_long(text: str) -> list[str]:
    """Lines whose code, its comment left out, is wider than the width."""
    source = SourceText("x.mcd", text)
    ends = dict(source.position(token.start + len(token.text)) for token in scan(text))
    return [source.line(line)[: end - 1] for line, end in ends.items() if end > WIDTH + 1]


@settings(max_examples=200, deadline=None)
@given(specs())
def test_every_generated_spec(text: str) -> None:
    holds(text)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(specs(most=4))
def test_many_generated_specs(text: str) -> None:
    holds(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_spec_of_the_repository(path: Path) -> None:
    holds(path.read_text("utf-8"))


@pytest.mark.parametrize(("title", "text"), PROGRAMS, ids=[title for title, _ in PROGRAMS])
def test_every_program_of_the_checker(title: str, text: str) -> None:
    text = whole(title, text)
    findings = Findings()
    parse(SourceText("x.mcd", text), findings)
    if not findings.items:
        holds(text)


DOCUMENTATION = [page for page in sorted(ROOT.glob("docs/**/*.md")) if not page.name.startswith("MCD1")]
"""Without the pages whose examples do not parse."""


@pytest.mark.parametrize("page", DOCUMENTATION, ids=lambda page: page.name)
def test_every_block_of_the_documentation(page: Path) -> None:
    for block in BLOCK.findall(page.read_text("utf-8")):
        holds(block if block.startswith("mcd ") else f"mcd 1\n{block}")


def test_the_specs_are_in_their_one_form() -> None:
    specs = [path for path in FILES if "specs" in path.relative_to(ROOT).parts[0]]
    assert [path.name for path in specs if formatted(path.read_text("utf-8")) != path.read_text("utf-8")] == []
    assert len(specs) > 4


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=40), st.sampled_from(["", " "]))
def test_token_soup_is_formatted_or_refused(tokens: list[str], between: str) -> None:
    text = "mcd 1\n" + between.join(tokens)
    findings = Findings()
    if format_source(SourceText("x.mcd", text), findings) is None:
        assert findings.failed
    else:
        holds(text)


# --- what the form looks like


def cases() -> Iterator[tuple[str, str, str]]:
    for part in CASES.read_text("utf-8").split("\n=== ")[1:]:
        title, _, text = part.partition("\n")
        given, _, expected = text.partition("--->\n")
        yield title, f"mcd 1\n\n{given}".rstrip("\n") + "\n", f"mcd 1\n\n{expected or given}".rstrip("\n") + "\n"


@pytest.mark.parametrize(("title", "given", "expected"), [*cases()], ids=[title for title, _, _ in cases()])
def test_case(title: str, given: str, expected: str) -> None:
    assert formatted(given) == expected
    holds(given)


def test_line_ends_and_the_end_of_the_file() -> None:
    assert formatted("\r\n\r\nmcd 1\r\nspan a = b # c\t\r\n\r\n\r\n") == "mcd 1\nspan a = b  # c\n"
    assert formatted("mcd 1") == "mcd 1\n"


@pytest.mark.parametrize("text", ["", "span a = b\n", "mcd 1\nspan a = = b\n", 'mcd 1\nlet a = "\\q"\n', "mcd 1\n\0\n"])
def test_what_does_not_parse_is_refused(text: str) -> None:
    findings = Findings()
    assert format_source(SourceText("x.mcd", text), findings) is None
    assert findings.failed


def test_documentation_stays_documentation() -> None:
    text = "mcd 1\n##  one\n##two\nspan a = b ## no\nspan c = d\n\n## three\n\nspan e = f\n"
    assert [item.doc for item in tree(formatted(text)).items] == [" one\ntwo", None, None]


@pytest.mark.parametrize(
    "value",
    [
        "(" * MAX_BRACKETS + "a" + ")" * MAX_BRACKETS,
        "[" * MAX_BRACKETS + "]" * MAX_BRACKETS,
        "(a | b & " * 66 + "c" + ")" * 66,
        "f(a: " * (MAX_BRACKETS - 1) + "a" + ")" * (MAX_BRACKETS - 1),
        "not " * (MAX_DEPTH - 2) + "a",
        "a" + ".b" * (MAX_DEPTH - 2),
        "a" + "(b)" * (MAX_DEPTH - 3),
        "a" + " where b" * (MAX_DEPTH - 2),
        "1" + " + 1" * (MAX_DEPTH - 2),
    ],
    ids=lambda value: value[:12],
)
def test_the_deepest_expressions(value: str) -> None:
    keeps(f"mcd 1\nlet a = {value}\n")


@pytest.mark.parametrize(
    "text",
    [
        "let a = [" + "[1, 2], " * 5000 + "]",
        "let a = " + "[" * 99 + "1, " * 5000 + "]" * 99,
        "model m {" + " a = 1" * 10_000 + "}",
        "span a = b\n" * 10_000,
        "# note\n" * 50_000,
    ],
    ids=["items", "nested", "attributes", "declarations", "comments"],
)
def test_time_is_linear(text: str) -> None:
    spec = tree(f"mcd 1\n{text}\n")
    start = time.process_time()
    format_spec(spec)
    assert time.process_time() - start < 3


def test_a_result_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_module, "MAX_BYTES", 20)
    findings = Findings()
    assert format_source(SourceText("x.mcd", "mcd 1\nmodel m {a=1 b=2}"), findings) is None
    assert [item.code.id for item in findings.items] == ["MCD110"]


def test_a_thousand_lines_are_fast() -> None:
    text = (ROOT / "specs/wordnet/concepts/nouns.mcd").read_text("utf-8")
    header, *lines = text.splitlines(keepends=True)
    text = header + "".join((lines * 2)[:999])
    formatted("mcd 1\n")
    start = time.process_time()
    formatted(text)
    assert time.process_time() - start < 1


# --- the generator


def test_the_generator_knows_every_construct() -> None:
    seen: set[str] = set()
    operators: set[str] = set()
    for seed in range(60):
        todo: list[object] = [tree(spec(seed, 6))]
        while todo:
            node = todo.pop()
            if isinstance(node, tuple):
                todo.extend(node)
            elif hasattr(node, "place"):
                seen.add(type(node).__name__)
                operators |= {node.op} if isinstance(node, ast.Binary) else set()
                todo.extend(getattr(node, name) for name in node.__dataclass_fields__)
    public = {name: kind for name, kind in vars(ast).items() if not name.startswith("_")}
    classes = {name for name, kind in public.items() if isinstance(kind, type) and hasattr(kind, "place")}
    assert classes - seen == set()
    assert operators == {op for ops in (*CHAINS.values(), *PAIRS.values()) for op in ops}


def test_the_generator_repeats_itself() -> None:
    assert spec(7, 5) == spec(7, 5) != spec(8, 5)
