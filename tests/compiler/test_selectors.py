"""Selectors that read the text: phrases, patterns, slots, tokens, the record."""

import numpy as np
import pyarrow as pa
import pytest

from mcd.compiler.evaluation.evaluate import Evaluator
from mcd.dsl import checked as c
from mcd.dsl.codes import sources as codes
from mcd.dsl.diagnostics import Failure

from .helpers import PLACE, Row, batch, evaluate, named, row, words


def phrases(*listed, **options):
    return c.Phrases(listed, **options)


def test_phrases_are_whole_words_unless_told():
    texts = batch("cat concat cats cat_ cat-cat")
    assert words(texts, phrases("cat")) == ["cat", "cat", "cat"]
    assert evaluate(texts, phrases("cat")).start.tolist() == [0, 21, 25]
    assert len(evaluate(texts, phrases("cat", words=False))) == 6


def test_a_phrase_of_signs_needs_no_word_border():
    assert words(batch("a-b -- c"), phrases("-", "--")) == ["-", "--"]


@pytest.mark.parametrize(
    "text, phrase, count",
    [
        ("Ünder über", "über", 1),
        ("xüber", "über", 0),
        ("überx", "über", 0),
        ("über١", "über", 0),  # an Arabic digit goes on with the word
        ("über。", "über", 1),
        ("日本語", "本", 0),  # a script without spaces is one word
        ("naïve", "na", 0),
    ],
)
def test_words_are_those_of_unicode(text, phrase, count):
    assert len(evaluate(batch(text), phrases(phrase))) == count


@pytest.mark.parametrize("text, phrase", [("ḁ", "a"), ("plan ḁ", "plan a"), ("ñst", "1st"), ("ß!", "_"), ("xá", "á")])
def test_the_mark_on_a_words_first_letter_is_not_taken_for_another_character(text, phrase):
    """`a` with its high bit set is 0xE1, the first byte of `ḁ`; `1` so marked is 0xB1, the last byte of `ñ`."""
    assert words(batch(text), phrases(phrase)) == []
    assert words(batch(f"{text} {phrase}."), phrases(phrase)) == [phrase]


def test_phrases_are_leftmost_then_longest_without_overlap():
    assert words(batch("new york city hall"), phrases("new york", "york city hall", "new york city", "hall")) == [
        "new york city",
        "hall",
    ]


def test_the_word_border_counts_before_the_longest_is_chosen():
    assert words(batch("in as much"), phrases("in as", "in as m")) == ["in as"]


def test_phrases_do_not_reach_from_one_record_into_the_next():
    texts = batch("ab", "cd ab", "c")
    assert evaluate(texts, phrases("abc", "bc", words=False)).record.tolist() == []
    assert evaluate(texts, phrases("ab")).record.tolist() == [0, 1]


def test_many_sets_of_phrases_share_their_pass_and_keep_their_own_matches():
    sets = [phrases("red"), phrases("red car", "car"), phrases("car", ignore_case=True), phrases("ca", words=False)]
    texts = batch("red car, Red Car")
    evaluation = Evaluator(sets).start(texts)
    found = [
        [texts.buffer[a:b].tobytes() for a, b in zip(s.start, s.end, strict=True)] for s in map(evaluation.spans, sets)
    ]
    assert found == [[b"red"], [b"red car"], [b"car", b"Car"], [b"ca"]]


def test_case_folds_a_character_at_a_time_where_its_length_stays():
    texts = batch("ÉCOLE ΑΒΓ \u212aelvin İ 🙂X")
    assert words(texts, phrases("école", "αβγ", "kelvin", "i", "🙂x", ignore_case=True)) == ["ÉCOLE", "ΑΒΓ", "🙂X"]


def test_outer_white_space_is_no_part_of_a_match():
    assert evaluate(batch("a as b"), phrases(" as ")).start.tolist() == [2]
    assert len(evaluate(batch("a  b"), phrases(" "))) == 0


def test_phrases_and_a_set_unknown_to_the_evaluator():
    texts = batch("one two")
    evaluation = Evaluator([]).start(texts)
    assert len(evaluation.spans(phrases("one"))) == len(evaluation.spans(c.Regex("t.o"))) == 1
    assert len(evaluation.spans(phrases(""))) == 0


def test_a_pattern_is_leftmost_longest_whatever_its_alternatives():
    texts = batch("abcd", "xab")
    assert words(texts, c.Regex("ab|abcd")) == ["abcd", "ab"]
    assert words(texts, c.Regex("[ab]+?")) == ["ab", "ab"]
    assert words(texts, c.Regex("^ab")) == ["ab"]
    assert words(texts, c.Regex("B", ignore_case=True)) == ["b", "b"]


def test_a_pattern_reads_characters_and_leaves_out_empty_matches():
    texts = batch("né 語 x")
    assert words(texts, c.Regex("[^ ]")) == ["n", "é", "語", "x"]
    assert words(texts, c.Regex("x*")) == ["x"]
    assert words(texts, c.Regex(r"\pL+")) == ["né", "語", "x"]


def test_a_pattern_that_cuts_a_character_is_told_at_the_set():
    with pytest.raises(Failure) as caught:
        evaluate(batch("né"), named(c.Regex(r"n\C")))
    (found,) = caught.value.diagnostics
    assert (found.code, found.place) == (codes.PATTERN_BYTES, PLACE)


def test_tokens_and_record():
    texts = batch(row("ab c \n"), row(""), row("  "), added=2)
    tokens = evaluate(texts, c.Tokens())
    assert tokens.token.tolist() == [2, 3, 4, 5, 10, 11]
    assert tokens.index.tolist() == [0, 1, 2, 3, 0, 1]
    assert tokens.record.tolist() == [0, 0, 0, 0, 2, 2]
    record = evaluate(texts, c.Record())
    assert (record.start.tolist(), record.end.tolist(), record.token.tolist()) == ([0], [4], [-1])


def test_a_slot_gives_what_stands_there():
    texts = batch(Row(["so", " it"], slot=(2, 5)), Row(["x"], slot=(0, 0)))
    assert words(texts, c.Slot(("slot",))) == ["it"]
    assert len(evaluate(texts, c.Slot(("other",)))) == 0


def test_a_set_of_another_source_is_empty():
    texts = batch("a")
    assert words(texts, c.OfSource(c.Tokens(), "s")) == ["a"]
    assert words(texts, c.OfSource(c.Tokens(), "t")) == []


def test_a_batch_without_records():
    texts = batch()
    for definition in (c.Tokens(), c.Record(), phrases("a"), c.Regex("a"), c.Predicting(c.Tokens())):
        spans = evaluate(texts, definition)
        assert len(spans) == 0 and spans.start.dtype == np.int64


def test_a_definition_is_computed_once():
    once, again = named(phrases("a")), c.Named(phrases("a"), "other", PLACE)
    evaluation = Evaluator([once, again]).start(batch("a"))
    assert evaluation.spans(once) is evaluation.spans(again)
    assert isinstance(evaluation.batch.ids, pa.StringArray)
