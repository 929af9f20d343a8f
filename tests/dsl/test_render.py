"""What a finding looks like, in text and in JSON."""

import json

import pytest

from mcd.dsl.diagnostics import Code, Diagnostic, Related, Severity
from mcd.dsl.render import WIDTH, render_json, render_text, summary
from mcd.dsl.source import DataPlace, Place, SourceText

BAD = Code("MCD199", "bad", "Something bad.")
ODD = Code("MCD198", "odd", "Something odd.", Severity.WARNING)


def place(text: str, marked: str, path: str = "a.mcd") -> Place:
    start = text.index(marked)
    return Place(SourceText(path, text), start, start + len(marked))


def lines(text: str, marked: str) -> tuple[str, str]:
    """The source line and the marks under it, without the gutter."""
    shown = render_text([BAD.at(place(text, marked), "no")]).split("\n")
    return shown[3].partition("| ")[2], shown[4].partition("| ")[2]


def test_a_finding_in_full() -> None:
    text = "mcd 1\nspan a = b\n" + "\n" * 8 + "span a = c"
    second = Place(place(text, "a").source, text.rindex("a ="), text.rindex("a =") + 1)
    first = Place(second.source, text.index("a ="), text.index("a =") + 1)
    found = BAD.at(second, "`a` is there twice", help="rename one", related=[Related(first, "the first")])
    assert render_text([found]) == (
        "error[MCD199]: `a` is there twice\n"
        "  --> a.mcd:11:6\n"
        "   |\n"
        "11 | span a = c\n"
        "   |      ^\n"
        "  ::: a.mcd:2:6\n"
        "   |\n"
        " 2 | span a = b\n"
        "   |      - the first\n"
        "help: rename one\n"
        "\n"
        "1 error\n"
    )


def test_nothing_to_say() -> None:
    assert render_text([]) == ""
    assert json.loads(render_json([])) == {"version": 1, "diagnostics": []}


def test_data_places() -> None:
    assert render_text([ODD.at(DataPlace("data/a.jsonl", 3), "no")]).startswith(
        "warning[MCD198]: no\n --> data/a.jsonl:3\n"
    )
    assert " --> data/a.jsonl\n" in render_text([BAD.at(DataPlace("data/a.jsonl"), "no")])
    assert render_text([BAD.at(None, "no")]) == "error[MCD199]: no\n\n1 error\n"


@pytest.mark.parametrize(
    ("text", "marked", "line", "marks"),
    [
        ("span a = b", "span", "span a = b", "^^^^"),
        ("\tx = y", "x", "    x = y", "    ^"),
        ("ab\tx = y", "x", "ab  x = y", "    ^"),
        ('"日本" x', "x", '"日本" x', "       ^"),
        ('"日本" x', "日本", '"日本" x', " ^^^^"),
        ('"🙂" x', "x", '"🙂" x', "     ^"),
        ('"e\u0301" x', "x", '"e\u0301" x', "    ^"),
        ('"\x1b[31m" x', "x", '"\ufffd[31m" x', "        ^"),
        ('"e\u0301" x', '"e\u0301"', '"e\u0301" x', "^^^"),
        ("x" * WIDTH, "x", "x" * WIDTH, "^"),
        ("a\r\nb", "a", "a", "^"),
        ("span a", "", "span a", "^"),
    ],
)
def test_alignment(text: str, marked: str, line: str, marks: str) -> None:
    assert lines(text, marked) == (line, marks)


def test_the_end_of_a_file() -> None:
    source = SourceText("a.mcd", "mcd 1\n")
    assert " --> a.mcd:2:1\n  |\n2 |\n  | ^\n" in render_text([BAD.at(Place(source, 6, 6), "no")])


def test_several_lines_are_shortened() -> None:
    assert lines("model a {\n  b = 1\n}\n", "{\n  b = 1\n}") == ("model a {", "        ^ to line 3")
    assert lines("a\nb", "a\n") == ("a", "^")


def test_a_long_line_is_cut_around_the_place() -> None:
    line, marks = lines("a" * 1000 + "X" * 5 + "b" * 1000, "XXXXX")
    assert len(line) <= WIDTH + 4
    assert line[marks.index("^") : marks.rindex("^") + 1] == "XXXXX"
    assert (line[:2], line[-2:]) == ("… ", " …")
    line, marks = lines("a" * 10 + "X" * 1000, "X" * 1000)
    assert len(marks) == WIDTH


def test_messages_cannot_steer_a_terminal() -> None:
    source = SourceText("a\x1b.mcd", "x")
    shown = render_text([BAD.at(Place(source, 0, 1), "`\x1b[2J\n`", help="\x07")])
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "`\\u{1B}[2J\\n`" in shown


def test_colour() -> None:
    shown = render_text([BAD.at(place("span a", "a"), "no")], color=True)
    assert shown.startswith("\x1b[1;31merror[MCD199]\x1b[0m: ")


def test_order_is_by_file_and_place() -> None:
    text = "one two"
    source = SourceText("a.mcd", text)
    found = [
        BAD.at(Place(source, 4, 7), "second"),
        BAD.at(place(text, "one", "b.mcd"), "third"),
        BAD.at(Place(source, 0, 3), "first"),
    ]
    shown = render_text(found)
    assert shown.index("first") < shown.index("second") < shown.index("third")


@pytest.mark.parametrize(
    ("errors", "warnings", "expected"),
    [(0, 0, "no findings"), (1, 0, "1 error"), (2, 1, "2 errors, 1 warning"), (0, 2, "2 warnings")],
)
def test_summary(errors: int, warnings: int, expected: str) -> None:
    found: list[Diagnostic] = [BAD.at(None, "x")] * errors + [ODD.at(None, "x")] * warnings
    assert summary(found) == expected


def test_json() -> None:
    text = "mcd 1\nspan ä = b"
    found = BAD.at(place(text, "ä"), "no", help="do", related=[Related(place(text, "b"), "see")])
    assert json.loads(render_json([found, ODD.at(DataPlace("d", 3), "x"), ODD.at(DataPlace("d"), "y")])) == {
        "version": 1,
        "diagnostics": [
            {
                "code": "MCD199",
                "name": "bad",
                "severity": "error",
                "message": "no",
                "help": "do",
                "path": "a.mcd",
                "start": {"offset": 11, "line": 2, "column": 6},
                "end": {"offset": 12, "line": 2, "column": 7},
                "related": [
                    {
                        "message": "see",
                        "path": "a.mcd",
                        "start": {"offset": 15, "line": 2, "column": 10},
                        "end": {"offset": 16, "line": 2, "column": 11},
                    }
                ],
            },
            *(
                {
                    "code": "MCD198",
                    "name": "odd",
                    "severity": "warning",
                    "message": message,
                    "help": None,
                    "path": "d",
                    "start": point,
                    "end": point,
                    "related": [],
                }
                for message, point in [("y", None), ("x", {"offset": None, "line": 3, "column": None})]
            ),
        ],
    }
