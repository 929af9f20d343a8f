"""What is said and proposed at a cursor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcd.compiler.compile import compile_program

from ..projects import MODEL, checked
from .client import Editor


@pytest.fixture
def uri(editor: Editor, folder: Path) -> str:
    return editor.open(folder / "main.mcd")


# --- hover


@pytest.mark.parametrize(
    ("cursor", "said"),
    [
        ("attend co|ref", "layers 4..6: `heads any: 0.5 x [max(0, log 0.6 - log p(keys))]`"),
        ("signal ax|is", "layers 4: `0.2 x [1 - cos to causality]`"),
        ("sig|nal axis", "layers 4: `0.2 x [1 - cos to causality]`"),
        ("rel|ate causality", "layers 6: `1 x [is_a logic.cause: max(0, 0.3 - cos)]`"),
        ("anaphora.ba|ck", "layers 4..6: `heads any: 1 x [-log p(keys)]`"),
        ("layers = $mid|dle", "layers: `50%..75%`, layers 4..6 of `small`"),
        ("let mid|dle", "Where meaning forms."),
        ("span pro|noun", 'The set `mention where kind == "pronoun"`'),
        ("spans = logic.rea|son", "Words that give a reason."),
        ("toward = causa|lity", "Anchor: a unit vector orthogonal to the other orthonormal anchors"),
        ("model sm|all", "given by numbers: 8 layers x 4 heads, width 16, vocabulary 64, causal"),
        ("source sto|ries", "jsonl: 1 files"),
        ("as lo|gic", "`lib/logic.mcd`"),
        ("logic.cu|e(", "frame cue(words: span, depth: layers = 50%)"),
        ("us|e logic", "**use**: Writes out a frame"),
        ("pi|ck = nearest", "**pick** of `attend`: Which keys of a query count."),
        ("ma|ss = 0.6", "at least 0 and at most 1"),
        ("answer = sl|ot(", "`slot`(path: a field)"),
        ("key bef|ore query", "`a before b`: `a.end <= b.start`."),
    ],
)
def test_hover(editor: Editor, uri: str, cursor: str, said: str) -> None:
    found = editor.hover(uri, cursor)
    assert found is not None
    assert said in found


@pytest.mark.parametrize("cursor", ["# 🙂 sa|ys", 'phrases("🙂|', "mass = 0|.6"])
def test_hover_on_what_says_itself(editor: Editor, uri: str, cursor: str) -> None:
    assert editor.hover(uri, cursor) is None


def test_hover_while_something_else_is_wrong(editor: Editor, uri: str) -> None:
    editor.edit(uri, "margin = 0.3", "margin = 3")
    assert "layers 4..6" in (editor.hover(uri, "attend co|ref") or "")


def test_hover_shows_the_counts_of_the_last_compile(editor: Editor, uri: str, folder: Path) -> None:
    """The one record has one mention, a pronoun without a mention before it: the join holds nothing."""
    compile_program(checked(folder / "main.mcd"), folder / "out" / "small")
    counts = json.loads((folder / "out" / "small" / "manifest.json").read_text("utf-8"))["rules"]["coref"]
    assert counts["splits"]
    assert "Compiled in `out/small`: train: 1 matched" in (editor.hover(uri, "span pro|noun") or "")
    assert "Compiled in `out/small`: train: " in (editor.hover(uri, "attend co|ref") or "")
    editor.edit(uri, 'kind == "pronoun"', 'kind == "noun"')
    assert "Compiled" not in (editor.hover(uri, "span pro|noun") or ""), "the set is another one"


# --- completion

ATTEND = "attend coref: pronoun -> mention where query.entity == key.entity and key before query {\n"


@pytest.mark.parametrize(
    ("old", "new", "present", "absent"),
    [
        ("use logic", "|\nuse logic", {"attend", "signal", "let", "curriculum"}, {"pronoun", "layers"}),
        ("use logic", "att|\nuse logic", {"attend", "expect"}, set()),
        ("  mass = 0.6\n", "  |\n", {"mass", "loss", "per"}, {"pick", "layers", "attend"}),
        ("  mass = 0.6\n", "  ma|\n", {"mass", "max_edges"}, {"pick"}),
        ("mass = 0.6", "loss = |", {"nll", "hinge", "kl"}, {"mass", "nearest"}),
        ("mass = 0.6", "loss = h|", {"nll", "hinge", "kl"}, {"mass"}),
        ("pick = nearest", "pick = |", {"all", "nearest", "first", "last"}, {"layers"}),
        ("mass = 0.6", "each = |", {"true", "false"}, set()),
        ("layers = $middle", "layers = |", {"50%", "-1", "final", "$middle", "0", "8"}, {"9"}),
        ("layers = $middle", "layers = $|", {"$middle"}, set()),
        ("heads = any", "heads = |", {"any", "all", "mean", "3"}, {"4"}),
        ("heads = any", "heads = [|]", {"0", "3"}, {"4"}),
        ("attend coref: pronoun", "attend coref: |", {"mention", "tokens", "causality", "phrases", "logic.reason"}, {"any"}),
        ("attend coref: pronoun -> mention", "attend coref: pronoun -> |", {"pronoun", "mention"}, {"layers"}),
        ("spans = logic.reason", "spans = logic.|", {"reason", "cause"}, {"_private", "cue"}),
        ("use logic.cue(", "use |logic.cue(", {"logic.cue"}, {"pronoun"}),
        ("use logic.cue(", "use logic.|cue(", {"cue"}, {"reason"}),
        ("toward = causality.anchor", "toward = |", {"causality.anchor", "logic.cause.anchor", ".premise"}, {"pronoun"}),
        ("toward = causality.anchor", "toward = causality.|", {"anchor"}, set()),
        ("query.entity ==", "query.| ==", {"text", "previous", "entity", "kind"}, {"pronoun"}),
        ('mention where kind == "pronoun"', "mention where |", {"text", "kind", "entity", "length"}, {"query"}),
        ("is_a logic.cause", "|", {"is_a", "opposes", "distinct", "->"}, {"causality"}),
        ("is_a logic.cause", "is_a |", {"causality", "logic.cause"}, {"pronoun", "is_a"}),
        ("relate causality", "relate |", {"causality", "logic.cause"}, {"pronoun"}),
        ("let middle: layers", "let middle: |", {"layers", "span", "number"}, {"pronoun"}),
        ("offsets(.mentions, of: .premise)", "offsets(|)", {".mentions", ".premise", "of:", "rename:"}, set()),
        ("offsets(.mentions, of: .premise)", "offsets(.mentions, of: .|)", {"premise", "answer", "id"}, {".premise"}),
        ("slot(.answer)", "slot(.an|)", {".answer", ".premise"}, set()),
        ('text = "{.premise} {.answer}"', 'text = "{.premise} {|"', {"{.premise} {.answer"}, set()),
        ("  id = .id\n", "  |\n", {"id", "split"}, {"text", "layers"}),
        ("  id = .id\n", "  split = |\n", {"hash", ".id"}, set()),
        ('jsonl("data.jsonl")', "|", {"jsonl", "parquet", "conllu"}, {"phrases"}),
        ('jsonl("data.jsonl")', 'jsonl("|', {"data.jsonl", "lib/"}, set()),
        ('"lib/logic.mcd"', '"lib/|"', {"lib/logic.mcd"}, {"data.jsonl"}),
        ('tokenizer = "tokenizer.json"', 'tokenizer = "|"', {"tokenizer.json", "lib/"}, set()),
        ("anchor = orthonormal }", "anchor = | }", {"orthonormal", "learned", "vector"}, {"spans"}),
        ("only = [axis, coref]", "only = [|]", {"axis", "coref", "anaphora.back"}, {"pronoun"}),
        ("only = [axis, coref]", "|", {"only", "coref.factor", "token_loss"}, {"layers"}),
        ("coref.factor = ramp", "coref.| = ramp", {"factor"}, set()),
        ("stage second", "| stage second", {"stage", "mix", "order"}, {"only"}),
        ("stage second", "mix = {| stage second", {"stories"}, {"only"}),
        ("weigh smiles: smile { factor = 2 }", "keep hard: tokens { score = |", {"measure", "live.loss"}, {"top"}),
        ("weigh smiles: smile { factor = 2 }", 'keep hard: tokens { score = measure("r", |', {"loss", "entropy"}, {"top"}),
        ("cue(pronoun, depth: $middle)", "cue(|)", {"words:", "depth:", "pronoun"}, set()),
        ("causality.anchor  weight", "causality.anchor through = | weight", {"linear", "mlp"}, set()),
        ("factor = ramp(1, 0.3, cosine)", "factor = |", {"ramp"}, set()),
        ("ramp(1, 0.3, cosine)", "ramp(1, 0.3, |)", {"linear", "cosine", "exponential"}, set()),
    ],
)  # fmt: skip
def test_completion(editor: Editor, uri: str, old: str, new: str, present: set[str], absent: set[str]) -> None:
    start = editor.texts[uri].index(old)
    editor.edit(uri, old, new.replace("|", ""))
    found = set(editor.complete_at(uri, start + new.index("|")))
    assert present <= found, sorted(found)
    assert not absent & found


def test_what_is_typed_is_replaced(editor: Editor, uri: str) -> None:
    editor.edit(uri, "layers = $middle", "layers = $mi")
    item = editor.complete(uri, "layers = $mi|")["$middle"]
    assert editor.applied(uri, [item.text_edit]).count("layers = $middle\n") == 1
    editor.edit(uri, "slot(.answer)", "slot(.an)")
    item = editor.complete(uri, "slot(.an|)")[".answer"]
    assert "slot(.answer)" in editor.applied(uri, [item.text_edit])
    editor.edit(uri, "query.entity ==", "query.ent ==")
    item = editor.complete(uri, "query.ent|")["entity"]
    assert "where query.entity ==" in editor.applied(uri, [item.text_edit])


def test_completion_knows_what_its_words_mean(editor: Editor, uri: str) -> None:
    editor.edit(uri, "  mass = 0.6\n", "  \n")
    item = editor.complete(uri, "pick = nearest\n  layers = $middle\n  heads = any\n  |\n")["mass"]
    assert item.documentation is not None
    assert "at least" in item.documentation.value
    assert item.text_edit.new_text == "mass = "


def test_names_in_a_frame(editor: Editor, folder: Path) -> None:
    logic = editor.open(folder / "lib" / "logic.mcd")
    editor.edit(logic, "back: following -> $words", "back: following -> $")
    assert set(editor.complete(logic, "following -> $|")) >= {"$words"}
    editor.edit(logic, "  attend back: following -> $ {", "  \n  attend back: following -> $words {")
    found = set(editor.complete(logic, "$words.next\n  |\n"))
    assert {"attend", "span", "use"} <= found
    assert "model" not in found


def test_fields_of_other_formats(editor: Editor, folder: Path) -> None:
    """A CSV file by its header, CoNLL-U by the comments and columns of its sentences."""
    (folder / "t.csv").write_text("name,odd key\na,b\n", "utf-8")
    (folder / "t.conllu").write_text(
        "# sent_id = 1\n# text = She\n1\tShe\tshe\tPRON\tPRP\tNumber=Sing\t0\troot\t_\t_\n\n", "utf-8"
    )
    head = f"mcd 1\n{MODEL}"
    uri = editor.open(folder / "c.mcd", f'{head}source s = csv("t.csv") {{ text = .name }}\nspan a = slot(.)\n')
    assert {"name", '"odd key"'} <= set(editor.complete(uri, "slot(.|"))
    text = f'{head}source s = conllu("t.conllu")\nspan w = offsets(.words, of: .text)\nspan v = w where \n'
    uri = editor.open(folder / "u.mcd", text)
    assert {"upos", "head", "Number", "text"} <= set(editor.complete(uri, "w where |"))


def test_nothing_is_proposed_in_a_comment(editor: Editor, uri: str) -> None:
    assert editor.complete(uri, "# 🙂 sa|ys") == {}
