"""Joins of two sets."""

from unittest.mock import patch

import numpy as np
import pytest

from mcd.compiler.evaluation import joins
from mcd.compiler.evaluation.evaluate import Evaluator
from mcd.compiler.evaluation.matching import MAX_ALTERNATIVES, cut
from mcd.compiler.walk import join_sets
from mcd.dsl import checked as c
from mcd.dsl.codes import sources as codes
from mcd.dsl.diagnostics import Failure

from .helpers import KEY, KEY_BEFORE, MENTIONS, QUERY, Row, attr, batch, compare, edges, equal, place_edges, row

TOKENS = c.Tokens()
SAME_KIND = equal(attr("kind", "query"), attr("kind", "key"))


def join(condition, pick="all", query=TOKENS, key=TOKENS, limit=64):
    return c.Join(query, key, condition, pick, limit)


def mentions(text, *listed):
    """A text with mentions, each `(word, kind)`, looked for from left to right."""
    entries, begin = [], 0
    for word, kind in listed:
        begin = text.index(word, begin)
        entries.append({"start": begin, "end": begin + len(word), "kind": kind})
    return row(text, entries)


def test_coreference_by_equality_before_and_nearest():
    texts = batch(
        mentions("Ann met Bo. Ann saw Bo. She", ("Ann", "f"), ("Bo", "m"), ("Ann", "f"), ("Bo", "m"), ("She", "f"))
    )
    before = c.And((SAME_KIND, KEY_BEFORE))
    assert place_edges(texts, join(before, "nearest", MENTIONS, MENTIONS)) == [(2, 0), (3, 1), (4, 2)]
    assert place_edges(texts, join(before, "first", MENTIONS, MENTIONS)) == [(2, 0), (3, 1), (4, 0)]
    assert place_edges(texts, join(before, "last", MENTIONS, MENTIONS)) == [(2, 0), (3, 1), (4, 2)]
    assert place_edges(texts, join(before, "all", MENTIONS, MENTIONS)) == [(2, 0), (3, 1), (4, 0), (4, 2)]


def test_induction_looks_at_the_token_before_the_key():
    texts = batch(row("a b c a b"), row("b c"))
    condition = c.And((equal(attr("text", "key", "previous"), attr("text", "query")), KEY_BEFORE))
    assert place_edges(texts, join(condition)) == [(3, 1), (4, 2)]


def test_induction_over_white_space_and_parts_of_characters_goes_by_the_vocabulary():
    """`\\n` and two spaces are both empty texts, and both parts of a smiley are a smiley; yet no edge mixes them up."""
    condition = c.And((equal(attr("text", "key", "previous"), attr("text", "query")), KEY_BEFORE))
    texts = batch(Row(["\n", "a", "  ", "b", "\n"]))
    assert place_edges(texts, join(condition)) == [(4, 1)]
    texts = batch(Row([("🙂", 2), " a", ("🙂", 2)]))
    assert place_edges(texts, join(condition)) == [(3, 1), (4, 2)]


def test_identity_and_arithmetic_are_equalities():
    texts = batch(row("a b c"), row("d e"))
    by_step = join(c.Compare("==", KEY, c.SpanRef("query", ("previous",))))
    by_index = join(equal(attr("index", "query"), c.Arithmetic("+", attr("index", "key"), c.Literal_(1))))
    assert place_edges(texts, by_step) == place_edges(texts, by_index) == [(1, 0), (2, 1), (4, 3)]


def test_a_key_may_be_the_query_unless_the_condition_says_otherwise():
    texts = batch("a b")
    assert place_edges(texts, join(None)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert place_edges(texts, join(None, "nearest")) == [(0, 0), (1, 1)]
    assert place_edges(texts, join(compare(QUERY, "!=", KEY))) == [(0, 1), (1, 0)]


def test_null_equals_nothing():
    texts = batch(mentions("a b c", ("a", "x"), ("b", None), ("c", None)))
    assert place_edges(texts, join(SAME_KIND, "all", MENTIONS, MENTIONS)) == [(0, 0)]


def test_one_sided_parts_filter():
    texts = batch("a b c")
    condition = c.And((equal(attr("text", "query"), "c"), compare(attr("text", "key"), "!=", "b"), KEY_BEFORE))
    assert edges(texts, join(condition)) == [("c", "a")]
    assert edges(texts, join(equal(c.Literal_(1), 2))) == []


def test_nearest_is_by_code_points_on_either_side_and_the_later_on_a_tie():
    """`a` has three signs of three bytes to its left and four of one byte to its right: left is nearer. Then three each."""
    a, x = c.Phrases(("a",)), c.Regex("x")
    assert place_edges(batch("x。。。a....x"), join(None, "nearest", a, x)) == [(0, 0)]
    assert place_edges(batch("x。。。a...x"), join(None, "nearest", a, x)) == [(0, 1)]


@pytest.mark.parametrize("condition", [KEY_BEFORE, c.And((KEY_BEFORE, compare(QUERY, "!=", KEY)))])
def test_nearest_among_nested_keys(condition):
    """Of `b c` and `c` before `d` the gaps are equal, and `c` is later; `a b c d` is no key before `d`."""
    text = "a b c d"
    listed = [("a b c d", "k"), ("b c", "k"), ("c", "k"), ("d", "q")]
    entries = [{"start": text.index(word), "end": text.index(word) + len(word), "kind": kind} for word, kind in listed]
    texts = batch(row(text, entries))
    query, key = (c.Filter(MENTIONS, equal(attr("kind"), kind)) for kind in "qk")
    assert edges(texts, join(condition, "nearest", query, key)) == [("d", "c")]
    assert edges(texts, join(condition, "all", query, key)) == [("d", "b c"), ("d", "c")]


def test_a_window():
    texts = batch("a b c d e")
    near = compare(attr("index", "key"), ">=", c.Arithmetic("-", attr("index", "query"), c.Literal_(2)))
    assert place_edges(texts, join(c.And((KEY_BEFORE, near)))) == [
        (1, 0),
        (2, 0),
        (2, 1),
        (3, 1),
        (3, 2),
        (4, 2),
        (4, 3),
    ]
    after = c.Before(QUERY, KEY)
    assert place_edges(texts, join(after, "nearest")) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_or_is_a_union_of_joins_without_repetition():
    texts = batch("a b a")
    same = equal(attr("text", "query"), attr("text", "key"))
    condition = c.And((c.Or((same, KEY_BEFORE)), compare(QUERY, "!=", KEY)))
    assert len(cut(condition)) == 2
    assert place_edges(texts, join(condition)) == [(0, 2), (1, 0), (2, 0), (2, 1)]
    assert place_edges(texts, join(condition, "nearest")) == [(0, 2), (1, 0), (2, 1)]
    assert place_edges(texts, join(condition, "first")) == [(0, 2), (1, 0), (2, 0)]


def test_a_condition_with_too_many_alternatives_is_tried_as_it_stands():
    same = equal(attr("index", "query"), attr("index", "key"))
    both = c.And(tuple(c.Or((same, compare(attr("index", "query"), ">", c.Literal_(i)))) for i in range(6)))
    assert len(cut(both)) <= MAX_ALTERNATIVES
    assert len(cut(c.Or((same,) * 40))) == 1
    assert place_edges(batch("a b"), join(both)) == [(0, 0), (1, 1)]


def test_no_pair_is_made_for_equality_before_and_nearest():
    condition = c.And((equal(attr("text", "query"), attr("text", "key")), KEY_BEFORE))
    with (
        patch.object(joins, "_best_pair", side_effect=AssertionError),
        patch.object(joins, "_chunks", side_effect=AssertionError),
    ):
        assert place_edges(batch("a b a b a"), join(condition, "nearest")) == [(2, 0), (3, 1), (4, 2)]


@pytest.mark.parametrize("condition", [KEY_BEFORE, c.And((KEY_BEFORE, compare(QUERY, "!=", KEY)))])
@pytest.mark.parametrize("chunk", [1, joins.CHUNK])
def test_edges_beyond_the_limit_are_dropped_from_the_end_and_counted(condition, chunk):
    """Six tokens give 15 edges; at most one per token stay: six, and three of three in the next record, none dropped."""
    texts = batch(row("a b c d e f"), row("a b c"), added=1)
    with patch.object(joins, "CHUNK", chunk):
        found = Evaluator(join_sets([join(condition, limit=1)])).start(texts).join(join(condition, limit=1))[2]
    pairs = list(zip(found.query.tolist(), found.key.tolist(), strict=True))
    assert pairs == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (7, 6), (8, 6), (8, 7)]
    assert found.surplus.tolist() == [9, 0]


def test_empty_sets():
    texts = batch("a b", "")
    none = c.Phrases(("x",))
    for pick in ("all", "nearest", "first"):
        for query, key in ((none, TOKENS), (TOKENS, none), (none, none)):
            for condition in (
                None,
                KEY_BEFORE,
                equal(attr("text", "query"), attr("text", "key")),
                compare(QUERY, "!=", KEY),
            ):
                found = Evaluator([query, key]).start(texts).join(join(condition, pick, query, key))[2]
                assert len(found.query) == len(found.key) == 0
                assert found.surplus.tolist() == [0, 0] and found.query.dtype == np.int64


def test_an_attribute_of_no_span_joins_nothing():
    texts = batch("a b")
    assert place_edges(texts, join(SAME_KIND)) == []
    assert place_edges(texts, join(compare(attr("kind", "query"), "<", attr("index", "key")))) == []


@pytest.mark.parametrize("op", ["==", "!=", "<"])
def test_types_that_do_not_go_together_are_told_with_or_without_pairs(op):
    texts = batch(mentions("a b", ("a", "x")), row("c"))
    condition = compare(attr("kind", "query"), op, attr("index", "key"))
    for query in (MENTIONS, c.Filter(MENTIONS, equal(attr("index"), 5))):
        with pytest.raises(Failure) as caught:
            edges(texts, join(condition, "all", query))
        (found,) = caught.value.diagnostics
        assert (found.code, found.place) == (codes.CONDITION_TYPES, None)
        assert f"in `query.kind {op} key.index`, over source `s`: `{op}` compares" in found.message


def test_large_and_broken_numbers_as_keys():
    """2^53 + 1 is no float64: whole numbers are compared whole."""
    entries = [
        {"start": i, "end": i + 1, "id": id, "size": size}
        for i, (id, size) in enumerate([(2**53, 0.0), (2**53 + 1, -0.0)])
    ]
    texts = batch(Row(["a", "b"], entries))
    assert place_edges(texts, join(equal(attr("id", "query"), attr("id", "key")), "all", MENTIONS, MENTIONS)) == [
        (0, 0),
        (1, 1),
    ]
    both = join(equal(attr("size", "query"), attr("size", "key")), "all", MENTIONS, MENTIONS)
    assert place_edges(texts, both) == [(0, 0), (0, 1), (1, 0), (1, 1)]
