"""What a finding looks like, in each of the forms."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from mcd.dsl.diagnostics import Applicability, Code, Diagnostic, Related, Severity, replacing
from mcd.dsl.render import (
    WIDTH,
    render_concise,
    render_github,
    render_json,
    render_junit,
    render_sarif,
    render_text,
    summary,
)
from mcd.dsl.render.sarif import fingerprint
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
        "1 error in 1 file\n"
    )


def test_nothing_to_say() -> None:
    assert render_text([]) == ""
    assert render_concise([]) == render_github([]) == ""
    empty = {"version": 1, "diagnostics": [], "files": ["a.mcd"], "summary": {"errors": 0, "warnings": 0}}
    assert json.loads(render_json([], ["a.mcd"])) == empty


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


def test_the_summary_counts_files() -> None:
    found = [BAD.at(place("x", "x", path), "no") for path in ("a.mcd", "b.mcd", "a.mcd")]
    assert summary(found) == "3 errors in 2 files"
    assert summary([ODD.at(DataPlace("d", 3), "x"), ODD.at(None, "x")]) == "2 warnings in 1 file"


def test_json() -> None:
    text = "mcd 1\nspan ä = b"
    fix = replacing(place(text, "ä"), "a", Applicability.MAYBE)
    found = BAD.at(place(text, "ä"), "no", help="do", related=[Related(place(text, "b"), "see")], fixes=[fix])
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
                "fixes": [
                    {
                        "title": "replace `ä` with `a`",
                        "applicability": "maybe",
                        "edits": [
                            {
                                "path": "a.mcd",
                                "start": {"offset": 11, "line": 2, "column": 6},
                                "end": {"offset": 12, "line": 2, "column": 7},
                                "text": "a",
                            }
                        ],
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
                    "fixes": [],
                }
                for message, point in [("y", None), ("x", {"offset": None, "line": 3, "column": None})]
            ),
        ],
        "files": [],
        "summary": {"errors": 1, "warnings": 2},
    }


SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"


def all_kinds() -> list[Diagnostic]:
    """Findings of every shape: with and without a place, help, other places and fixes, over lines, in data."""
    text = "mcd 1\nspan ä = b\nweigh c {\n}\n"
    fix = replacing(place(text, "ä"), "a")
    return [
        BAD.at(place(text, "ä"), "no", help="do, or: not", related=[Related(place(text, "b"), "see")], fixes=[fix]),
        ODD.at(place(text, "weigh c {\n}", "b c/ü.mcd"), "100% of\r\nit"),
        ODD.at(place(text, ""), "nothing there"),
        BAD.at(DataPlace("data/a,b.jsonl", 3), "no"),
        BAD.at(DataPlace("data/a:b.jsonl"), "no"),
        replace(ODD.at(None, "nowhere"), level=Severity.ERROR),
    ]


@pytest.mark.parametrize(("name", "render"), [("check", render_json), ("sarif", render_sarif)], ids=["JSON", "SARIF"])
def test_stable_surfaces_follow_their_schemas(name: str, render: object) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for found in (all_kinds(), []):
        rendered = json.loads(render(found, ["a.mcd", "b c/ü.mcd"]))
        validator.validate(rendered)
        for broken in without_one(rendered):
            assert not validator.is_valid(broken) or found == []


def without_one(rendered: dict) -> Iterator[dict]:
    """The object without each of the fields that it must have at its top, and with one that nobody knows."""
    yield from ({name: value for name, value in rendered.items() if name != left_out} for left_out in rendered)
    yield {**rendered, "unheard_of": 1}


def test_concise() -> None:
    lines = render_concise(all_kinds()).splitlines()
    assert lines == [
        "error[MCD198]: nowhere",
        "a.mcd:1:1: warning[MCD198]: nothing there",
        "a.mcd:2:6: error[MCD199]: no",
        "b c/ü.mcd:3:1: warning[MCD198]: 100% of\\r\\nit",
        "data/a,b.jsonl:3: error[MCD199]: no",
        "data/a:b.jsonl: error[MCD199]: no",
        "4 errors, 2 warnings in 4 files",
    ]


def test_github_escapes_what_its_commands_are_made_of() -> None:
    assert render_github(all_kinds()).splitlines() == [
        "::error title=MCD198 odd::nowhere",
        "::warning file=a.mcd,line=1,endLine=1,col=1,endColumn=1,title=MCD198 odd::nothing there",
        "::error file=a.mcd,line=2,endLine=2,col=6,endColumn=6,title=MCD199 bad::no%0Ahelp: do, or: not",
        "::warning file=b c/ü.mcd,line=3,endLine=4,title=MCD198 odd::100%25 of\\r\\nit",
        "::error file=data/a%2Cb.jsonl,line=3,title=MCD199 bad::no",
        "::error file=data/a%3Ab.jsonl,title=MCD199 bad::no",
    ]


def test_junit_has_a_case_per_file() -> None:
    found = [*all_kinds(), ODD.at(place("x", "x", "only.mcd"), "a \x1b bell")]
    suite = ElementTree.fromstring(render_junit(found, ["a.mcd", "clean.mcd", "only.mcd"]))
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert list(cases)[:3] == ["a.mcd", "clean.mcd", "only.mcd"]
    assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), "4")
    assert list(cases["clean.mcd"]) == []
    failure = cases["a.mcd"].find("failure")
    assert failure is not None and failure.get("message") == "1 error, 1 warning in 1 file"
    assert "a.mcd:2:6: error[MCD199]: no" in (failure.text or "")
    assert cases["only.mcd"].find("failure") is None
    assert "only.mcd:1:1: warning[MCD198]: a \\u{1B} bell" in (cases["only.mcd"].findtext("system-out") or "")


def test_a_fingerprint_survives_what_moves_its_line() -> None:
    here, there = (BAD.at(place(f"{above}span a = b", "a ="), "no") for above in ("", "# more\n\n"))
    assert fingerprint(here) == fingerprint(there)
    others = [BAD.at(place("span a  = b", "a "), "no"), BAD.at(place("span a = b", "a"), "not"), ODD.at(None, "no")]
    assert len({fingerprint(found) for found in [here, *others]}) == 4


def test_of_many_findings_the_first_are_shown() -> None:
    source = SourceText("x.mcd", "a\n" * 700)
    found = [BAD.at(Place(source, 2 * i, 2 * i + 1), f"number {i}") for i in range(700)]
    lines = render_text(found).splitlines()
    assert sum(line.startswith("error") for line in lines) == 500
    assert lines[-3:] == ["and 200 more, which every other form lists", "", "700 errors in 1 file"]
    assert len(render_concise(found).splitlines()) == 701
