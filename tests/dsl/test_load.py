"""The files of a spec: the root, what stays below it, imports."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcd.dsl import load as module
from mcd.dsl.check import check
from mcd.dsl.codes import names as codes
from mcd.dsl.codes.syntax import NOT_UTF8
from mcd.dsl.diagnostics import Diagnostic, Findings, Severity
from mcd.dsl.load import File, Loaded, find_root, load
from mcd.dsl.source import DataPlace, Place


def write(root: Path, **files: str) -> Path:
    """Write files of those names, `main` first, and give its path."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.mcd"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mcd 1\n{text}\n")
    return root / f"{next(iter(files)).replace('__', '/')}.mcd"


def loaded(path: Path) -> Loaded:
    findings = Findings()
    found = load(path, findings)
    assert found is not None
    assert findings.items == []
    return found


def only(path: Path) -> Diagnostic:
    findings = Findings()
    load(path, findings)
    (found,) = findings.items
    return found


def marked(found: Diagnostic) -> tuple[str, str]:
    assert isinstance(found.place, Place)
    return found.place.source.path, found.place.text


@pytest.mark.parametrize("mark", ["mcd.toml", "pyproject.toml"])
def test_root_is_the_nearest_marked_folder(tmp_path: Path, mark: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "mcd.toml").touch()
    (tmp_path / "a" / mark).touch()
    assert find_root(tmp_path / "a" / "b" / "x.mcd") == tmp_path / "a"


def test_without_a_mark_the_root_is_the_folder_of_the_spec(tmp_path: Path) -> None:
    path = write(tmp_path, sub__main='import "../other.mcd" as other', other="")
    found = only(path)
    assert found.code is codes.OUTSIDE_ROOT
    assert marked(found) == ("main.mcd", '"../other.mcd"')


def test_a_file_is_loaded_once_and_known_by_its_shortest_chain(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        main='import "b.mcd" as b\nimport "lib/../a.mcd" as z\nimport "a.mcd" as a',
        a='import "c.mcd" as c',
        b='import "a.mcd" as a\nimport "lib/d.mcd" as d',
        c="",
        lib__d='import "../a.mcd" as up',
    )
    found = loaded(path)
    assert [(file.source.path, file.prefix) for file in found.files] == [
        ("main.mcd", ""),
        ("a.mcd", "a."),
        ("b.mcd", "b."),
        ("c.mcd", "a.c."),
        ("lib/d.mcd", "b.d."),
    ]
    assert {alias: file.prefix for alias, file in found.files[0].imports.items()} == {"a": "a.", "b": "b.", "z": "a."}


def test_prefixes_do_not_depend_on_the_order_of_imports(tmp_path: Path) -> None:
    first = write(tmp_path / "x", main='import "a.mcd" as a\nimport "a.mcd" as b', a="")
    second = write(tmp_path / "y", main='import "a.mcd" as b\nimport "a.mcd" as a', a="")
    assert [file.prefix for file in loaded(first).files] == [file.prefix for file in loaded(second).files]


def test_import_cycle_shows_its_chain(tmp_path: Path) -> None:
    path = write(tmp_path, main='import "a.mcd" as a', a='import "b.mcd" as b', b='import "a.mcd" as back')
    found = only(path)
    assert found.code is codes.IMPORT_CYCLE
    assert found.message == "import cycle: a.mcd -> b.mcd -> a.mcd"
    assert marked(found) == ("b.mcd", '"a.mcd"')


def test_import_of_itself(tmp_path: Path) -> None:
    found = only(write(tmp_path, main='import "main.mcd" as me'))
    assert (found.code, found.message) == (codes.IMPORT_CYCLE, "import cycle: main.mcd -> main.mcd")


def test_two_circles_are_two_findings(tmp_path: Path) -> None:
    path = write(tmp_path, main='import "a.mcd" as a', a='import "a.mcd" as a\nimport "main.mcd" as b')
    findings = Findings()
    load(path, findings)
    assert sorted(item.message for item in findings.items) == [
        "import cycle: a.mcd -> a.mcd",
        "import cycle: main.mcd -> a.mcd -> main.mcd",
    ]


def test_symlinked_import_leaves_the_root(tmp_path: Path) -> None:
    path = write(tmp_path / "project", main='import "link.mcd" as x')
    write(tmp_path, outside="")
    (tmp_path / "project" / "link.mcd").symlink_to(tmp_path / "outside.mcd")
    found = only(path)
    assert (found.code, found.message) == (codes.OUTSIDE_ROOT, "`link.mcd` leaves the project root")


@pytest.mark.parametrize("name", ["nul\\u{0}byte", "x" * 5000, "loop.mcd"])
def test_paths_that_are_none(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, main=f'import "{name}" as x')
    (tmp_path / "loop.mcd").symlink_to("loop.mcd")
    findings = Findings()
    load(path, findings)
    assert findings.failed


def test_missing_import_suggests_near_names(tmp_path: Path) -> None:
    found = only(write(tmp_path, main='import "lgic.mcd" as x', logic="", z=""))
    assert (found.code, found.message) == (codes.NO_FILE, "no file `lgic.mcd`")
    assert found.help is not None and "`logic.mcd`" in found.help


def test_import_from_a_missing_folder(tmp_path: Path) -> None:
    found = only(write(tmp_path, main='import "lib/logic.mcd" as x'))
    assert found.help == "there is no folder `lib`"


def test_missing_root_file(tmp_path: Path) -> None:
    program, findings = check(tmp_path / "main.mcd")
    assert program is None
    assert [item.code for item in findings.items] == [codes.NO_FILE]
    assert isinstance(findings.items[0].place, DataPlace)


def test_import_that_is_no_text(tmp_path: Path) -> None:
    path = write(tmp_path, main='import "a.mcd" as a')
    (tmp_path / "a.mcd").write_bytes(b"mcd 1\n\xff")
    found = only(path)
    assert (found.code, found.place) == (NOT_UTF8, DataPlace("a.mcd", 2))


def test_number_of_files_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 2)
    path = write(tmp_path, main='import "a.mcd" as a\nimport "b.mcd" as b\nimport "c.mcd" as c', a="", b="", c="")
    findings = Findings()
    load(path, findings)
    assert [item.code for item in findings.items] == [codes.TOO_MANY_FILES] * 2


def test_a_long_chain_of_imports_needs_no_recursion(tmp_path: Path) -> None:
    files = {f"f{i}": f'import "f{i + 1}.mcd" as n' for i in range(500)}
    path = write(tmp_path, **files, f500='import "f0.mcd" as n')
    findings = Findings()
    load(path, findings)
    assert [item.code for item in findings.items] == [codes.IMPORT_CYCLE]


def test_syntax_error_in_an_import_silences_its_missing_names(tmp_path: Path) -> None:
    path = write(tmp_path, main='import "a.mcd" as a\nweigh a.word { factor = 2 }', a='span word = phrases("x"')
    findings = check(path)[1]
    assert {item.code.id for item in findings.items} & {codes.UNKNOWN_NAME.id} == set()


def test_declarations_that_count_in_the_root_alone(tmp_path: Path) -> None:
    ignored = "source s = [{t: 1}] { text = .t }\ngradient { stop = 99 }\nexpect coverage(tokens) > 0"
    path = write(tmp_path, main='import "a.mcd" as a', a=ignored)
    warned = [item for item in check(path)[1].items if item.code is codes.ROOT_ONLY]
    assert [marked(item) for item in warned] == [("a.mcd", "source"), ("a.mcd", "gradient"), ("a.mcd", "expect")]
    assert all(item.severity is Severity.WARNING for item in warned)


def test_a_span_of_an_ignored_source_does_not_vanish(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        main='import "a.mcd" as a',
        a="source s = [{t: 1}] { text = .t }\nspan x of s = slot(.t)\nweigh x { factor = 2 }",
    )
    found = [item for item in check(path)[1].items if item.code is codes.UNKNOWN_NAME]
    assert [marked(item) for item in found] == [("a.mcd", "s")]


def test_files_compare_by_identity(tmp_path: Path) -> None:
    found = loaded(write(tmp_path, main=""))
    assert isinstance(found.files[0], File)
    assert found.files[0].path == Path(os.path.realpath(tmp_path / "main.mcd"))
