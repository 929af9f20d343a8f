"""Findings as one types: in every file of a spec, at the right columns, after quick edits, whatever the text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lsprotocol import types

from .client import Editor

UNKNOWN = "MCD209"


def test_a_clean_spec_has_none_in_any_of_its_files(editor: Editor, folder: Path) -> None:
    uri = editor.open(folder / "main.mcd")
    assert editor.codes(uri) == []
    assert editor.codes((folder / "lib" / "logic.mcd").as_uri()) == []


def test_an_error_comes_and_goes_with_a_keystroke(editor: Editor, folder: Path) -> None:
    uri = editor.open(folder / "main.mcd")
    editor.edit(uri, "weight = 0.5", "weigt = 0.5")
    assert editor.codes(uri) == ["MCD213 weigt"]
    found = editor.findings[uri][0]
    assert found.source == "mcd"
    assert found.severity is types.DiagnosticSeverity.Error
    assert found.message == "`attend` has no attribute `weigt`\nhelp: did you mean `weight`?"
    assert found.code_description is not None
    page = Path(found.code_description.href.removeprefix("file://"))
    assert page.name == "MCD213.md"
    assert page.is_file()
    editor.edit(uri, "weigt", "weight")
    assert editor.codes(uri) == []


def test_a_duplicate_shows_both_places(editor: Editor, folder: Path) -> None:
    uri = editor.open(folder / "main.mcd")
    editor.edit(uri, "span smile", "span answer")
    found = next(found for found in editor.findings[uri] if "declared twice" in found.message)
    assert found.related_information is not None
    (related,) = found.related_information
    assert related.location.uri == uri
    assert editor.text(uri, related.location.range) == "answer"
    assert related.location.range.start.line < found.range.start.line


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "utf-32"])
def test_columns_behind_an_emoji(encoding: str, folder: Path) -> None:
    """`span smile = phrases("🙂🙂", "🙃") | answr`: 31 plain characters and 3 emoji, of 2 UTF-16 units or 4 bytes each."""
    editor = Editor(encoding)
    try:
        assert editor.capabilities.position_encoding == encoding
        uri = editor.open(folder / "main.mcd")
        editor.edit(uri, '"🙃") | answer', '"🙃") | answr')
        assert editor.errors(uri) == [f"{UNKNOWN} answr"]
        column = {"utf-16": 37, "utf-8": 43, "utf-32": 34}[encoding]
        (found,) = [found for found in editor.findings[uri] if found.code == UNKNOWN]
        assert found.range.start.character == column
        editor.edit(uri, "🙂", "é🙂")
        editor.edit(uri, "answr", "answer")
        assert editor.codes(uri) == []
    finally:
        editor.stop()


def test_an_edit_between_the_halves_of_windows_lines_and_odd_separators(editor: Editor, folder: Path) -> None:
    """`\\r\\n` ends a line; a line separator (U+2028) in a string ends none, though Python's `splitlines` says so."""
    text = (folder / "main.mcd").read_text("utf-8").replace('"🙃"', '"a\u2028b"').replace("\n", "\r\n")
    uri = editor.open(folder / "main.mcd", text)
    editor.edit(uri, "| answer\r\n", "| answr\r\n")
    assert editor.errors(uri) == [f"{UNKNOWN} answr"]
    editor.edit(uri, "answr\r\nconcept", "answer\r\nconcept")
    assert editor.codes(uri) == []


def test_quick_edits_end_in_the_findings_of_the_last_text(editor: Editor, folder: Path) -> None:
    uri = editor.open(folder / "main.mcd")
    before = len(editor.heard)
    for old, new in [("pick = nearest", "pick = n"), ("pick = n", "pick = ne"), ("pick = ne", "pick = neares")]:
        editor.edit(uri, old, new, wait=False)
    editor.settle(uri)
    assert editor.codes(uri) == ["MCD303 neares"]
    versions = [params.version for params in editor.heard[before:] if params.uri == uri]
    assert versions == [editor.version], "edits without a pause are checked once"


def test_a_syntax_error_leaves_the_rest_checked(editor: Editor, folder: Path) -> None:
    uri = editor.open(folder / "main.mcd")
    editor.edit(uri, "span pronoun = mention where kind", "span pronoun = where kind")
    editor.edit(uri, "heads = any\n", "heads = [9]\n")
    assert editor.errors(uri) == ["MCD101 where", "MCD408 9"]


def test_the_checker_sees_unsaved_buffers_of_imported_files(editor: Editor, folder: Path) -> None:
    uri = editor.open(folder / "main.mcd")
    logic = editor.open(folder / "lib" / "logic.mcd")
    editor.edit(logic, "span reason", "span ground")
    assert editor.errors(logic) == [f"{UNKNOWN} reason"]
    editor.run(editor.until(lambda: editor.errors(uri) == [f"{UNKNOWN} logic.reason"]))
    editor.close(logic)
    editor.edit(uri, "mass = 0.6", "mass = 0.7")
    assert editor.codes(uri) == [], "closed without saving: the disk counts again"


def test_an_imported_file_is_checked_as_part_of_its_root(editor: Editor, folder: Path) -> None:
    """Opened alone, it has no model and no source of its own, and its importer is not open."""
    logic = editor.open(folder / "lib" / "logic.mcd")
    assert editor.codes(logic) == []
    editor.edit(logic, '"since"', '""')
    assert editor.codes(logic) == ['MCD307 ""']


def test_a_new_file_that_is_not_on_the_disk(editor: Editor, folder: Path) -> None:
    uri = editor.open(folder / "new.mcd", "mcd 1\nspan a = b\n")
    assert f"{UNKNOWN} b" in editor.codes(uri)


def test_saving_looks_at_the_disk_again(editor: Editor, folder: Path) -> None:
    uri = editor.open(folder / "main.mcd")
    (folder / "data.jsonl").unlink()
    params = types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(uri))
    editor.client.text_document_did_save(params)
    editor.run(editor.until(lambda: editor.errors(uri) == ['MCD219 "data.jsonl"']))


def test_closing_clears_what_no_open_spec_has(editor: Editor, folder: Path) -> None:
    uri = editor.open(folder / "main.mcd")
    editor.edit(uri, "| answer", "| answr")
    editor.close(uri)
    editor.run(editor.until(lambda: editor.findings[uri] == []))


def test_text_that_is_no_spec_at_all(editor: Editor, folder: Path) -> None:
    for text in ("", "\0\0", "((((" * 200, "mcd 1\n" + "{" * 5000, '"', "mcd 1\nspan a = " + "(" * 300):
        uri = editor.open(folder / "main.mcd", text)
        assert editor.findings[uri]
        editor.hover(uri, f"|{text[:1]}")
        editor.complete(uri, f"{text[:1]}|")
        editor.close(uri)


def test_a_bug_of_ours_is_shown_and_survived(folder: Path, tmp_path: Path) -> None:
    """A check that raises, by a module that the server's Python imports first: logged, shown, and the server goes on."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(BROKEN, "utf-8")
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{hook}{os.pathsep}{before}"
    editor = Editor()
    try:
        uri = editor.open(folder / "main.mcd")
        editor.edit(uri, "| answer", "| explode", wait=False)
        editor.run(editor.until(lambda: bool(editor.shown)))
        assert editor.shown == ["mcd: internal error (bug): ZeroDivisionError: for the test"]
        assert "Traceback" in editor.logged[0]
        editor.edit(uri, "explode", "answer")
        assert editor.codes(uri) == []
    finally:
        os.environ["PYTHONPATH"] = before
        editor.stop()


BROKEN = """
import mcd.dsl.check.spans as spans

declared = spans._declared

def broken(env, expr):
    if getattr(expr, "name", "") == "explode":
        raise ZeroDivisionError("for the test")
    return declared(env, expr)

spans._declared = broken
"""
