r"""Inline markup: the marks leave the text, and say what stood between them."""

import json
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcd.compiler.sources.base import Limits, Origin, Rows, Tally
from mcd.compiler.sources.inventory import inventory
from mcd.compiler.sources.markup import of_records, parse, unmark
from mcd.compiler.sources.reader import read_batches
from mcd.compiler.tokens.tokenize import Encoder
from mcd.dsl import checked as c
from mcd.dsl.diagnostics import Failure, Findings

from ..projects import write_tokenizer
from .helpers import PLACE, evaluate, strings

TEXT = ("text",)


def spans(text):
    """The plain text, and its spans as (characters, label), inner ones first."""
    plain, found = parse(text)
    data = plain.encode()
    return plain, [(data[start:end].decode(), label) for start, end, label in found]


@pytest.mark.parametrize(
    ("text", "plain", "found"),
    [
        ("nothing | here \\ [a] ]", "nothing | here \\ [a] ]", []),
        ("the [[cat|animal]] sat", "the cat sat", [("cat", "animal")]),
        ("[[é🙂| x y ]]é[[b|z]]", "é🙂éb", [("é🙂", "x y"), ("b", "z")]),
        ("[[a|b|c]]", "a|b", [("a|b", "c")]),
        ("[[the [[cat|n]] sat|s]].", "the cat sat.", [("cat", "n"), ("the cat sat", "s")]),
        ("[[a|b [[c|x]] d|y]]", "a|b c d", [("c", "x"), ("a|b c d", "y")]),
        ("[[[[a|x]]|y]]", "a", [("a", "x"), ("a", "y")]),
        ("[[[a]|x]]", "[a]", [("[a]", "x")]),
        ("[[a[0]|x]]]", "a[0]]", [("a[0]", "x")]),
        (r"\[[a|b\]] \| c", "[[a|b]] | c", []),
        (r"[[a\|b\]]c|d\|e]]", "a|b]]c", [("a|b]]c", "d|e")]),
        (r"\\[[a|x]] \\\[[ \n \\", "\\a \\[[ \\n \\\\", [("a", "x")]),
        (r"[[a\\|x]]", "a\\", [("a\\", "x")]),
        ("[[ |x]]", " ", [(" ", "x")]),
    ],
)
def test_marks_leave_the_text(text, plain, found):
    assert spans(text) == (plain, found)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("a [[b|c", "`[[b|c` is never closed"),
        ("[[a [[b|c]] |d", "`[[a [[b|c]] |d` is never closed"),
        ("a b]] c", "`a b]]` closes nothing"),
        ("[[a|b]] ]]", "`[[a|b]] ]]` closes nothing"),
        ("[[a]]", "`[[a]]` has no label, which stands behind a `|`"),
        ("[[a|b[[c|d]]]]", "`[[a|b[[c|d]]]]` has no label"),
        ("[[a| ]]", "`[[a| ]]` has an empty label"),
        ("[[|a]]", "`[[|a]]` marks no text"),
    ],
)
def test_marks_that_do_not_go_together_are_named_with_their_row(text, fact):
    source = c.Source("s", "inline", (), (), None, c.ConstantSplit("train"), c.Template((TEXT,)), PLACE)
    texts = pa.array(["[[a|b]]", text, "]]"])
    with pytest.raises(Failure) as caught:
        unmark(TEXT, Rows([3, 5, 9], {TEXT: texts}, {}), Origin(source, None, "s"))
    first, second = caught.value.diagnostics
    assert (first.code.id, first.place) == ("MCD560", PLACE)
    assert first.message.startswith(f"source `s` record 5: `.text` is marked up wrongly: {fact}")
    assert second.message.startswith("source `s` record 9: ")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["[", "]", "[[", "]]", "|", "\\", "a", " ", "é"]), max_size=14).map("".join))
def test_any_text_is_parsed_as_a_plain_reading_of_the_rules_says(text):
    try:
        found = spans(text)
    except Exception as error:
        assert type(error).__name__ == "_Malformed"
        found = None
    assert found == slow(text)


def slow(text):
    """The same by tokens of a regular expression, over characters."""
    plain, stack, found = [], [], []
    for escapes, mark, other in re.findall(r"(\\*)(\[\[|\]\]|\|)|(\\+|.)", text, re.DOTALL):
        if not mark:
            plain += other
            continue
        plain += "\\" * (len(escapes) // 2)
        if len(escapes) % 2 or (mark == "|" and not stack):
            plain += mark
        elif mark == "|":
            stack[-1][1] = len(plain)
            plain += mark
        elif mark == "[[":
            for opened in stack[-1:]:
                opened[1] = None
            stack.append([len(plain), None])
        else:
            if not stack or stack[-1][1] is None:
                return None
            start, bar = stack.pop()
            label = "".join(plain[bar + 1 :]).strip()
            del plain[bar:]
            if not label or start == bar:
                return None
            found.append(("".join(plain[start:bar]), label))
    return None if stack else ("".join(plain), found)


@given(st.text(alphabet="[]|\\ aé", max_size=10), st.text(alphabet="[]|\\aé", min_size=1, max_size=10))
def test_every_text_can_be_written(before, inside):
    def escaped(text):
        return re.sub(r"(\\*)(\[\[|\]\]|\||$)", lambda m: m[1] * 2 + ("\\" + m[2] if m[2] else ""), text)

    if before.endswith("[") or inside.endswith("]") or inside.startswith("["):
        return  # a single bracket beside a mark would be a part of it
    plain, found = spans(f"{escaped(before)}[[{escaped(inside)}|x]]")
    assert (plain, found) == (before + inside, [(inside, "x")])


def test_many_marks_of_one_kind_take_linear_time():
    parse("|" * 200_000 + "[[a|b]]" * 20_000)
    with pytest.raises(Exception, match="never closed"):
        parse("[[" * 200_000)


def read(folder, records, template, marked=(TEXT,), limits=None, fields=()):
    """The batches of a source whose field `.text` is marked up."""
    write_tokenizer(folder / "tokenizer.json")
    parts = tuple(json.dumps(record) for record in records)
    source = c.Source("s", "inline", (), parts, None, c.ConstantSplit("train"), template, PLACE, marked)
    encoder = Encoder(folder / "tokenizer.json")
    (task,) = inventory(source, folder, Findings()).tasks
    return [b for b, _ in read_batches(source, folder, task, fields, encoder, Tally(), limits or Limits())]


@pytest.mark.parametrize("limits", [Limits(), Limits(1, 1), Limits(2, 100)])
def test_spans_stand_where_the_slot_does(tmp_path, limits):
    records = [
        {"q": "né", "text": "the [[red [[cat|animal]]|thing]]"},
        {"q": "", "text": None},
        {"q": "", "text": "a dog"},
        {"q": "x", "text": "[[ saw |act]]"},
    ]
    template = c.Template((("q",), ": ", TEXT))
    found = []
    for batch in read(tmp_path, records, template, limits=limits):
        marked = evaluate(batch, c.Markup(TEXT))
        found += zip(strings(batch, marked), marked.attributes["label"].to_pylist(), strict=True)
        assert [batch.text(i)[-1] for i in range(batch.records)] != ["]"]
    assert found == [("red cat", "thing"), ("cat", "animal"), ("saw", "act")]


def test_a_slot_that_is_not_marked_keeps_its_brackets(tmp_path):
    (batch,) = read(tmp_path, [{"text": "[[a|b]]"}], c.Template((TEXT,)), marked=())
    assert batch.text(0) == "[[a|b]]"
    assert len(evaluate(batch, c.Markup(TEXT))) == 0


def test_equal_extents_are_one_span_with_the_inner_label(tmp_path):
    (batch,) = read(tmp_path, [{"text": "[[[[cat|x]]|y]]"}], c.Template((TEXT,)))
    assert evaluate(batch, c.Markup(TEXT)).attributes["label"].to_pylist() == ["x"]


def test_marks_of_some_records_count_from_them():
    texts = pa.array(["[[a|x]]", "b", "c [[d|y]]"])
    source = c.Source("s", "inline", (), (), None, c.ConstantSplit("train"), c.Template((TEXT,)), PLACE)
    plain, marks = unmark(TEXT, Rows([0, 1, 2], {TEXT: texts}, {}), Origin(source, None, "s"))
    assert plain.to_pylist() == ["a", "b", "c d"]
    last = of_records(marks, 1, 3)
    assert (last.record.tolist(), last.start.tolist(), last.end.tolist(), last.label.to_pylist()) == (
        [1],
        [2],
        [3],
        ["y"],
    )


def test_offsets_count_in_the_plain_text(tmp_path):
    records = [{"text": "a [[cat|x]] saw", "mentions": [{"start": 2, "end": 5}]}]
    (batch,) = read(tmp_path, records, c.Template((TEXT,)), fields=[("mentions",)])
    for of in (None, TEXT):
        assert strings(batch, evaluate(batch, c.Offsets(("mentions",), of))) == ["cat"]
