"""Digests: what a definition means, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mcd.dsl import checked as c
from mcd.dsl.canonical import digest
from mcd.dsl.check import check
from mcd.dsl.source import Place, SourceText

PLACE = Place(SourceText("x.mcd", ""), 0, 0)
TAIL = """
model m { layers = 6  heads = 2  hidden = 8  vocab = 100  causal = true  tokenizer = "tok.json"  context = 64 }
source s = [{text: "a b", label: 1}] { text = .text }
source t = [{text: "a b", label: 1}] { text = .text }
"""


def named(base: c.SpanSet, name: str = "x") -> c.Named:
    return c.Named(base, name, PLACE)


def digest_of(folder: Path, text: str) -> str:
    """The digest of the join of the rule that `text` declares, or of its subject."""
    (folder / "tok.json").write_text("{}")
    (folder / "main.mcd").write_text(f"mcd 1\n{text}\n{TAIL}")
    program, findings = check(folder / "main.mcd")
    assert program is not None, findings.items
    (rule,) = program.rules
    return digest(rule.join if isinstance(rule, c.Attend) else rule.subject)


BASE = """
span word = phrases("a", "b")
span late = word where index > 0 and text != "b"
attend x: late -> word where key before query and key.text == query.text { layers = 1  heads = any }
"""


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace("late", "other").replace("word", "w"),
        BASE.replace("span", "# a comment\n## a doc\nspan"),
        "\n".join(reversed(BASE.strip().split("\n"))),
        BASE.replace('"a", "b"', '"b", "a", "b"'),
        BASE.replace("layers = 1  heads = any", "layers = 2..3  heads = all  mass = 0.5  weight = 3"),
        BASE.replace("attend x:", "attend"),
        BASE.replace("key before query", "(query after key)"),
        BASE.replace("index > 0", "index > 0.0"),
        BASE.replace('span word = phrases("a", "b")', 'let ps: span = phrases("a", "b")\nspan word = $ps'),
        BASE.replace('phrases("a", "b")', 'v\nspan v = phrases("a", "b")'),
    ],
)
def test_what_does_not_change_the_meaning(tmp_path: Path, text: str) -> None:
    assert digest_of(tmp_path, text) == digest_of(tmp_path, BASE)


CHANGES = [
    ('"a", "b"', '"a", "c"'),
    ('"a", "b"', '"a", "b", ignore_case: true'),
    ('"a", "b"', '"a", "b", words: false'),
    ("index > 0", "index > 1"),
    ("index > 0", "index >= 0"),
    ("index > 0", "start > 0"),
    ("and text", "or text"),
    ("!=", "=="),
    ("late -> word", "word -> late"),
    ("late -> word", "late -> tokens"),
    ("late -> word", "late -> word.first"),
    ("late -> word", "late -> first(word, 2)"),
    ("late -> word", "late -> first(word, 3)"),
    ("late -> word", "late -> last(word, 2)"),
    ("key before query", "query before key.next"),
    ("key.text", "key.next.text"),
    ("heads = any", "heads = any  pick = nearest"),
    ("heads = any", "heads = any  max_edges = 3"),
    ("span word =", "span word of s ="),
    ("span word =", "span word of t ="),
    ('phrases("a", "b")', 'regex("a|b")'),
    ('phrases("a", "b")', 'phrases("a") | phrases("b")'),
    ('phrases("a", "b")', 'phrases("b") | phrases("a")'),
    ('phrases("a", "b")', 'phrases("b") & phrases("a")'),
    ('phrases("a", "b")', 'phrases("b") - phrases("a")'),
    ('phrases("a", "b")', 'phrases("b") in phrases("a")'),
    ('phrases("a", "b")', "slot(.text)"),
    ('phrases("a", "b")', "predicting(slot(.text))"),
    ('phrases("a", "b")', "offsets(.text)"),
    ('phrases("a", "b")', "offsets(.text, of: .text)"),
    ('phrases("a", "b")', 'offsets(.text, rename: {text: "t"})'),
]


def test_what_changes_the_meaning(tmp_path: Path) -> None:
    texts = [BASE, *(BASE.replace(old, new) for old, new in CHANGES)]
    assert BASE not in texts[1:]
    assert len({digest_of(tmp_path, text) for text in texts}) == len(texts)


def test_names_over_sets_that_rank_themselves_add_nothing() -> None:
    phrases = c.Phrases(("a",))
    union = c.Union(phrases, c.Tokens())
    assert digest(named(phrases)) == digest(phrases)
    assert digest(named(named(union))) == digest(named(union))
    assert digest(c.Edge(named(phrases), "first")) == digest(c.Edge(phrases, "first"))
    assert digest(named(c.OfSource(phrases, "s"))) == digest(c.OfSource(phrases, "s"))


def test_names_over_the_algebra_count() -> None:
    """`index` counts in the named set, so that a name over a filter or a union is part of the meaning."""
    union = c.Union(c.Phrases(("a",)), c.Tokens())
    assert digest(named(union)) != digest(union)
    assert digest(c.Take(named(union), "first", 1)) != digest(c.Take(union, "first", 1))


def test_types_of_values_count() -> None:
    values = (1, "1", True, None, (1,), (1, 1), ())
    assert len({digest(value) for value in values}) == len(values)
    assert digest(1.0) == digest(1)


def test_classes_with_equal_fields_differ() -> None:
    t = c.Tokens()
    assert len({digest(node(t, t)) for node in (c.Union, c.Intersection, c.Difference, c.Within)}) == 4


def test_shared_nodes_are_hashed_once() -> None:
    """Written out, this set has 2 to the 60th parts."""
    spans: c.SpanSet = c.Tokens()
    for _ in range(60):
        spans = c.Union(spans, spans)
    assert len(digest(spans)) == 32


def test_a_memo_gives_the_same() -> None:
    spans = c.Union(c.Phrases(("a",)), c.Tokens())
    memo: dict[int, tuple[object, str]] = {}
    assert digest(spans, memo) == digest(spans, memo) == digest(spans)


def test_a_path_has_no_digest() -> None:
    with pytest.raises(TypeError, match="canonical form"):
        digest(c.VectorAnchor(Path("x"), "y"))


def test_stable_across_processes_and_versions() -> None:
    """Shards are found by these digests: a change here orphans every shard that was written."""
    code = (
        "from mcd.dsl import checked as c; from mcd.dsl.canonical import digest; print(digest(c.Phrases(('a', 'é'))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == digest(c.Phrases(("a", "é"))) == STABLE


STABLE = "b7c0ac4b11a1090a44fa62129e49d7bb"
