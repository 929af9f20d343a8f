"""Fixes: the certain ones make of a program what its author meant, and end their findings; the others are offered."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcd.dsl.check import examine
from mcd.dsl.diagnostics import Applicability, Code, Diagnostic, Edit, Findings, Fix
from mcd.dsl.fixes import applied, certain_fixes
from mcd.dsl.lint.sweep import Wanted, repair, sweep
from mcd.dsl.parse import parse
from mcd.dsl.source import Place, SourceText

from .test_check import FILES, MODEL, SOURCE
from .test_parse_errors import CASES as SYNTAX
from .test_parse_errors import program

CASES = [
    tuple(case.split("\n=>\n"))
    for case in (Path(__file__).parent / "data" / "fixes.txt").read_text("utf-8").partition("===\n")[2].split("\n---\n")
]
BAD = Code("MCD199", "bad", "Something bad.")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fixes")
    for name, text in (FILES | {"words.mcd": 'mcd 1\nspan word = phrases("a")\n'}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(("before", "after"), CASES, ids=[before.split("\n", 1)[-1][:40] for before, _ in CASES])
def test_certain_fixes(root: Path, before: str, after: str) -> None:
    spec = root / "spec.mcd"
    spec.write_text(before.rstrip("\n") + "\n" + MODEL + SOURCE)
    swept, changed = repair([spec], Wanted())
    assert changed.get(spec, spec.read_text()).replace(MODEL + SOURCE, "").rstrip("\n") == after.rstrip("\n")
    assert not any(found.certain for found in swept.findings())
    if before != after:
        assert repair([spec], Wanted(), changed)[1] == {}


@pytest.mark.parametrize("case", SYNTAX, ids=lambda case: case.split("\n")[0])
def test_a_certain_fix_ends_its_finding(case: str) -> None:
    """In every program with syntax errors, one fix at a time: the finding goes, and no more come than went."""
    text, path = program(case), Path("/case.mcd")
    before = parsed(text, path)
    for found in before:
        fixed = certain_fixes([found], [path]).get(path)
        if fixed is not None:
            after = parsed(fixed, path)
            assert len(after) < len(before) or [said(item) for item in after] != [said(item) for item in before]
            assert said(found) not in [said(item) for item in after] or fixed.count("\n") != text.count("\n")


def parsed(text: str, path: Path) -> list[Diagnostic]:
    findings = Findings()
    parse(SourceText("case.mcd", text, path), findings)
    return findings.items


def said(found: Diagnostic) -> tuple[str, str, int]:
    assert isinstance(found.place, Place)
    return found.code.id, found.message, found.place.source.position(found.place.start)[0]


def test_a_near_name_is_offered_and_not_certain(root: Path) -> None:
    spec = root / "spec.mcd"
    spec.write_text("mcd 1\nspan mention = tokens\nlet strength = 2\nweigh b: mentoin { factor = $strenght }\n")
    (spec.parent / "spec.mcd").write_text(spec.read_text() + MODEL + SOURCE)
    offered = [fix for found in examine(spec).findings.items for fix in found.fixes]
    assert {(fix.edits[0].place.text, fix.edits[0].text) for fix in offered} == {
        ("mentoin", "mention"),
        ("$strenght", "$strength"),
    }
    assert {fix.applicability for fix in offered} == {Applicability.MAYBE}


def place(source: SourceText, start: int, end: int) -> Place:
    return Place(source, start, end)


def test_edits_are_made_together() -> None:
    source = SourceText("a.mcd", "one two three")
    edits = [Edit(place(source, 8, 13), "3"), Edit(place(source, 0, 3), "1"), Edit(place(source, 7, 7), ",")]
    assert applied(source.text, edits) == "1 two, 3"


def test_of_fixes_that_touch_the_first_is_made() -> None:
    path = Path("/a.mcd")
    source = SourceText("a.mcd", "one two three", path)

    def found(*edits: Edit, sure: Applicability = Applicability.CERTAIN) -> Diagnostic:
        return BAD.at(edits[0].place, "no", fixes=[Fix("do", edits, sure)])

    first = found(Edit(place(source, 0, 3), "1"), Edit(place(source, 8, 13), "3"))
    touching = found(Edit(place(source, 4, 7), "2"), Edit(place(source, 3, 4), "-"))
    apart = found(Edit(place(source, 4, 7), "2"))
    unsure = found(Edit(place(source, 4, 7), "two!"), sure=Applicability.MAYBE)
    assert certain_fixes([first, touching, unsure, apart], [path]) == {path: "1 2 3"}
    assert certain_fixes([first], [Path("/b.mcd")]) == {}


def test_only_what_was_named_is_changed(root: Path) -> None:
    """A fix in an imported file waits until that file is named."""
    (root / "slip.mcd").write_text("mcd 1\nspan a = phrases('a')\n")
    spec = root / "spec.mcd"
    spec.write_text('mcd 1\nimport "slip.mcd" as slip\nweigh slip.a { factor = 2 }\n' + MODEL + SOURCE)
    assert sweep([spec], Wanted()).findings() != []
    assert repair([spec], Wanted())[1] == {}
    swept, changed = repair([spec, root / "slip.mcd"], Wanted())
    assert changed == {root / "slip.mcd": 'mcd 1\nspan a = phrases("a")\n'}
    assert swept.findings() == []
