"""What a project says about the check, and what is wrong with how it says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcd.dsl.codes import CODES, named, project
from mcd.dsl.diagnostics import Diagnostic, Findings, Severity
from mcd.dsl.lint.project import Project, matches, overridden, read_project
from mcd.dsl.source import Place

UNUSED = CODES["MCD231"]
IMPORT = CODES["MCD230"]


def read(folder: Path, **files: str) -> tuple[Project, list[Diagnostic]]:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    findings = Findings()
    return read_project(folder, findings), findings.items


def test_levels(tmp_path: Path) -> None:
    text = """[check]
error = ["unused-declaration"]
allow = ["MCD230"]
per-file-allow = { "generated/**" = ["unused-declaration"] }
exclude = ["build"]
"""
    found, wrong = read(tmp_path, mcd=text)
    assert wrong == []
    assert found.level(UNUSED, tmp_path / "a.mcd") == "error"
    assert found.level(IMPORT, tmp_path / "a.mcd") == "allow"
    assert found.level(CODES["MCD340"], None) == "warn"
    assert found.level(UNUSED, tmp_path / "generated" / "deep" / "a.mcd") == "allow"
    assert found.exclude == ("build",)


def test_every_warning_an_error(tmp_path: Path) -> None:
    found, wrong = read(tmp_path, mcd='[check]\nerror = "all"\nwarn = "unused-import"\n')
    assert wrong == []
    assert (found.level(UNUSED, None), found.level(IMPORT, None)) == ("error", "warn")


def test_the_command_line_wins(tmp_path: Path) -> None:
    found, _ = read(tmp_path, mcd='[check]\nwarn = ["MCD230"]\nallow = ["MCD231"]\n')
    strict = overridden(found, {}, True)
    assert (strict.level(IMPORT, None), strict.level(UNUSED, None)) == ("error", "allow")
    assert overridden(found, {UNUSED.id: "error"}, False).level(UNUSED, None) == "error"


def test_pyproject(tmp_path: Path) -> None:
    found, wrong = read(tmp_path, pyproject='[tool.mcd.check]\nallow = ["MCD231"]\n[tool.other]\nx = 1\n', mcd="")
    assert (found.level(UNUSED, None), wrong) == ("allow", [])


def test_mcd_toml_wins_and_says_so(tmp_path: Path) -> None:
    found, (only,) = read(
        tmp_path, pyproject='[tool.mcd.check]\nallow = ["MCD231"]\n', mcd='[check]\nallow = ["MCD230"]\n'
    )
    assert (found.level(UNUSED, None), found.level(IMPORT, None)) == ("warn", "allow")
    assert only.code is project.TWO_PROJECTS
    assert isinstance(only.place, Place) and only.place.source.path == "pyproject.toml"


def test_no_project(tmp_path: Path) -> None:
    assert read(tmp_path) == (Project(tmp_path), [])


@pytest.mark.parametrize(
    ("text", "code", "marked", "message"),
    [
        ("[check]\nallow = [", project.BAD_PROJECT, "", "`mcd.toml` is no TOML: "),
        ("[check]\na = 1\na = 2\n", project.BAD_PROJECT, None, "`mcd.toml` is no TOML: "),
        ("[chekc]\nallow = []\n", project.UNKNOWN_KEY, "[chekc]", "`mcd.toml` has no key `chekc`"),
        ("[check]\nalow = []\n", project.UNKNOWN_KEY, "alow", "[check] has no key `alow`"),
        ("check.alow = []\n", project.UNKNOWN_KEY, "check.alow", "[check] has no key `alow`"),
        (
            '[check]\nallow = [\n  "MCD231",\n  "unused-decl",\n]\n',
            project.UNKNOWN_CODE,
            '"unused-decl"',
            "`unused-decl`",
        ),
        ("[check]\nallow = ['MCD999']\n", project.UNKNOWN_CODE, "'MCD999'", "no finding is called `MCD999`"),
        (
            '[check]\nallow = ["syntax"]\n',
            project.NO_WARNING,
            '"syntax"',
            "`syntax` is an error, which cannot be allowed",
        ),
        ('[check]\nwarn = ["MCD101"]\n', project.NO_WARNING, '"MCD101"', "cannot be a warning"),
        ("[check]\nallow = 1\n", project.BAD_PROJECT, "allow", "`allow` takes a list of strings, found int"),
        ('[check]\nexclude = ["a", 1]\n', project.BAD_PROJECT, "exclude", "`exclude` takes a list of strings"),
        ("check = 1\n", project.BAD_PROJECT, "check", "`check` is a table, found int"),
        ("[check]\nper-file-allow = 1\n", project.BAD_PROJECT, "per-file-allow", "is a table of patterns, found int"),
        ('[check.per-file-allow]\n"a/*" = ["nothing"]\n', project.UNKNOWN_CODE, '"nothing"', "no finding is called"),
        (
            '[check]\nerror = ["MCD231"]\nallow = ["MCD231"]\n',
            project.BAD_PROJECT,
            '"MCD231"',
            "`allow` and in `error`",
        ),
    ],
)
def test_what_is_wrong_has_its_place(tmp_path: Path, text: str, code: object, marked: str | None, message: str) -> None:
    _, (only,) = read(tmp_path, mcd=text)
    assert isinstance(only.place, Place)
    assert (only.code, only.place.source.path) == (code, "mcd.toml")
    assert marked is None or only.place.text == marked
    assert message in only.message


def test_a_place_in_pyproject(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\nallow = "unused-decl"\n\n[tool.mcd.check]\nallow = ["unused-decl"]\n'
    _, (only,) = read(tmp_path, pyproject=text)
    assert isinstance(only.place, Place)
    assert only.place.source.position(only.place.start) == (6, 10)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a.mcd", "a.mcd", True),
        ("a.mcd", "b/a.mcd", True),
        ("*.mcd", "b/c/a.mcd", True),
        ("b/*.mcd", "b/a.mcd", True),
        ("b/*.mcd", "b/c/a.mcd", False),
        ("b/**/*.mcd", "b/c/d/a.mcd", True),
        ("b/**/*.mcd", "b/a.mcd", True),
        ("./b", "b/a.mcd", True),
        ("b/", "x/b/a.mcd", True),
        ("/b/c", "b/c/a.mcd", True),
        ("b/c", "x/b/c/a.mcd", False),
        ("?.mcd", "ab.mcd", False),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "aXcYb", False),
        ("**", "a.mcd", True),
        ("*" * 60 + "x", "a" * 200, False),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


def test_names_of_warnings_tell_them_apart() -> None:
    warnings = [code for code in CODES.values() if code.severity is Severity.WARNING]
    assert all(named(code.name) == [code] and named(code.id) == [code] for code in warnings)
