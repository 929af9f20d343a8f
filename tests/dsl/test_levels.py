"""What comments, projects and baselines make of findings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcd.dsl.codes import project
from mcd.dsl.diagnostics import Diagnostic, Failure, Severity
from mcd.dsl.lint.baseline import compared, written
from mcd.dsl.lint.sweep import Wanted, sweep
from mcd.dsl.source import Place

from .test_check import MODEL, SOURCE

TOKENIZER = '{"added_tokens": []}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mcd.toml").touch()
    (tmp_path / "tokenizer.json").write_text(TOKENIZER)
    (tmp_path / "data.jsonl").write_text("{}\n")
    return tmp_path


def findings(folder: Path, text: str, wanted: Wanted = Wanted()) -> list[Diagnostic]:  # noqa: B008
    spec = folder / "spec.mcd"
    spec.write_text(text if "\nmcd 1" in text else f"mcd 1\n{text}{MODEL}{SOURCE}")
    return sweep([spec], wanted).findings()


def said(found: list[Diagnostic]) -> list[tuple[str, str]]:
    return [(item.code.id, item.place.text if isinstance(item.place, Place) else "") for item in found]


@pytest.mark.parametrize(
    "text",
    [
        "span a = tokens  # mcd: allow unused-declaration\n",
        "span a = tokens  # mcd: allow MCD231\n",
        "span a = tokens # mcd:allow MCD230 MCD231 -- soon, see #3\n",
        "# mcd: allow unused-declaration -- one day\nspan a = tokens\n",
        "# mcd: allow unused-declaration\n\n## doc\n# more\nspan a =\n  tokens\n",
        "# mcd: allow-file unused-declaration\nspan a = tokens\nspan b = tokens\n",
        "frame f(t: span) {\n  # mcd: allow MCD231\n  span _a =\n    $t\n  weigh $t { factor = 2 }\n}\nuse f(tokens) as u\n",
        'span x = phrases("# mcd: nothing")\nweigh x { factor = 2 }\n',
    ],
)
def test_a_comment_lets_pass(folder: Path, text: str) -> None:
    found = [item for item in said(findings(folder, text)) if item[0] != "MCD255"]
    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # For its line alone, and for what stands below it alone.
        ("span a = tokens\n# mcd: allow MCD231\nspan b = tokens\n", [("MCD231", "a")]),
        ("span a = tokens # mcd: allow MCD231\nspan b = tokens\n", [("MCD231", "b")]),
        ("span a = # mcd: allow MCD231\n  tokens\n", []),
        ("span\n  a = tokens # mcd: allow MCD231\n", []),
        ("span # mcd: allow MCD231\n  a = tokens\n", [("MCD231", "a"), ("MCD255", "MCD231")]),
        # What it allows and does not come.
        (
            "weigh tokens { factor = 2 } # mcd: allow MCD231, unused-import\n",
            [("MCD255", "MCD231"), ("MCD255", "unused-import")],
        ),
        ("span a = tokens # mcd: allow MCD231, MCD230\n", [("MCD255", "MCD230")]),
        ("weigh tokens { factor = 2 } # mcd: allow MCD231, unused-allow\n", []),
        ("# mcd: allow MCD231\n", [("MCD255", "MCD231")]),
        # What is no such comment.
        ("span a = tokens # mcd: allw MCD231\n", [("MCD231", "a"), ("MCD256", "# mcd: allw MCD231")]),
        ("span a = tokens # mcd: allow -- why\n", [("MCD231", "a"), ("MCD256", "# mcd: allow -- why")]),
        ("span a = tokens\n# mcd: allow-file MCD231\n", [("MCD231", "a"), ("MCD256", "# mcd: allow-file MCD231")]),
        ("span a = tokens # mcd: allow unusd\n", [("MCD231", "a"), ("MCD252", "unusd")]),
        ("span a = tokens # mcd: allow MCD101\n", [("MCD231", "a"), ("MCD253", "MCD101")]),
        ("# mcd: allow-file MCD231\nspan a = nothing\n", [("MCD209", "nothing")]),
        # Beside an error nothing is idle.
        ("span a = nothing # mcd: allow MCD340\nweigh a { factor = 2 }\n", [("MCD209", "nothing")]),
    ],
)
def test_what_a_comment_reaches(folder: Path, text: str, expected: list[tuple[str, str]]) -> None:
    assert sorted(said(findings(folder, text))) == sorted(expected)


def test_the_file_wide_form_may_stand_before_the_header(folder: Path) -> None:
    text = f"# mcd: allow-file unused-declaration\nmcd 1\nspan a = tokens\n{MODEL}{SOURCE}"
    assert findings(folder, text) == []


def test_an_import_is_let_pass_where_it_stands(folder: Path) -> None:
    """A comment is for its own file, and is idle only if no spec needs it."""
    (folder / "lib.mcd").write_text("mcd 1\nspan _a = tokens # mcd: allow MCD231\nweigh tokens { factor = 2 }\n")
    assert findings(folder, 'import "lib.mcd" as lib\n') == []


def test_findings_that_nobody_looked_for_leave_no_comment_idle(folder: Path) -> None:
    text = "weigh tokens { factor = 2 } # mcd: allow rule-not-seen\n"
    assert said(findings(folder, text)) == [("MCD255", "rule-not-seen")]
    assert findings(folder, text, Wanted(skipped=frozenset({"MCD351"}))) == []


def test_levels_of_a_project(folder: Path) -> None:
    text = "span a = tokens\nlet b = 1\nweigh tokens { factor = 1 }\n"
    levels = {item.code.id: item.severity for item in findings(folder, text)}
    assert set(levels.values()) == {Severity.WARNING} and set(levels) == {"MCD231", "MCD340"}
    (folder / "mcd.toml").write_text('[check]\nerror = ["silent-rule"]\nallow = ["unused-declaration"]\n')
    (only,) = findings(folder, text)
    assert (only.code.id, only.severity) == ("MCD340", Severity.ERROR)
    assert [item.severity for item in findings(folder, text, Wanted(strict=True))] == [Severity.ERROR]
    assert len(findings(folder, text, Wanted(levels={"MCD340": "allow", "MCD231": "warn"}))) == 2


def test_each_project_has_its_own_levels(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "mcd.toml").write_text('[check]\nallow = ["unused-declaration"]\n')
    for place in (folder, other):
        (place / "lib.mcd").write_text("mcd 1\nlet _a = 1\n")
    found = sweep([folder / "lib.mcd", other / "lib.mcd"], Wanted(base=folder)).findings()
    assert [item.place.source.path for item in found] == ["lib.mcd"]


# --- baselines


def test_a_baseline_takes_what_there_was(folder: Path) -> None:
    """Lines may move, and a finding that comes once more is new."""
    base = folder / "deep" / "baseline.json"
    before = findings(folder, "span a = tokens\nlet b = 1\n")
    base.parent.mkdir()
    base.write_text(written(before, base))
    entries = json.loads(base.read_text())["findings"]
    assert [(entry["path"], entry["code"], entry["line"], entry["count"]) for entry in entries] == [
        ("../spec.mcd", "MCD231", "let b = 1", 1),
        ("../spec.mcd", "MCD231", "span a = tokens", 1),
    ]
    checked = [folder / "spec.mcd"]
    moved = findings(folder, "# more\n\nspan a = tokens\n\n  \nlet b = 1\n")
    assert compared(moved, base, "baseline.json", checked) == ([], [])
    new = findings(folder, "span a = tokens\nlet b = 1\nlet c = 1\n")
    kept, stale = compared(new, base, "baseline.json", checked)
    assert (said(kept), stale) == ([("MCD231", "c")], [])


def test_a_baseline_tells_what_is_gone(folder: Path) -> None:
    base = folder / "baseline.json"
    base.write_text(written(findings(folder, "span a = tokens\nlet b = 1\n"), base))
    kept, (gone,) = compared(findings(folder, "span a = tokens\n"), base, "b.json", [folder / "spec.mcd"])
    assert kept == []
    assert gone.code is project.STALE_BASELINE and "`spec.mcd` has no MCD231 any more" in gone.message
    assert compared([], base, "b.json", [folder / "elsewhere.mcd"]) == ([], [])


def test_a_baseline_holds_no_errors(folder: Path) -> None:
    base = folder / "baseline.json"
    found = findings(folder, "span a = nothing\n", Wanted(strict=True))
    base.write_text(written(found, base))
    assert said(compared(found, base, "b.json", [folder / "spec.mcd"])[0]) == [("MCD209", "nothing")]
    raised = findings(folder, "span a = tokens\n", Wanted(strict=True))
    base.write_text(written(raised, base))
    assert [item.severity for item in raised] == [Severity.ERROR]
    assert compared(raised, base, "b.json", [folder / "spec.mcd"]) == ([], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read `b.json`"),
        ("{", "`b.json` is no JSON"),
        ("[" * 100_000, "`b.json` is no JSON"),
        ("[]", "`b.json` is no baseline of version 1"),
        ('{"version": 2, "findings": []}', "no baseline of version 1"),
        ('{"version": 1}', "an entry that is no finding"),
        ('{"version": 1, "findings": [{"path": "a"}]}', "an entry that is no finding"),
        ('{"version": 1, "findings": 3}', "an entry that is no finding"),
    ],
)
def test_what_is_no_baseline(tmp_path: Path, text: str | None, message: str) -> None:
    base = tmp_path / "b.json"
    if text is not None:
        base.write_text(text)
    with pytest.raises(Failure, match=message) as failure:
        compared([], base, "b.json", [])
    assert failure.value.diagnostics[0].code is project.BAD_BASELINE
