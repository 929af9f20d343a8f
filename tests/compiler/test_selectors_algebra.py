"""Sets made of sets: the algebra, picks, neighbours, names."""

import pytest

from mcd.dsl import checked as c
from mcd.dsl.codes import sources as codes
from mcd.dsl.diagnostics import Failure

from .helpers import MENTIONS, PLACE, Row, attr, batch, compare, evaluate, named, row, words

TOKENS = c.Tokens()


def phrases(*listed):
    return c.Phrases(listed)


def at(start, end, **rest):
    return {"start": start, "end": end, **rest}


def test_nested_and_overlapping_spans_by_shared_characters():
    texts = batch("a b c d")
    left = c.Union(c.Union(phrases("a b"), phrases("b c")), c.Union(phrases("c"), phrases("d")))
    right = phrases("b")
    assert words(texts, left) == ["a b", "b c", "c", "d"]
    assert words(texts, c.Intersection(left, right)) == ["a b", "b c"]
    assert words(texts, c.Difference(left, right)) == ["c", "d"]
    assert words(texts, c.Within(left, phrases("b c"))) == ["b c", "c"]


def test_a_far_reaching_span_counts_behind_a_short_one():
    texts = batch("a b c d e")
    outer = c.Union(phrases("a b c d"), phrases("b"))
    assert words(texts, c.Intersection(phrases("c"), outer)) == ["c"]
    assert words(texts, c.Within(phrases("c d"), outer)) == ["c d"]


def test_spans_that_touch_share_nothing():
    texts = batch("ab")
    one, other = c.Phrases(("a",), words=False), c.Phrases(("b",), words=False)
    assert words(texts, c.Intersection(one, other)) == []


def test_tokens_without_an_answer():
    texts = batch(row("yes or no"))
    assert words(texts, c.Difference(TOKENS, phrases("or"))) == ["yes", "no"]


def test_empty_sets():
    texts = batch("a b")
    none = phrases("x")
    assert words(texts, c.Union(none, none)) == words(texts, c.Intersection(TOKENS, none)) == []
    assert words(texts, c.Union(none, phrases("a"))) == words(texts, c.Difference(phrases("a"), none)) == ["a"]
    assert words(texts, c.Within(TOKENS, none)) == words(texts, c.Neighbour(none, "next")) == []


def test_union_joins_attributes_and_the_left_wins():
    left, right = c.Offsets(("left",), None), c.Offsets(("right",), None)
    kind = {
        "left": [at(0, 1, kind="x", id=1), at(2, 3, kind=None, id=2)],
        "right": [at(2, 3, kind="y", size=0.5), at(4, 5, kind="z")],
    }
    fields = {(side,): batch(Row(["-"], kind[side])).fields[("mentions",)] for side in kind}
    spans = evaluate(batch("a b c", fields=fields), c.Union(left, right))
    assert {name: column.to_pylist() for name, column in spans.attributes.items()} == {
        "kind": ["x", "y", "z"],
        "id": [1, 2, None],
        "size": [None, 0.5, None],
    }
    assert spans.index.tolist() == [0, 1, 1]


def test_union_of_numbers_and_strings_is_told_at_the_set():
    fields = {
        ("left",): batch(Row(["-"], [at(0, 1, kind="x")])).fields[("mentions",)],
        ("right",): batch(Row(["-"], [at(0, 1, kind=1)])).fields[("mentions",)],
    }
    with pytest.raises(Failure) as caught:
        evaluate(batch("a", fields=fields), named(c.Union(c.Offsets(("left",), None), c.Offsets(("right",), None))))
    (found,) = caught.value.diagnostics
    assert (found.code, found.place) == (codes.ATTRIBUTE_CONFLICT, PLACE)
    assert "`kind`" in found.message and "`string` and `int64`" in found.message


def test_union_of_whole_and_broken_numbers():
    fields = {
        ("left",): batch(Row(["-"], [at(0, 1, size=1)])).fields[("mentions",)],
        ("right",): batch(Row(["-"], [at(2, 3, size=0.5)])).fields[("mentions",)],
    }
    spans = evaluate(batch("a b", fields=fields), c.Union(c.Offsets(("left",), None), c.Offsets(("right",), None)))
    assert spans.attributes["size"].to_pylist() == [1.0, 0.5]


def test_a_long_union_does_not_nest():
    letters = [chr(97 + i) for i in range(26)]
    union = phrases("a")
    for i in range(300):
        union = c.Union(union, phrases(letters[i % 26]))
    assert words(batch("z a m"), union) == ["z", "a", "m"]


def test_index_counts_in_the_nearest_named_set():
    texts = batch("a b c a", "b c")
    some = c.Filter(TOKENS, compare(attr("text"), "!=", "a"))
    assert evaluate(texts, some).index.tolist() == [1, 2, 0, 1]
    assert evaluate(texts, named(some)).index.tolist() == [0, 1, 0, 1]
    assert evaluate(texts, c.Difference(named(some), phrases("b"))).index.tolist() == [1, 1]


def test_first_and_last_of_a_record():
    texts = batch("a b c", "", "d")
    assert words(texts, c.Take(TOKENS, "first", 2)) == ["a", "b", "d"]
    last = evaluate(texts, c.Take(TOKENS, "last", 2))
    assert last.index.tolist() == [1, 2, 0]
    assert words(texts, c.Take(TOKENS, "last", 0)) == []


def test_first_and_last_token_of_spans_keep_attributes():
    texts = batch(Row(["un", "do", " it", " now"], [at(1, 7, kind="x"), at(0, 4, kind="y"), at(0, 11, kind="z")]))
    first = evaluate(texts, c.Edge(MENTIONS, "first"))
    assert (first.token.tolist(), first.attributes["kind"].to_pylist()) == ([0], ["y"])
    last = evaluate(texts, c.Edge(MENTIONS, "last"))
    assert (last.token.tolist(), last.attributes["kind"].to_pylist()) == ([1, 2, 3], ["y", "x", "z"])
    assert last.index.tolist() == [0, 1, 2]


def test_neighbours_stop_at_the_record_and_leave_out_added_tokens():
    texts = batch(row("a b"), row("c d"), added=1)
    assert words(texts, c.Neighbour(phrases("b", "c"), "next")) == ["d"]
    assert words(texts, c.Neighbour(phrases("b", "c"), "previous")) == ["a"]
    assert words(texts, c.Predicting(c.Union(phrases("b"), phrases("c")))) == ["a"]


def test_a_neighbour_may_be_white_space_and_has_no_attributes():
    texts = batch(Row(["a", "\n", "b"], [at(0, 1, kind="x")]))
    spans = evaluate(texts, c.Neighbour(MENTIONS, "next"))
    assert (spans.token.tolist(), spans.start.tolist(), spans.end.tolist()) == ([1], [1], [1])
    assert not spans.attributes
    assert evaluate(texts, c.Predicting(phrases("b"))).token.tolist() == [1]


def test_white_space_belongs_to_tokens_and_to_no_other_span():
    texts = batch(Row(["a", "\n", "b"]))
    record = c.Record()
    assert evaluate(texts, c.Intersection(TOKENS, record)).token.tolist() == [0, 2]
    assert evaluate(texts, c.Difference(TOKENS, record)).token.tolist() == [1]
    assert evaluate(texts, c.Within(TOKENS, record)).token.tolist() == [0, 2]
    blank = c.Filter(TOKENS, compare(attr("text"), "==", ""))
    assert evaluate(texts, c.Difference(TOKENS, blank)).token.tolist() == [0, 2]
    assert evaluate(texts, c.Union(blank, record)).token.tolist() == [-1, 1]


def test_tokens_of_one_character_stay_apart():
    texts = batch(Row([("🙂", 3), " a"]))
    assert evaluate(texts, c.Union(TOKENS, phrases("🙂"))).token.tolist() == [-1, 0, 1, 2, 3]
    assert evaluate(texts, c.Edge(phrases("🙂"), "last")).token.tolist() == [2]
    assert evaluate(texts, c.Union(phrases("a"), TOKENS)).token.tolist() == [0, 1, 2, 3]


def test_a_span_between_tokens_has_no_token():
    texts = batch(Row(["a", " b"], [at(0, 1)]))
    texts.tokens.start[0] = texts.tokens.end[0] = 1
    assert len(evaluate(texts, MENTIONS)) == 1
    assert len(evaluate(texts, c.Edge(MENTIONS, "first"))) == len(evaluate(texts, c.Neighbour(MENTIONS, "next"))) == 0
