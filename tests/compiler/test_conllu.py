"""CoNLL-U: sentences, words, multiword tokens and empty nodes; broken lines are named."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcd.compiler.sources import lines
from mcd.compiler.sources.base import Limits, Tally
from mcd.compiler.sources.inventory import inventory
from mcd.dsl.diagnostics import Failure, Findings

from .test_sources import broken, one, read, source_of

TEXT, WORDS, ID = ("text",), ("words",), ("sent_id",)


def line(id, form, head="_", deprel="_", lemma="_", upos="_", feats="_", misc="_"):
    return "\t".join([str(id), form, lemma, upos, "_", feats, str(head), deprel, "_", misc])


def sentence(*rows, **comments):
    return "".join([*(f"# {key} = {value}\n" for key, value in comments.items()), *(f"{row}\n" for row in rows), "\n"])


def file_of(folder, *sentences):
    file = folder / "s.conllu"
    file.write_bytes("".join(sentences).encode())
    return source_of("conllu", file)


def words(folder, *sentences, keys=("form", "start", "end", "id", "head")):
    """The text of each sentence, and its words as tuples of `keys`."""
    columns = read(file_of(folder, *sentences), folder, (TEXT,), (WORDS,))[1]
    found = [[tuple(word.get(key) for key in keys) for word in each] for each in columns[WORDS]]
    return columns[TEXT], found


BIRDS = sentence(
    line(1, "Birds", 2, "nsubj", "bird", "NOUN", "Number=Plur"),
    line(2, "sang", 0, "root", "sing", "VERB", "Mood=Ind|Tense=Past", "SpaceAfter=No"),
    line(3, ".", 2, "punct", ".", "PUNCT"),
    sent_id="b-1",
    text="Birds sang.",
)


def test_a_sentence_is_a_record_with_its_comments_and_words(tmp_path):
    source = file_of(tmp_path, BIRDS)
    tally = Tally()
    rows, columns = read(source, tmp_path, (TEXT, ID), (WORDS,), tally=tally)
    assert rows == [0]
    assert columns[TEXT] == ["Birds sang."]
    assert columns[ID] == ["b-1"]
    first, second, third = columns[WORDS][0]
    assert second == {
        "start": 6, "end": 10, "parts": 1, "id": 2, "form": "sang", "lemma": "sing", "upos": "VERB", "xpos": None,
        "feats": "Mood=Ind|Tense=Past", "head": 0, "deprel": "root", "deps": None, "misc": "SpaceAfter=No",
        "Number": None, "Mood": "Ind", "Tense": "Past",
    }  # fmt: skip
    assert (first["Number"], first["Mood"], third["start"], third["end"]) == ("Plur", None, 10, 11)
    assert tally.seen == {TEXT, ID, WORDS}


def test_without_a_text_the_forms_are_joined(tmp_path):
    rows = [line(1, "né", misc="SpaceAfter=No"), line(2, "😀"), line(3, "a b", misc="X=Y|SpaceAfter=No")]
    assert words(tmp_path, sentence(*rows), keys=("form", "start", "end")) == (
        ["né😀 a b"],
        [[("né", 0, 2), ("😀", 2, 3), ("a b", 4, 7)]],
    )


def test_the_text_says_what_stands_between_the_words(tmp_path):
    texts, found = words(tmp_path, sentence(line(1, "a"), line(2, "b"), line(3, "c"), text="a  b\u00a0c"))
    assert texts == ["a  b\u00a0c"]
    assert [word[:3] for word in found[0]] == [("a", 0, 1), ("b", 3, 4), ("c", 5, 6)]


def test_words_that_spell_their_token_divide_it(tmp_path):
    """1-2 `don't` is `do` and `n't`."""
    rows = [line("1-2", "don't"), line(1, "do", 3), line(2, "n't", 3), line(3, "go", 0)]
    for text in ({}, {"text": "don't go"}):
        _, found = words(tmp_path, sentence(*rows, **text))
        assert found == [[("do", 0, 2, 1, 3), ("n't", 2, 5, 2, 3), ("go", 6, 8, 3, 0)]]


def test_a_token_that_its_words_do_not_spell_stands_for_them(tmp_path):
    """2-3 `du` is `de le`; the top of the two is the first that hangs outside; `x` hangs on `le`, which is in `du`."""
    rows = [
        line(1, "parle", 0), line("2-3", "du", misc="SpaceAfter=No"),
        line(2, "de", 3, "case"), line(3, "le", 4, "det", upos="DET"),
        line(4, "chat", 1), line(5, "x", 2),
    ]  # fmt: skip
    texts, found = words(
        tmp_path, sentence(*rows), keys=("form", "start", "end", "id", "head", "deprel", "upos", "parts")
    )
    assert texts == ["parle duchat x"]
    assert found[0][1:] == [
        ("du", 6, 8, 3, 4, "det", "DET", 2),
        ("chat", 8, 12, 4, 1, None, None, 1),
        ("x", 13, 14, 5, 3, None, None, 1),
    ]


def test_empty_nodes_have_no_place(tmp_path):
    rows = [line("0.1", "E"), line(1, "a", 0), line("1.1", "E", "_"), line("1.2", "E"), line(2, "b", 1)]
    assert words(tmp_path, sentence(*rows)) == (["a b"], [[("a", 0, 1, 1, 0), ("b", 2, 3, 2, 1)]])


def test_an_underscore_is_null_but_where_it_is_the_word(tmp_path):
    rows = [line(1, "_", 0, lemma="_"), line(2, "a", lemma="_")]
    _, found = words(tmp_path, sentence(*rows), keys=("form", "lemma", "upos", "head"))
    assert found == [[("_", "_", None, 0), ("a", None, None, None)]]


def test_blank_lines_comments_and_line_breaks(tmp_path):
    content = "\ufeff\n\n# newpar\n" + BIRDS.replace("\n", "\r\n") + "\n# only = a comment\n\n" + line(1, "a")
    rows, columns = read(file_of(tmp_path, content), tmp_path, (TEXT, ("only",)), (WORDS,))
    assert rows == [2, 12]
    assert columns[TEXT] == ["Birds sang.", "a"]
    assert columns[("only",)] == [None, None]
    assert [len(each) for each in columns[WORDS]] == [3, 1]


@pytest.mark.parametrize(
    ("rows", "code", "at", "fact"),
    [
        (["1\ta"], "MCD513", 0, "2 columns, where CoNLL-U has 10, parted by tabs"),
        ([line(1, "a").replace("\t", " ")], "MCD513", 0, "1 columns"),
        ([line(1, " ")], "MCD513", 0, "the form is empty"),
        ([line(2, "a")], "MCD513", 0, "the id is `2`, where 1 is expected"),
        ([line(1, "a"), line("x", "a")], "MCD513", 1, "the id is `x`, where 2 is expected"),
        ([line("²", "a")], "MCD513", 0, "the id is `²`, where 1 is expected"),
        ([line("2.1", "a")], "MCD513", 0, "the id is `2.1`, where 1 is expected"),
        ([line("2-1", "a")], "MCD513", 0, "the id is `2-1`, where 1 is expected"),
        ([line("2-3", "a")], "MCD513", 0, "the token `2-3` does not stand right before its words"),
        (
            [line("1-2", "ab"), line(1, "a"), line("2-3", "bc")],
            "MCD513",
            2,
            "the token `2-3` does not stand right before",
        ),
        ([line("1-3", "ab"), line(1, "a"), line(2, "b")], "MCD513", 0, "the token `1-3` lacks words"),
        ([line(1, "a", "x")], "MCD513", 0, "the head is `x`, where the id of a word, 0 or `_` is expected"),
        ([line(1, "a", -1)], "MCD513", 0, "the head is `-1`"),
        ([line(1, "a", 0), line(2, "b", 3)], "MCD513", 1, "the head is 3 in a sentence of 2 words"),
        (["# text = a c", line(1, "a"), line(2, "b")], "MCD514", 2, "the form `b` is not what stands in `# text`, `c`"),
        (["# text = a", line(1, "a"), line(2, "b")], "MCD514", 2, "the form `b` is not what stands in `# text`, ``"),
        (["# x = y", "# text = a b", line(1, "a")], "MCD514", 1, "`# text` goes on with `b` after the last word"),
    ],
)
@pytest.mark.parametrize("limits", [Limits(), Limits(1, 1)])
def test_a_broken_line_is_named(tmp_path, rows, code, at, fact, limits):
    source = file_of(tmp_path, BIRDS, sentence(*rows), BIRDS)
    with pytest.raises(Failure) as caught:
        read(source, tmp_path, (TEXT,), (WORDS,), limits)
    message = one(caught.value.diagnostics, code, 7 + at)
    assert message.startswith(f"`s.conllu` line {7 + at}: {fact}")


def test_several_broken_sentences_are_reported_together(tmp_path):
    found = broken(file_of(tmp_path, sentence(line(1, "a", 9), line(2, "b", 9)), sentence("x")), tmp_path)
    assert [(d.code.id, d.place.line) for d in found] == [("MCD513", 1), ("MCD513", 2), ("MCD513", 4)]
    assert len(broken(file_of(tmp_path, *["x\n\n"] * 100), tmp_path)) == 8


def test_invalid_utf8_is_named(tmp_path):
    source = file_of(tmp_path)
    source.files[0].write_bytes(BIRDS.encode() + b"1\t\xe9" + b"\t_" * 8)
    assert "invalid UTF-8 at byte 3 (0xe9)" in one(broken(source, tmp_path), "MCD506", 7)


def test_a_file_without_a_sentence_is_a_finding(tmp_path):
    one(broken(file_of(tmp_path, "\n \n"), tmp_path), "MCD502")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=12),
    st.sampled_from([1, 7, 40, 200, 10_000]),
    st.sampled_from([1, 3, 64, 1 << 20]),
    st.sampled_from([Limits(), Limits(1, 1), Limits(4, 50)]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_tasks_begin_at_sentences_and_hold_each_once(tmp_path_factory, shape, size, block, limits, eol, ends):
    """`shape`: how many words each sentence has, and how many blank lines follow it."""
    folder = tmp_path_factory.mktemp("conllu")
    content, starts = "", []
    for number, (count, blank) in enumerate(shape):
        starts.append(content.count("\n"))
        content += "".join(line(i + 1, f"w{number}.{i}") + eol for i in range(count)) + eol * blank
    content = content if ends else content.rstrip("\r\n")
    source = file_of(folder, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "TASK_BYTES", size)
        patch.setattr("mcd.compiler.sources.inventory._BLOCK", block)
        found = inventory(source, folder, Findings())
        ranges = [task.range for task in found.tasks]
        rows, columns = read(source, folder, (TEXT,), (), limits)
    assert rows == starts
    assert columns[TEXT] == [" ".join(f"w{n}.{i}" for i in range(count)) for n, (count, _) in enumerate(shape)]
    data = content.encode()
    assert [r.start for r in ranges] == [0, *(r.stop for r in ranges[:-1])]
    assert ranges[-1].stop == len(data)
    assert [data.count(b"\n", 0, r.start) for r in ranges] == [r.row for r in ranges]
    for before, after in pairwise(ranges):
        assert data[: after.start].replace(b"\r", b"").endswith(b"\n\n")
        assert before.stop - before.start >= size // 2
    assert found.rows == len(content.splitlines())


FORM = st.sampled_from(["a", "b", "ab", "é", "😀", "a b", "_", "."])
TOKENS = st.lists(
    st.tuples(
        st.lists(FORM, min_size=1, max_size=3), st.sampled_from([None, "a", "xy"]), st.sampled_from(["", " ", "  "])
    ),
    min_size=1,
    max_size=6,
)
"""Tokens: their words, the token's own spelling where the words do not spell it, and the space after it."""


@settings(max_examples=200, deadline=None)
@given(TOKENS, st.booleans(), st.data())
def test_entries_stand_where_they_say_and_heads_find_their_entries(tmp_path_factory, tokens, with_text, data):
    count = sum(len(forms) for forms, _, _ in tokens)
    heads = [data.draw(st.one_of(st.none(), st.integers(0, count))) for _ in range(count)]
    rows, text, at, of_word = [], "", 0, []
    for number, (forms, own, space) in enumerate(tokens):
        spelt = "".join(forms) if own is None or len(forms) == 1 else own
        misc = "_" if space else "SpaceAfter=No"
        if len(forms) > 1:
            rows.append(line(f"{at + 1}-{at + len(forms)}", spelt, misc=misc))
        rows += [
            line(
                at + i + 1, form, "_" if heads[at + i] is None else heads[at + i], misc=misc if len(forms) == 1 else "_"
            )
            for i, form in enumerate(forms)
        ]
        whole = "".join(forms) == spelt
        of_word += [(number, i if whole else 0) for i in range(len(forms))]
        at += len(forms)
        text += spelt + (space if with_text else space[:1])
    comments = {"text": text.strip(" ")} if with_text else {}
    keys = ("id", "head", "form", "start", "end", "parts")
    texts, found = words(tmp_path_factory.mktemp("conllu"), sentence(*rows, **comments), keys=keys)
    assert texts == [text.strip(" ")]
    assert [(texts[0][start:end], parts) for _, _, _, start, end, parts in found[0]] == [
        entry
        for forms, own, _ in tokens
        for entry in (
            [(form, 1) for form in forms]
            if own is None or len(forms) == 1 or own == "".join(forms)
            else [(own, len(forms))]
        )
    ]
    assert all(texts[0][start:end] == form for _, _, form, start, end, _ in found[0])
    of_id = {id: of_word[id - 1] for id, *_ in found[0]}
    edges = {(of_id[id], of_id[head]) for id, head, *_ in found[0] if head}
    tops = {}
    for word, entry in enumerate(of_word):
        inside = {i + 1 for i, other in enumerate(of_word) if other == entry}
        if entry not in tops and heads[word] not in inside:
            tops[entry] = heads[word]
    assert edges == {(entry, of_word[head - 1]) for entry, head in tops.items() if head} | {
        (entry, entry) for entry in of_id.values() if entry not in tops and heads[of_word.index(entry)]
    }
