"""Random sets and joins over random records, against plain loops; together and one by one."""

from unittest.mock import patch

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mcd.compiler.evaluation import joins
from mcd.compiler.evaluation.evaluate import Evaluator
from mcd.compiler.selectors import phrases
from mcd.compiler.walk import join_sets
from mcd.dsl import checked as c

from .helpers import MENTIONS, PLACE, Row, batch
from .slow import SPECIAL, Slow

WORDS = ["a", "ab", "b", "é", "Éa", "a_b", "1", "-", "ß"]
TOKENS = st.one_of(
    st.sampled_from([*WORDS, *(f" {word}" for word in WORDS), " ", "\n", "\u00a0 "]),
    st.sampled_from([("🙂", 2), ("語", 3)]),
)
ENTRY = pa.list_(
    pa.struct(
        [("start", pa.int64()), ("end", pa.int64()), ("kind", pa.string()), ("size", pa.int64()), ("ok", pa.bool_())]
    )
)


@st.composite
def rows(draw):
    row = Row(draw(st.lists(TOKENS, min_size=draw(st.sampled_from([0, 4, 8])), max_size=10)), [])
    size = len(row.text)
    ranges = st.tuples(st.integers(0, size), st.integers(0, size)).map(sorted).filter(lambda pair: pair[0] < pair[1])
    if size:
        for start, end in draw(st.lists(ranges, max_size=5)):
            row.mentions.append(
                {
                    "start": start,
                    "end": end,
                    "kind": draw(st.sampled_from(["x", "y", "a", None])),
                    "size": draw(st.sampled_from([0, 1, 2, None])),
                    "ok": draw(st.sampled_from([True, False, None])),
                }
            )
        row.slot = tuple(draw(ranges))
    else:
        row.slot = (0, 0)
    return row


PHRASES = st.builds(
    c.Phrases,
    st.lists(
        st.sampled_from(["a", "ab", "a b", "b", "É", "éa", "ab a", " a ", "1 -", "🙂", "a_b", " "]),
        min_size=1,
        max_size=4,
    ).map(tuple),
    st.booleans(),
    st.booleans(),
)
PATTERNS = st.builds(c.Regex, st.sampled_from(["[ab]", "a|ab", "a*", "(é|É)a?", " ?b", ".b", r"[^a]+"]), st.booleans())
SPECIALS = st.builds(c.Special, st.sets(st.sampled_from(sorted(SPECIAL)), min_size=1).map(sorted).map(tuple))
SELECTORS = st.one_of(*map(st.just, [c.Tokens(), c.Record(), MENTIONS, c.Slot(("slot",))]), PHRASES, PATTERNS, SPECIALS)


def references(role):
    steps = st.lists(st.sampled_from(["first", "last", "next", "previous"]), max_size=2).map(tuple)
    return st.builds(c.SpanRef, st.just(role), steps)


def numbers(role):
    read = st.builds(c.Attr, references(role), st.sampled_from(["start", "end", "index", "size"]))
    measured = st.builds(c.Length, texts(role))
    some = st.one_of(read, measured)
    sums = st.builds(c.Arithmetic, st.sampled_from("+-*/"), some, st.integers(0, 3).map(c.Literal_))
    return st.one_of(some, sums)


def texts(role):
    return st.builds(c.Attr, references(role), st.sampled_from(["text", "kind"]))


def comparisons(left_role, right_role):
    """Of one role with another, or with a constant where there is no other."""
    orders = st.sampled_from(["==", "==", "!=", "<", ">", "<=", ">="])
    same = st.sampled_from(["==", "!="])
    number, text, span = numbers(right_role), texts(right_role), references(right_role)
    if left_role == right_role:
        number, text = st.integers(0, 3).map(c.Literal_), st.sampled_from(["a", "ab", "x", ""]).map(c.Literal_)
    return st.one_of(
        st.builds(c.Compare, orders, numbers(left_role), number),
        st.builds(c.Compare, orders, texts(left_role), text),
        st.builds(c.Compare, same, references(left_role), span),
        st.builds(c.Before, references(left_role), references(right_role)),
    )


def conditions(*roles):
    one = [comparisons(role, role) for role in roles]
    one += [st.builds(c.Attr, references(role), st.just("ok")) for role in roles]
    one += [st.builds(c.Member, texts(role), st.just(("a", "x"))) for role in roles]
    one += [st.builds(c.Member, numbers(role), st.just((0, 2))) for role in roles]
    pairs = [comparisons("query", "key"), comparisons("key", "query")] * 3 if len(roles) > 1 else []
    return st.recursive(
        st.one_of(*one, *pairs),
        lambda inner: st.one_of(
            st.builds(c.And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
            st.builds(c.Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
            st.builds(c.Not, inner),
        ),
        max_leaves=5,
    )


SETS = st.recursive(
    SELECTORS,
    lambda inner: st.one_of(
        *(st.builds(kind, inner, inner) for kind in (c.Union, c.Intersection, c.Difference, c.Within)),
        st.builds(c.Filter, inner, conditions("self")),
        st.builds(c.Take, inner, st.sampled_from(["first", "last"]), st.integers(0, 3)),
        st.builds(c.Edge, inner, st.sampled_from(["first", "last"])),
        st.builds(c.Neighbour, inner, st.sampled_from(["next", "previous"])),
        st.builds(c.Predicting, inner),
        st.builds(c.OfSource, inner, st.sampled_from(["s", "s", "t"])),
        st.builds(c.Named, inner, st.just("n"), st.just(PLACE)),
    ),
    max_leaves=6,
)
FULL_SETS = st.one_of(st.just(c.Tokens()), st.just(MENTIONS), st.just(c.Regex("[^ ]")), SETS)
"""Sets that mostly hold something, for joins that do."""
JOINS = st.builds(
    c.Join,
    FULL_SETS,
    FULL_SETS,
    st.one_of(st.none(), conditions("query", "key"), conditions("query", "key")),
    st.sampled_from(["all", "nearest", "first", "last"]),
    st.sampled_from([1, 2, 64]),
)


def make(records):
    return batch(*records, type=ENTRY, added=1)


def by_record(texts, spans):
    """Every span as plain values, in code points of its record and tokens of its record, by record."""
    found = [[] for _ in range(texts.records)]
    buffer = texts.buffer.tobytes()
    columns = {name: column.to_pylist() for name, column in spans.attributes.items()}
    for i, record in enumerate(spans.record.tolist()):
        begin = int(texts.bounds[record])
        edges = [len(buffer[begin:at].decode()) for at in (spans.start[i], spans.end[i])]
        token = int(spans.token[i])
        token = None if token < 0 else token - int(texts.tokens.offsets[record]) - 1
        attributes = {name: values[i] for name, values in columns.items() if values[i] is not None}
        found[record].append((*edges, int(spans.index[i]), token, attributes))
    return found


def expected(spans):
    return [(s.start, s.end, s.index, s.token, s.attributes) for s in spans]


@settings(max_examples=400, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=3), SETS, st.sampled_from([1, phrases.STRETCH]))
def test_sets(records, definition, stretch):
    texts = make(records)
    with patch.object(phrases, "STRETCH", stretch):
        spans = Evaluator([definition], SPECIAL.get).start(texts).spans(definition)
    assert by_record(texts, spans) == [expected(Slow(record).spans(definition)) for record in records]
    assert spans.index.dtype == spans.start.dtype == spans.token.dtype == np.int64


@settings(max_examples=400, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=3), JOINS, st.sampled_from([1, 5, joins.CHUNK]))
def test_joins(records, join, chunk):
    texts = make(records)
    with patch.object(joins, "CHUNK", chunk):
        query, key, edges = Evaluator(join_sets([join]), SPECIAL.get).start(texts).join(join)
    found = [[] for _ in records]
    first = {name: np.searchsorted(spans.record, np.arange(len(records))) for name, spans in (("q", query), ("k", key))}
    assert (query.record[edges.query] == key.record[edges.key]).all()
    for q, k in zip(edges.query.tolist(), edges.key.tolist(), strict=True):
        record = int(query.record[q])
        found[record].append((q - int(first["q"][record]), k - int(first["k"][record])))
    slow = [Slow(record).join(join) for record in records]
    assert found == [edges for edges, _ in slow]
    assert edges.surplus.tolist() == [surplus for _, surplus in slow]


@settings(max_examples=100, deadline=None)
@given(st.lists(rows(), min_size=2, max_size=4), JOINS)
def test_what_a_record_gives_does_not_depend_on_the_others(records, join):
    evaluator = Evaluator(join_sets([join]), SPECIAL.get)
    evaluation = evaluator.start(together := make(records))
    alone = [(texts := make([record]), evaluator.start(texts)) for record in records]
    for side in (join.query, join.key):
        expected = [by_record(texts, one.spans(side))[0] for texts, one in alone]
        assert by_record(together, evaluation.spans(side)) == expected
    edges, parts = evaluation.join(join)[2], [one.join(join) for _, one in alone]
    assert edges.surplus.tolist() == [int(part[2].surplus[0]) for part in parts]
    shift = np.cumsum([0, *(len(part[0]) for part in parts)])
    assert (
        edges.query.tolist()
        == np.concatenate([part[2].query + at for part, at in zip(parts, shift, strict=False)]).tolist()
    )
