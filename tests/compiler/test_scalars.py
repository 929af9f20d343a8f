"""Conditions over the spans of one set."""

import pyarrow as pa
import pytest

from mcd.compiler.evaluation import scalars
from mcd.dsl import checked as c
from mcd.dsl.codes import sources as codes
from mcd.dsl.diagnostics import Failure

from .helpers import MENTIONS, PLACE, Row, attr, batch, compare, equal, evaluate, named, strings

SELF = c.SpanRef("self")


def mentions(*attributes, text="a b c d"):
    """A text whose words are listed as mentions, each with some attributes."""
    entries = [{"start": 2 * i, "end": 2 * i + 1, **some} for i, some in enumerate(attributes)]
    return batch(Row(text.replace(" ", "| ").split("|"), entries))


def kept(texts, condition, base=MENTIONS):
    return strings(texts, evaluate(texts, c.Filter(base, condition)))


def told(texts, condition):
    with pytest.raises(Failure) as caught:
        evaluate(texts, named(c.Filter(MENTIONS, condition)))
    (found,) = caught.value.diagnostics
    assert (found.code, found.place) == (codes.CONDITION_TYPES, PLACE)
    return found.message


def test_null_compares_false():
    texts = mentions({"kind": "x", "size": 1}, {"kind": None, "size": None}, {"kind": "y", "size": 2})
    assert kept(texts, equal(attr("kind"), "x")) == ["a"]
    assert kept(texts, compare(attr("kind"), "!=", "x")) == ["c"]
    assert kept(texts, compare(attr("size"), "<=", 2)) == ["a", "c"]
    assert kept(texts, c.Not(equal(attr("kind"), "x"))) == ["b", "c"]
    assert kept(texts, compare(c.Arithmetic("/", attr("size"), c.Literal_(0)), ">=", 0)) == []


def test_an_attribute_that_no_span_has_is_null():
    texts = mentions({"kind": "x"})
    for condition in (
        equal(attr("other"), 1),
        compare(attr("other"), "!=", "x"),
        c.Member(attr("other"), (1,)),
        attr("other"),
    ):
        assert kept(texts, condition) == []
    assert kept(texts, equal(c.Length(attr("other")), 0)) == []


def test_built_in_attributes_count_code_points_in_the_record():
    texts = batch(Row(["é", " né", " x"]), Row(["é", " né"]))
    found = c.Regex("[^ ]+")
    assert kept(texts, equal(attr("start"), 2), found) == ["né", "né"]
    assert kept(texts, equal(attr("end"), 4), found) == ["né", "né"]
    assert kept(texts, equal(attr("index"), 2), found) == ["x"]
    assert kept(texts, equal(c.Length(attr("text")), 2), found) == ["né", "né"]
    assert kept(texts, equal(attr("text"), "é"), found) == ["é", "é"]


def test_arithmetic_and_order():
    texts = mentions({"size": 1}, {"size": 2}, {"size": 3}, {"size": 4})
    double = c.Arithmetic("*", attr("size"), c.Literal_(2))
    assert kept(texts, compare(double, ">", c.Arithmetic("+", attr("size"), c.Literal_(2)))) == ["c", "d"]
    assert kept(texts, equal(c.Arithmetic("/", attr("size"), c.Literal_(2)), 1.5)) == ["c"]
    assert kept(texts, compare(attr("size"), "<", 2.5)) == ["a", "b"]


def test_lists_and_logic():
    texts = mentions({"kind": "x", "size": 1}, {"kind": "y", "size": 2}, {"kind": "z", "size": 3})
    one, other = c.Member(attr("kind"), ("x", "z")), c.Member(attr("size"), (1, 2.0))
    assert kept(texts, c.And((one, other))) == ["a"]
    assert kept(texts, c.Or((one, other))) == ["a", "b", "c"]
    assert kept(texts, c.And((c.Not(one), other))) == ["b"]
    assert kept(texts, c.Compare("==", c.Literal_(1), c.Literal_(1))) == ["a", "b", "c"]


def test_flags_stand_alone():
    texts = mentions({"proper": True}, {"proper": None}, {"proper": False})
    assert kept(texts, attr("proper")) == ["a"]
    assert kept(texts, c.Not(attr("proper"))) == ["b", "c"]
    assert kept(texts, equal(attr("proper"), c.Literal_(False))) == ["c"]


def test_neighbours_of_a_span():
    texts = mentions({"kind": "x"}, {"kind": "y"}, {"kind": "z"})
    assert kept(texts, equal(attr("text", "self", "previous"), "a")) == ["b"]
    assert kept(texts, equal(attr("text", "self", "next", "next"), "d")) == ["b"]
    assert kept(texts, equal(attr("index", "self", "previous"), 1)) == ["c"]
    assert kept(texts, equal(attr("kind", "self", "first"), "y")) == ["b"]
    assert kept(texts, equal(attr("kind", "self", "next", "previous"), "y")) == []
    assert kept(texts, c.Compare("==", SELF, c.SpanRef("self", ("next", "previous")))) == ["a", "b", "c"]
    assert kept(texts, c.Before(c.SpanRef("self", ("previous",)), SELF)) == ["b", "c"]


def test_the_text_of_white_space_is_empty():
    texts = batch(Row(["a", "\n", "b"]))
    assert evaluate(texts, c.Filter(c.Tokens(), equal(attr("text"), ""))).token.tolist() == [1]
    assert evaluate(texts, c.Filter(c.Tokens(), equal(c.Length(attr("text")), 0))).token.tolist() == [1]
    assert evaluate(texts, c.Filter(c.Tokens(), compare(attr("text"), "!=", "a"))).token.tolist() == [1, 2]


def test_texts_too_long_to_compare(monkeypatch):
    monkeypatch.setattr(scalars, "MAX_TEXT", 2)
    with pytest.raises(Failure) as caught:
        evaluate(mentions({}, {}, {}), named(c.Filter(MENTIONS, equal(attr("text"), "a"))))
    (found,) = caught.value.diagnostics
    assert (found.code, found.place) == (codes.TEXTS_TOO_LONG, PLACE)
    assert "have 3 bytes together" in found.message


def test_columns_of_other_arrow_types():
    entry = pa.struct(
        [
            ("start", pa.int64()),
            ("end", pa.int64()),
            ("kind", pa.dictionary(pa.int8(), pa.large_string())),
            ("n", pa.uint64()),
        ]
    )
    column = pa.array([[{"start": 0, "end": 1, "kind": "x", "n": 2**63}]], pa.list_(entry))
    texts = batch("a", fields={("mentions",): column})
    assert kept(texts, c.And((equal(attr("kind"), "x"), compare(attr("n"), ">", 2**62)))) == ["a"]


def test_types_that_do_not_go_together():
    texts = mentions({"kind": "x", "size": 1, "proper": True, "list": [1]})
    assert told(texts, equal(attr("kind"), 3)) == (
        "in `kind == 3`, over source `s`: `==` compares a string with a number"
    )
    assert "a number with a string" in told(texts, compare(attr("size"), "<", "x"))
    assert "true or false with a number" in told(texts, equal(attr("proper"), 1))
    assert "was given a string" in told(texts, attr("kind"))
    assert "was given a span" in told(texts, c.And((SELF, attr("proper"))))
    assert "`length` takes a string and was given a number" in told(texts, c.Length(attr("size")))
    assert "`+` computes with numbers and was given a string" in told(
        texts, c.Arithmetic("+", attr("kind"), c.Literal_(1))
    )
    assert "`in` looks for a string in a list that holds a number" in told(texts, c.Member(attr("kind"), (1,)))
    assert "`in` looks for a number in a list that holds a string" in told(texts, c.Member(attr("size"), ("x",)))
    assert "a span with a string" in told(texts, c.Compare("==", SELF, attr("kind")))
    assert "`list<" in told(texts, equal(attr("list"), 1))
