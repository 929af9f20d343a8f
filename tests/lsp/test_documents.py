"""Whole documents: formatting, outline, colours, folds; and the fixes of findings."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsprotocol import types

from mcd.cli.lsp.convert import Converter
from mcd.cli.lsp.server import Server
from mcd.dsl.diagnostics import Applicability, Code, Edit, Findings, Fix
from mcd.dsl.format import format_source
from mcd.dsl.ide.semantic import MODIFIERS, TYPES
from mcd.dsl.source import Place, SourceText

from .client import Editor


@pytest.fixture
def uri(editor: Editor, folder: Path) -> str:
    return editor.open(folder / "main.mcd")


def test_formatting_gives_the_one_form(editor: Editor, uri: str) -> None:
    editor.edit(uri, 'span smile = phrases("🙂🙂", "🙃") | answer', 'span   smile=phrases( "🙂🙂","🙃" )|answer')
    text = editor.format(uri)
    assert text == format_source(SourceText("main.mcd", editor.texts[uri]), Findings())
    assert 'span smile   = phrases("🙂🙂", "🙃") | answer\n' in text


def test_formatting_twice_changes_nothing(editor: Editor, uri: str) -> None:
    editor.texts[uri] = editor.format(uri)
    other = editor.open(Path(uri.removeprefix("file://")).with_name("again.mcd"), editor.texts[uri])
    assert editor.format(other) == editor.texts[other]


def test_a_broken_document_is_left_as_it_is(editor: Editor, uri: str) -> None:
    editor.edit(uri, "mass = 0.6", "mass = = 0.6")
    assert editor.format(uri) is None


def test_outline(editor: Editor, uri: str, folder: Path) -> None:
    params = types.DocumentSymbolParams(types.TextDocumentIdentifier(uri))
    found = editor.run(editor.client.text_document_document_symbol_async(params))
    names = [(each.name, each.detail) for each in found]
    assert names[:4] == [("logic", "imported file"), ("middle", "constant"), ("small", "model"), ("stories", "source")]
    assert ("causality is_a logic.cause", "rule") in [
        (each.name.removeprefix("relate "), each.detail) for each in found
    ]
    stages = next(each for each in found if each.name == "curriculum").children
    assert [child.name for child in stages] == ["first", "second"]
    smile = next(each for each in found if each.name == "smile")
    assert editor.text(uri, smile.range) == 'span smile = phrases("🙂🙂", "🙃") | answer'
    assert editor.text(uri, smile.selection_range) == "smile"
    logic = editor.open(folder / "lib" / "logic.mcd")
    params = types.DocumentSymbolParams(types.TextDocumentIdentifier(logic))
    found = editor.run(editor.client.text_document_document_symbol_async(params))
    assert [child.name for child in found[-1].children] == ["following", "back"]


def test_every_lexeme_has_its_role(editor: Editor, uri: str) -> None:
    roles = editor.roles(uri)
    assert ("span", "keyword") in roles
    assert ("mention", "variable declaration") in roles
    assert ("mention", "variable") in roles
    assert ("causality", "class declaration") in roles
    assert ("coref", "function declaration") in roles
    assert ("coref", "function") in roles
    assert ("$middle", "variable readonly") in roles
    assert ("logic", "namespace declaration") in roles
    assert (".reason", "variable") in roles
    assert (".answer", "property") in roles
    assert ("layers", "property") in roles
    assert ("nearest", "enumMember") in roles
    assert ("phrases", "function defaultLibrary") in roles
    assert ('"🙂🙂"', "string") in roles
    assert ("50%", "number") in roles
    assert ("# 🙂 says it", "comment") in roles
    assert ("## Where meaning forms.", "comment documentation") in roles
    assert ("where", "keyword") in roles
    assert ("stage", "keyword") in roles


def test_roles_of_a_broken_document(editor: Editor, uri: str) -> None:
    editor.edit(uri, "mcd 1", 'mcd 1\nspan broken = = "open')
    roles = editor.roles(uri)
    assert ('"open', "string") in roles
    assert ("coref", "function declaration") in roles


def test_folds(editor: Editor, folder: Path) -> None:
    text = "mcd 1\n# one\n# two\n# three\nmodel m {\n  layers = 4\n  x = [\n    1,\n  ]\n}\nspan a = b\n"
    uri = editor.open(folder / "f.mcd", text)
    params = types.FoldingRangeParams(types.TextDocumentIdentifier(uri))
    found = editor.run(editor.client.text_document_folding_range_async(params))
    assert sorted((each.start_line, each.end_line, each.kind) for each in found) == [
        (1, 3, "comment"),
        (4, 8, None),
        (6, 7, None),
    ]


def test_fixes_become_actions(folder: Path) -> None:
    """Findings with fixes, made here, become edits of the files that their places are in."""
    server = Server()
    server.protocol.server_capabilities = types.ServerCapabilities(position_encoding=types.PositionEncodingKind.Utf16)
    path = (folder / "main.mcd").resolve()
    server.project.put(path, (folder / "main.mcd").read_text("utf-8"))
    analysis = server.project.analysis(path)
    source = analysis.file(path).source
    start = source.text.index("answer\nconcept")
    place = Place(source, start, start + 6)
    sure = Fix("Call it `reply`", (Edit(place, "reply"),))
    unsure = Fix("Call it `other`", (Edit(place, "other"),), Applicability.MAYBE)
    finding = Code("MCD199", "odd", "Odd.").at(place, "odd name", fixes=[sure, unsure])
    actions = [Converter(server).action(finding, fix) for fix in finding.fixes]
    assert [(action.title, action.is_preferred) for action in actions] == [
        ("Call it `reply`", True),
        ("Call it `other`", False),
    ]
    (edit,) = actions[0].edit.changes[path.as_uri()]
    assert edit.new_text == "reply"
    assert (edit.range.start.character, edit.range.end.character) == (37, 43)
    assert actions[0].diagnostics[0].range == edit.range


def test_a_misspelt_name_has_a_fix(editor: Editor, uri: str) -> None:
    editor.edit(uri, "attend coref: pronoun", "attend coref: pronown")
    editor.edit(uri, "pick = nearest", "pick = neerest")
    found = {action.title: action for action in editor.actions(uri, "attend coref: pro|nown")}
    assert set(found) == {"replace `pronown` with `pronoun`"}
    (action,) = found.values()
    assert "attend coref: pronoun ->" in editor.applied(uri, action.edit.changes[uri])
    assert action.kind == types.CodeActionKind.QuickFix
    assert editor.actions(uri, "weigh smi|les") == []


def test_a_level_of_the_project_counts(editor: Editor, folder: Path) -> None:
    """A warning that mcd.toml raises is an error, one that a comment allows is none."""
    (folder / "mcd.toml").write_text('[check]\nerror = ["unused-declaration"]\n', "utf-8")
    uri = editor.open(folder / "main.mcd")
    editor.edit(uri, "concept causality", "span idle = tokens\nconcept causality")
    assert editor.errors(uri) == ["MCD231 idle"]
    assert any(action.title.startswith("remove") for action in editor.actions(uri, "span id|le"))
    editor.edit(uri, "span idle", "# mcd: allow unused-declaration\nspan idle")
    assert editor.codes(uri) == []


def test_actions_without_findings(editor: Editor, uri: str) -> None:
    place = types.Range(types.Position(0, 0), types.Position(3, 0))
    params = types.CodeActionParams(types.TextDocumentIdentifier(uri), place, types.CodeActionContext([]))
    assert editor.run(editor.client.text_document_code_action_async(params)) == ()


def test_a_document_that_is_no_file_is_passed_over(editor: Editor) -> None:
    item = types.TextDocumentItem("untitled:1", "mcd", 1, "mcd 1\n")
    editor.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    params = types.DocumentSymbolParams(types.TextDocumentIdentifier("untitled:1"))
    assert editor.run(editor.client.text_document_document_symbol_async(params)) is None


def test_the_legend_names_what_is_used() -> None:
    assert len(set(TYPES)) == len(TYPES)
    assert len(set(MODIFIERS)) == len(MODIFIERS)
