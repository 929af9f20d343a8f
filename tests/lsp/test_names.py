"""Where names lead: to declarations across imports and frames, back from them, and to another name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pygls.exceptions import JsonRpcException

from .client import Editor


@pytest.fixture
def uri(editor: Editor, folder: Path) -> str:
    return editor.open(folder / "main.mcd")


# --- definition


@pytest.mark.parametrize(
    ("cursor", "file", "line"),
    [
        ("attend coref: pro|noun", "main.mcd", 'pronoun = mention where kind == "pronoun"'),
        ("layers = $mid|dle", "main.mcd", "middle: layers = 50%..75%"),
        ("spans = logic.rea|son", "lib/logic.mcd", 'reason = phrases("because", "since") | _private'),
        ("spans = lo|gic.reason", "main.mcd", "logic"),
        ("is_a logic.cau|se", "lib/logic.mcd", "cause { spans = reason  anchor = orthonormal }"),
        ("toward = causa|lity.anchor", "main.mcd", "causality { spans = logic.reason  anchor = orthonormal }"),
        ("use logic.cu|e(", "lib/logic.mcd", "cue(words: span, depth: layers = 50%) {"),
        ("anaphora.ba|ck.factor", "lib/logic.mcd", "back: following -> $words { layers = $depth  heads = any }"),
        (
            "{ co|ref.factor",
            "main.mcd",
            "coref: pronoun -> mention where query.entity == key.entity and key before query {",
        ),
        (
            "only = [ax|is,",
            "main.mcd",
            "axis: causality { layers = 50%  toward = causality.anchor  weight = 0.2 }",
        ),
        ('import "lib/lo|gic.mcd"', "lib/logic.mcd", "mcd 1"),
    ],
)
def test_definition(editor: Editor, uri: str, cursor: str, file: str, line: str) -> None:
    assert editor.definition(uri, cursor) == (Path(file).name, line)


@pytest.mark.parametrize("cursor", ["pick = near|est", "heads = an|y", "where ki|nd ==", "# 🙂 sa|ys", "att|end coref"])
def test_what_leads_nowhere(editor: Editor, uri: str, cursor: str) -> None:
    assert editor.definition(uri, cursor) is None


def test_definition_in_a_frame(editor: Editor, folder: Path) -> None:
    logic = editor.open(folder / "lib" / "logic.mcd")
    assert editor.definition(logic, "following -> $wo|rds {") == ("logic.mcd", "words: span, depth: layers = 50%) {")
    assert editor.definition(logic, "back: follow|ing") == ("logic.mcd", "following = $words.next")


# --- references


def test_references_across_files(editor: Editor, uri: str, folder: Path) -> None:
    expected = ["logic.mcd:4:6", "logic.mcd:5:25", "main.mcd:23:35"]
    assert editor.references(uri, "spans = logic.rea|son") == expected
    logic = editor.open(folder / "lib" / "logic.mcd")
    assert editor.references(logic, "span rea|son") == expected
    assert editor.references(logic, "span rea|son", declaration=False) == expected[1:]


def test_references_of_a_rule_of_a_frame(editor: Editor, uri: str) -> None:
    assert editor.references(uri, "anaphora.ba|ck") == ["logic.mcd:10:10", "main.mcd:39:68"]


def test_references_of_a_name_behind_an_emoji(editor: Editor, uri: str) -> None:
    """`span smile = phrases("🙂🙂", "🙃") | answer`: 31 plain characters and 3 emoji of 2 UTF-16 units; columns from 1."""
    assert editor.references(uri, "span ans|wer") == ["main.mcd:19:6", "main.mcd:22:38"]


# --- rename


def test_rename_across_files(editor: Editor, uri: str, folder: Path) -> None:
    changed = editor.rename(uri, "spans = logic.rea|son", "ground")
    assert set(changed) == {"main.mcd", "logic.mcd"}
    assert "spans = logic.ground " in changed["main.mcd"]
    assert "span ground = phrases(" in changed["logic.mcd"]
    assert "spans = ground " in changed["logic.mcd"]


def test_rename_a_constant_keeps_its_dollar(editor: Editor, uri: str) -> None:
    text = editor.rename(uri, "let mid|dle", "centre")["main.mcd"]
    assert "let centre: layers" in text
    assert text.count("$centre") == 2
    assert "middle" not in text


def test_rename_an_alias_and_a_rule_that_a_stage_names(editor: Editor, uri: str) -> None:
    text = editor.rename(uri, "as ana|phora", "anew")["main.mcd"]
    assert "as anew" in text
    assert "anew.back.factor = 0.5" in text
    text = editor.rename(uri, "attend co|ref", "copy")["main.mcd"]
    assert "only = [axis, copy]" in text
    assert "copy.factor = ramp" in text


def test_rename_in_a_frame(editor: Editor, uri: str, folder: Path) -> None:
    logic = editor.open(folder / "lib" / "logic.mcd")
    text = editor.rename(logic, "cue(wo|rds", "cues")["logic.mcd"]
    assert "frame cue(cues: span" in text
    assert text.count("$cues") == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mention", "`mention` is declared already, as a span"),
        ("where", "`where` is a word of the language"),
        ("span", "`span` is a word of the language"),
        ("tokens", "`tokens` is a word of the language"),
        ("two words", "`two words` is no name"),
        ("1st", "`1st` is no name"),
    ],
)
def test_a_rename_that_is_refused(editor: Editor, uri: str, name: str, reason: str) -> None:
    with pytest.raises(JsonRpcException, match=reason):
        editor.rename(uri, "span pro|noun", name)


def test_a_rename_that_would_hide_a_name_from_importers_is_refused(editor: Editor, uri: str) -> None:
    with pytest.raises(JsonRpcException, match="that would be an error: `_reason` is private"):
        editor.rename(uri, "spans = logic.rea|son", "_reason")


def test_a_rename_that_would_catch_another_name_is_refused(editor: Editor, folder: Path) -> None:
    """A span of the file that a frame names would be hidden by the frame's parameter."""
    text = "mcd 1\nspan outer = tokens\nframe f(inner: span) {\n  weigh w: outer | $inner { factor = 2 }\n}\n"
    uri = editor.open(folder / "f.mcd", text)
    with pytest.raises(JsonRpcException, match="would"):
        editor.rename(uri, "f(in|ner", "outer")


def test_a_rename_in_a_broken_file_is_refused(editor: Editor, uri: str) -> None:
    editor.edit(uri, "weight = 0.5", "weight = = 0.5")
    with pytest.raises(JsonRpcException, match="has syntax errors, so that names may be missed"):
        editor.rename(uri, "span pro|noun", "other")


def test_what_cannot_be_renamed(editor: Editor, uri: str) -> None:
    with pytest.raises(JsonRpcException, match="there is no name that a declaration gives here"):
        editor.rename(uri, "pick = near|est", "other")
    with pytest.raises(JsonRpcException, match="there is no name"):
        editor.prepare_rename(uri, "att|end coref")


def test_prepare_rename_gives_the_name_without_its_dollar(editor: Editor, uri: str) -> None:
    assert editor.prepare_rename(uri, "layers = $mid|dle") == ("middle", "middle")
    assert editor.prepare_rename(uri, "logic.cau|se") == ("cause", "cause")
