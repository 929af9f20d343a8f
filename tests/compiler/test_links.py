"""Joins by a record's own list of pairs, by hand and against plain loops."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcd.compiler.evaluation import joins
from mcd.compiler.evaluation.evaluate import Evaluator
from mcd.compiler.walk import join_sets
from mcd.dsl import checked as c
from mcd.dsl.diagnostics import Failure
from mcd.dsl.source import DataPlace

from ..projects import compiled, project
from .helpers import KEY, KEY_BEFORE, LINKED, QUERY, attr, batch, compare, equal, named, place_edges, row
from .slow import SPECIAL, Slow
from .test_selectors_slow import FULL_SETS, conditions, make
from .test_selectors_slow import rows as random_rows

TOKENS = c.Tokens()


def linked(*links, condition=LINKED, pick="all", query=TOKENS, key=TOKENS, text="a b c d"):
    """The edges of a join over one record that lists `links`, as places in its sets, with their weights."""
    join = c.Join(query, key, condition, pick, 64)
    texts = batch(row(text, links=[list(link) for link in links]))
    found = Evaluator(join_sets([join])).start(texts).join(join)[2]
    return list(zip(found.query.tolist(), found.key.tolist(), found.weight.tolist(), strict=True))


def test_pairs_come_from_the_list_in_the_order_of_the_text():
    assert linked([3, 0], [1, 2], [1, 1]) == [(1, 1, 1), (1, 2, 1), (3, 0, 1)]
    assert linked([3, 0], [1, 2], condition=c.Linked(("align",), "key")) == [(0, 3, 1), (2, 1, 1)]


def test_weights_are_kept_added_up_and_1_unless_given():
    assert linked([1, 0, 0.5], [1, 2, 0.25], [1, 0, 0.25], [2, 2, 1]) == [(1, 0, 0.75), (1, 2, 0.25), (2, 2, 1)]


def test_a_weight_of_0_is_no_link():
    assert linked([1, 0, 0.0], [2, 0, 0.5]) == [(2, 0, 0.5)]


def test_other_conditions_stand_beside_the_list():
    """Of (1, 0), (1, 2), (2, 1) and (3, 0): those whose key comes before; of these the nearest; those of one text; or any."""
    links = ([1, 0], [1, 2], [2, 1, 0.5], [3, 0], [3, 1])
    before = c.And((LINKED, KEY_BEFORE))
    assert [edge[:2] for edge in linked(*links, condition=before)] == [(1, 0), (2, 1), (3, 0), (3, 1)]
    assert [edge[:2] for edge in linked(*links, condition=before, pick="nearest")] == [(1, 0), (2, 1), (3, 1)]
    same = c.And((equal(attr("text", "query"), attr("text", "key")), LINKED))
    assert linked(*links, condition=same, text="a b b a") == [(1, 2, 1), (2, 1, 0.5), (3, 0, 1)]
    either = c.Or((LINKED, compare(QUERY, "==", KEY)))
    assert linked([0, 1, 0.5], condition=either, text="a b") == [(0, 0, 1), (0, 1, 0.5), (1, 1, 1)]
    neither = c.And((c.Not(LINKED), KEY_BEFORE))
    assert linked([1, 0, 0.5], condition=neither, text="a b c") == [(2, 0, 1), (2, 1, 1)]


def test_weights_of_two_lists_multiply():
    other = c.Linked(("align",), "key")
    assert linked([0, 1, 0.5], [1, 0, 0.25], condition=c.And((LINKED, other))) == [(0, 1, 0.125), (1, 0, 0.125)]


def test_products_stay_what_float32_can_hold():
    other = c.Linked(("align",), "key")
    found = linked([0, 1, 1e-30], [1, 0, 1e-30], [2, 2, 1e30], condition=c.And((LINKED, other)))
    assert [weight > 0 and np.isfinite(np.float32(weight)) for *_, weight in found] == [True] * 3


def test_indices_count_in_the_named_set():
    """`word` is a, bb, c, dd. The long words are at 1 and 3 there, also where a filter leaves no other."""
    word = named(c.Regex("[a-z]+"))
    long = c.Filter(word, compare(c.Length(attr("text")), ">", 1))
    given = {"query": long, "key": word, "text": "a bb c dd"}
    assert linked([1, 0], [3, 2], [2, 2], **given) == [(0, 0, 1), (1, 2, 1)]
    assert linked([1, 3], **{**given, "query": named(long), "key": word}) == [(1, 3, 1)]
    with pytest.raises(Failure, match=r"has index 2, of 0\.\.1"):
        linked([2, 0], **{**given, "query": named(long)})


def test_spans_of_an_anonymous_union_may_share_an_index():
    """`a`, `c` and `b`, `d` have indices 0 and 1 each in their sets."""
    either = c.Union(c.Phrases(("a", "c")), c.Phrases(("b", "d")))
    assert linked([1, 0], query=either) == [(2, 0, 1), (3, 0, 1)]


def test_a_record_without_a_list_has_no_edge_and_a_set_of_another_source_no_index():
    join = c.Join(TOKENS, TOKENS, LINKED, "all", 64)
    assert place_edges(batch(row("a b"), row("c d", links=[[1, 0]]), row("e", links=[])), join) == [(3, 2)]
    assert place_edges(batch("a b"), join) == []
    away = c.Join(named(c.OfSource(TOKENS, "t")), TOKENS, LINKED, "all", 64)
    assert place_edges(batch(row("a b", links=[[1, 0]])), away) == []


def test_the_limit_holds_for_links_too():
    join = c.Join(TOKENS, TOKENS, LINKED, "all", 1)
    texts = batch(row("a b", links=[[0, 0], [0, 1], [1, 0, 0.5]]))
    found = Evaluator(join_sets([join])).start(texts).join(join)[2]
    assert (found.key.tolist(), found.weight.tolist(), found.surplus.tolist()) == ([0, 1], [1, 1], [1])


# --- what is wrong in the data


WRONG = {
    "text": (["x"], "MCD570", "the field is of type `string`"),
    "numbers": ([[1, 2]], "MCD570", "an entry is of type `int64`"),
    "single": ([[[0, 1], [1]]], "MCD570", "an entry has 1 numbers"),
    "four": ([[[0, 1, 1, 1]]], "MCD570", "an entry has 4 numbers"),
    "null entry": ([[[0, 1], None]], "MCD570", "an entry is null"),
    "null index": ([[[0, None]]], "MCD570", "an entry holds a null"),
    "words": ([[["a", "b"]]], "MCD570", "an entry holds a value of type `string`"),
    "fraction": ([[[0, 0.5]]], "MCD570", "0.5 is no index"),
    "beyond": ([[[0, 2]]], "MCD571", "an entry has index 2, of 0..1"),
    "negative": ([[[-1, 0]]], "MCD571", "an entry has index -1, of 0..1"),
    "infinite": ([[[0, float("inf")]]], "MCD571", "an entry has index inf, of 0..1"),
    "weight": ([[[0, 1, 0.5], [1, 1, -0.5]]], "MCD572", "an entry has weight -0.5"),
    "no weight": ([[[0, 1, float("nan")]]], "MCD572", "an entry has weight nan"),
    "large weight": ([[[0, 1, 1e39]]], "MCD572", "an entry has weight 1e+39"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_list_of_links_is_told_with_its_record(case):
    values, code, said = WRONG[case]
    texts = batch("x y", "c d", "a b", fields={("align",): pa.array([None, None, *values])})
    with pytest.raises(Failure) as caught:
        place_edges(texts, c.Join(TOKENS, TOKENS, LINKED, "all", 64))
    (found,) = caught.value.diagnostics
    assert (found.code.id, found.place) == (code, DataPlace("s", 7))
    assert found.message == f"`.align` of record `r` (source `s`, row 7): {said}"
    assert "expected a list of `[query, key]`" in (found.help or "")


def test_lists_of_fixed_size_and_small_numbers_are_links():
    kind = pa.list_(pa.list_(pa.int8(), 2))
    texts = batch("a b", fields={("align",): pa.array([[[1, 0]]], kind)})
    assert place_edges(texts, c.Join(TOKENS, TOKENS, LINKED, "all", 64)) == [(1, 0)]


def test_a_spec_that_names_a_list_which_is_wrong(tmp_path):
    spec = """source s = jsonl("data.jsonl") { id = .id  text = .text  split = "train" }
span word = regex("[a-z]+")
attend a: word -> word where linked(.align, query.index, key.index) { layers = 1  heads = any }
"""
    records = [{"id": "x", "text": "a cat", "align": [[1, 0]]}, {"id": "y", "text": "a dog", "align": [[0, 5, 0.5]]}]
    with pytest.raises(Failure) as caught:
        compiled(project(tmp_path, spec, records), tmp_path / "out")
    assert [found.place for found in caught.value.diagnostics] == [DataPlace("data.jsonl", 2)]
    with pytest.raises(Failure, match=r"MCD587 `a` reads `\.align`, which no record has"):
        compiled(project(tmp_path, spec, [{"id": "x", "text": "a cat"}]), tmp_path / "out")


def test_loss_and_heads_of_links_are_the_plans_alone(tmp_path):
    """The weights are stored whether a loss reads them or not; a file of heads is an input, and no part of the shards."""
    spec = """source s = jsonl("data.jsonl") { id = .id  text = .text  split = "train" }
span word = regex("[a-z]+")
attend a: word -> word where linked(.align, query.index, key.index) { at = heads("heads.json") }
"""
    records = [{"id": "x", "text": "a cat", "align": [[1, 0]]}]
    first = compiled(project(tmp_path, spec, records, heads_json="[[1, 0]]"), tmp_path / "out")
    assert first.plan.rules[0].pairs == ((1, 0),) and "edge.weight" in first.plan.columns
    second = compiled(project(tmp_path, spec, records, heads_json="[[2, 1], [1, 1]]"), tmp_path / "out")
    assert second.reused and second.plan.rules[0].pairs == ((1, 1), (2, 1))
    inputs = [{entry.path: entry.digest for entry in made.manifest.inputs}["heads.json"] for made in (first, second)]
    assert inputs[0] != inputs[1]
    weighed = spec.replace('heads("heads.json")', "[[2, 0]]  loss = kl")
    assert compiled(project(tmp_path, weighed, records), tmp_path / "out").reused


# --- against plain loops


@st.composite
def linked_joins(draw):
    """Records with links that are in range, and a join of two named sets, or parts of them, by them and other conditions."""
    records = draw(st.lists(random_rows(), min_size=1, max_size=3))
    whole = [named(draw(FULL_SETS)) for _ in range(2)]
    parts = [draw(st.one_of(st.just(each), st.builds(c.Filter, st.just(each), conditions("self")))) for each in whole]
    for record in records:
        slow = Slow(record)
        sizes = [len(slow.spans(each)) for each in whole]
        number = st.tuples(*(st.integers(0, size - 1) for size in sizes)) if all(sizes) else st.nothing()
        weights = st.sampled_from([[], [0.0], [0.5], [2.0]])
        record.links = [
            [float(a), float(b), *weight]
            for (a, b), weight in draw(st.lists(st.tuples(number, weights), max_size=8) if all(sizes) else st.just([]))
        ]
    other = conditions("query", "key")
    condition = draw(
        st.one_of(
            st.just(LINKED),
            st.builds(lambda x: c.And((LINKED, x)), other),
            st.builds(lambda x, y: c.And((x, c.Or((LINKED, y)))), other, other),
            st.builds(lambda x: c.And((x, c.Not(LINKED))), other),
            st.builds(lambda x: c.And((c.Linked(("align",), "query"), x, LINKED)), other),
        )
    )
    pick = draw(st.sampled_from(["all", "nearest", "first", "last"]))
    return records, c.Join(*parts, condition, pick, draw(st.sampled_from([1, 64])))


@settings(max_examples=40, deadline=None)
@given(linked_joins(), st.sampled_from([1, 5, joins.CHUNK]))
def test_joins(made, chunk):
    records, join = made
    texts = make(records)
    with patch.object(joins, "CHUNK", chunk):
        query, key, edges = Evaluator(join_sets([join]), SPECIAL.get).start(texts).join(join)
    first = [np.searchsorted(side.record, np.arange(len(records))) for side in (query, key)]
    found = [[] for _ in records]
    for q, k, weight in zip(edges.query.tolist(), edges.key.tolist(), edges.weight.tolist(), strict=True):
        number = int(query.record[q])
        found[number].append((q - int(first[0][number]), k - int(first[1][number]), weight))
    for number, record in enumerate(records):
        slow = Slow(record)
        pairs, surplus = slow.join(join)
        queries, keys = slow.spans(join.query), slow.spans(join.key)
        weights = [slow.weight(LINKED, {"query": queries[q], "key": keys[k]}) or 1 for q, k in pairs]
        assert found[number] == [(*pair, weight) for pair, weight in zip(pairs, weights, strict=True)]
        assert edges.surplus[number] == surplus
