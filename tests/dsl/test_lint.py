"""What is dubious in a spec: small programs, each with its warnings on their lines, in the form of test_check.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcd.dsl.check import examine
from mcd.dsl.codes import CODES
from mcd.dsl.codes.names import UNUSED_IMPORT
from mcd.dsl.diagnostics import Applicability, Severity
from mcd.dsl.lint import lint
from mcd.dsl.source import Place

from .test_check import EXPECTED, FILES, assert_found, programs, whole

DATA = Path(__file__).parent / "data" / "lint"
MORE = {
    "words.mcd": 'mcd 1\nspan word = phrases("a")\nlet _own = 1\n',
    "acts.mcd": 'mcd 1\nimport "lib.mcd" as own\n',
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lint")
    for name, text in (FILES | MORE).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


PROGRAMS = list(programs(DATA))


def linted(spec: Path) -> list:
    checked = examine(spec, modules=True)
    lint(checked)
    return checked.findings.items


@pytest.mark.parametrize(("title", "text"), PROGRAMS, ids=[title for title, _ in PROGRAMS])
def test_program(root: Path, title: str, text: str) -> None:
    spec = root / "spec.mcd"
    spec.write_text(whole(title, text))
    items = linted(spec)
    assert all(isinstance(item.place, Place) for item in items), items
    assert_found(spec, [item for item in items if item.place.source.path == "spec.mcd"])


def test_lint_gives_warnings_alone() -> None:
    codes = {code for path in DATA.glob("*.txt") for code, _, _ in EXPECTED.findall(path.read_text())} - {"MCD114"}
    assert {CODES[code].severity for code in codes} == {Severity.WARNING}


def test_an_import_without_concepts_leaves_for_certain(root: Path) -> None:
    """With a concept it may not: two files that share an anchor's name share the anchor."""
    spec = root / "spec.mcd"
    (root / "quiet.mcd").write_text("mcd 1\nconcept c { anchor = orthonormal }\n")
    spec.write_text(whole("", '## what it is\nimport "words.mcd" as words\nimport "quiet.mcd" as quiet  # kept\n'))
    sure, unsure = (item.fixes[0] for item in linted(spec) if item.code is UNUSED_IMPORT)
    assert sure.title == "remove the import `words`" and sure.applicability is Applicability.CERTAIN
    assert [edit.place.text for edit in sure.edits] == ['## what it is\nimport "words.mcd" as words\n']
    assert unsure.applicability is Applicability.MAYBE
    assert [edit.place.text for edit in unsure.edits] == ['import "quiet.mcd" as quiet']
