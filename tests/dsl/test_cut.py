"""Where a file is cut."""

import pytest

from mcd.dsl.cut import cut
from mcd.dsl.limits import MAX_BRACKETS


def kinds(text: str) -> list[tuple[str, str]]:
    pieces = cut(text)
    assert "".join(text[piece.start : piece.end] for piece in pieces) == text
    return [(piece.kind, text[piece.start : piece.end].strip()) for piece in pieces]


def test_declarations_start_in_column_one() -> None:
    assert kinds("mcd 1\n# note\nspan a = b\n  where c\nlet d = 1\n") == [
        ("header", "mcd 1\n# note"),
        ("declaration", "span a = b\n  where c"),
        ("declaration", "let d = 1"),
    ]


def test_nothing_at_all() -> None:
    assert kinds("") == []
    assert kinds("  # only a comment") == [("stray", "# only a comment")]


def test_a_keyword_cuts_inside_an_open_bracket() -> None:
    assert kinds("signal a: b {\nspan c = d") == [("declaration", "signal a: b {"), ("declaration", "span c = d")]


def test_a_keyword_before_an_equals_sign_is_an_attribute_inside_brackets() -> None:
    assert len(kinds("model m {\nsource = 1\n}")) == 1
    assert len(kinds("model m {\nsource == 1\n}")) == 2
    assert len(kinds("model m { }\nsource = 1")) == 2


@pytest.mark.parametrize("line", ["where c", "and c", "as c", "of c", "like c", ") | c", '"x")', "# span c = d"])
def test_what_continues(line: str) -> None:
    assert len(kinds(f"span a = b\n{line}")) == 1


@pytest.mark.parametrize("line", ['imprt "x" as y', "sgnal a: b {", "gradint {", "spn a = b"])
def test_unknown_declarations(line: str) -> None:
    assert kinds(f"span a = b\n{line}")[1][0] == "unknown"
    assert kinds(f"span a = f(\n{line}")[1][0] == "unknown"


@pytest.mark.parametrize("line", ["axis,", "axis", "layers = 6", "layers: 6", "key before query", "f(x)"])
def test_a_word_inside_brackets_continues(line: str) -> None:
    assert len(kinds(f"span a = f(\n{line})")) == 1
    assert len(kinds(f"span a = f()\n{line}")) == 2


def test_brackets_in_strings_and_comments_do_not_count() -> None:
    text = 'span a = f("(", r"\\"(", "\\"(") # (\nfoo = 1'
    assert [kind for kind, _ in kinds(text)] == ["declaration", "unknown"]


def test_an_open_string_ends_with_its_line() -> None:
    assert kinds('span a = "(\nspan b = c')[1] == ("declaration", "span b = c")


def test_too_many_open_brackets() -> None:
    deep = "(" * (MAX_BRACKETS + 1)
    assert cut(f"let a = {'(' * MAX_BRACKETS}")[0].deep is None
    assert cut(f"let a = {deep}")[0].deep == len("let a = ") + MAX_BRACKETS
    assert [piece.deep is None for piece in cut(f"let a = {deep}\nlet b = 1")] == [False, True]
