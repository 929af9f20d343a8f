"""`mcd fmt`: what it writes, what it prints, and how it exits."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mcd.cli.main import mcd

MESSY = "mcd 1\nspan a=b # note\n"
TIDY = "mcd 1\nspan a = b  # note\n"
WRONG = "mcd 1\nspan a = = b\n"


def run(*arguments: object, stdin: bytes | str | None = None) -> Result:
    return CliRunner().invoke(mcd, ["fmt", *map(str, arguments)], input=stdin, env={"MCD_DEBUG": "1"})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def test_files_and_folders() -> None:
    one, two, three = file("a.mcd", MESSY), file("specs/deep/b.mcd", MESSY), file("specs/c.mcd", TIDY)
    hidden, other = file("specs/.hidden/d.mcd", MESSY), file("specs/e.txt", MESSY)
    result = run("specs", "a.mcd", "specs/deep")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "formatted specs/deep/b.mcd\nformatted a.mcd\n", "")
    assert [path.read_text() for path in (one, two, three)] == [TIDY] * 3
    assert [path.read_text() for path in (hidden, other)] == [MESSY] * 2
    result = run("specs", "a.mcd")
    assert (result.exit_code, result.output) == (0, "")


def test_line_ends_become_line_feeds() -> None:
    path = file("a.mcd", TIDY.replace("\n", "\r\n"))
    assert run(path).exit_code == 0
    assert path.read_bytes() == TIDY.encode()


def test_what_is_tidy_is_not_written() -> None:
    path = file("a.mcd", TIDY)
    before = path.stat()
    assert run(path).exit_code == 0
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_mode_stays_and_a_link_stays_a_link(folder: Path) -> None:
    path = file("real/a.mcd", MESSY)
    path.chmod(0o640)
    link = Path("link.mcd")
    link.symlink_to(path)
    assert run(link, path).stdout == "formatted link.mcd\n"
    assert link.is_symlink() and path.read_text() == TIDY
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(found.name for found in folder.rglob("*")) == ["a.mcd", "link.mcd", "real"]


def test_syntax_errors_leave_a_file_alone() -> None:
    wrong, messy = file("a.mcd", WRONG), file("b.mcd", MESSY)
    result = run(".")
    assert result.exit_code == 1
    assert result.stdout == "formatted b.mcd\n"
    assert result.stderr.startswith("error[MCD101]: expected a value after `=`, found `=`\n --> a.mcd:2:10\n")
    assert (wrong.read_text(), messy.read_text()) == (WRONG, TIDY)


def test_check() -> None:
    path = file("a.mcd", MESSY)
    file("b.mcd", TIDY)
    result = run("--check", ".")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "would format a.mcd\n", "")
    assert path.read_text() == MESSY
    assert run("--check", "b.mcd").exit_code == 0


def test_diff() -> None:
    path = file("a.mcd", MESSY.rstrip("\n"))
    result = run("--diff", path)
    assert result.exit_code == 1
    assert result.stdout == (
        "--- a.mcd\n+++ a.mcd\n@@ -1,2 +1,2 @@\n mcd 1\n"
        "-span a=b # note\n\\ No newline at end of file\n+span a = b  # note\n"
    )
    assert run("--diff", "--check", path).stdout == result.stdout + "would format a.mcd\n"
    assert path.read_text() == MESSY.rstrip("\n")


def test_standard_input() -> None:
    assert run("-", stdin=MESSY).output == TIDY
    assert run("-", stdin=TIDY).output == TIDY
    assert run("-", stdin=b"\xef\xbb\xbfmcd 1\r\n").output == "mcd 1\n"


def test_standard_input_with_options() -> None:
    result = run("-", "--check", "--stdin-filename", "x.mcd", stdin=MESSY)
    assert (result.exit_code, result.output) == (1, "would format x.mcd\n")
    result = run("-", "--check", stdin=TIDY)
    assert (result.exit_code, result.output) == (0, "")
    assert run("-", "--diff", stdin=MESSY).stdout.startswith("--- <stdin>\n+++ <stdin>\n")


def test_standard_input_that_is_wrong() -> None:
    result = run("-", "--stdin-filename", "x.mcd", stdin=WRONG)
    assert (result.exit_code, result.stdout) == (1, "")
    assert " --> x.mcd:2:10\n" in result.stderr
    result = run("-", stdin=b"mcd 1\n# \xe9\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error[MCD111]")


def test_a_missing_file_does_not_stop_the_others() -> None:
    path = file("b.mcd", MESSY)
    result = run("a.mcd", path)
    assert result.exit_code == 1
    assert "no file `a.mcd`" in result.stderr
    assert path.read_text() == TIDY


@pytest.mark.parametrize("arguments", [[], ["-", "a.mcd"], ["--nope", "a.mcd"]])
def test_usage(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_file_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    path = file("a.mcd", MESSY)

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "replace", refuse)
    result = run(path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error[MCD120]: cannot write `a.mcd`: Permission denied\n --> a.mcd\n")
    assert path.read_text() == MESSY
    assert [found.name for found in folder.iterdir()] == ["a.mcd"]
