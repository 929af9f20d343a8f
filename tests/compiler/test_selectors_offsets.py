"""`offsets`: spans that the data lists."""

import pyarrow as pa
import pytest

from mcd.dsl import checked as c
from mcd.dsl.codes import sources as codes
from mcd.dsl.diagnostics import Failure
from mcd.dsl.source import DataPlace

from .helpers import MENTIONS, Row, batch, evaluate, words

OF_SLOT = c.Offsets(("mentions",), ("slot",))


def at(start, end, **rest):
    return {"start": start, "end": end, **rest}


def failure(rows, definition=MENTIONS, type=None, fields=None):
    with pytest.raises(Failure) as caught:
        evaluate(batch(*rows, type=type, fields=fields), definition)
    (found,) = caught.value.diagnostics
    return found


def test_offsets_count_code_points():
    texts = batch(Row(["né", " 🙂", " x"], [at(3, 4), at(0, 2), at(5, 6)]))
    assert words(texts, MENTIONS) == ["né", "🙂", "x"]


def test_offsets_in_a_slot_count_from_where_it_stands():
    texts = batch(Row(["é:", " né", " x"], [at(0, 2), at(3, 4)], slot=(3, 7)), Row(["ab"], [at(1, 2)], slot=(0, 2)))
    assert words(texts, OF_SLOT) == ["né", "x", "b"]
    assert len(evaluate(batch(Row(["ab"], [at(0, 1)])), OF_SLOT)) == 0


def test_other_keys_become_attributes_and_null_stays_null():
    texts = batch(Row(["a", " b"], [at(2, 3, kind="x", id=1), at(0, 1, kind=None, id=2)]))
    spans = evaluate(texts, c.Offsets(("mentions",), None, (("id", "number"),)))
    assert spans.attributes["kind"].to_pylist() == [None, "x"]
    assert spans.attributes["number"].to_pylist() == [2, 1]
    assert set(spans.attributes) == {"kind", "number"}


def test_equal_extents_are_one_span_and_the_earlier_entry_wins():
    listed = [at(0, 2, kind=None, id=1), at(0, 1, kind="x", id=2), at(0, 1, kind="y", id=None)]
    spans = evaluate(batch(Row(["a", " b"], listed)), MENTIONS)
    assert spans.end.tolist() == [1]
    assert (spans.attributes["kind"].to_pylist(), spans.attributes["id"].to_pylist()) == (["x"], [1])


@pytest.mark.parametrize(
    "column",
    [
        pa.nulls(2),
        pa.array([None, None], pa.list_(pa.struct([("start", pa.int64())]))),
        pa.array([[], None], pa.list_(pa.null())),
        pa.array([None, None], pa.string()),
    ],
)
def test_nothing_listed_is_no_span(column):
    assert len(evaluate(batch("a", "b", fields={("mentions",): column}), MENTIONS)) == 0


@pytest.mark.parametrize("wrap", [pa.large_list, lambda kind: pa.list_(kind, 1)])
def test_other_kinds_of_list_and_number(wrap):
    entry = pa.struct([("start", pa.int32()), ("end", pa.float64()), ("kind", pa.dictionary(pa.int8(), pa.string()))])
    column = pa.array([[at(0, 1.0, kind="x")]], wrap(entry))
    spans = evaluate(batch("a", fields={("mentions",): column}), MENTIONS)
    assert (len(spans), spans.attributes["kind"].to_pylist()) == (1, ["x"])


@pytest.mark.parametrize("entry", [at(0, 9), at(-1, 1), at(1, 1), at(2, 1)])
def test_a_range_outside_the_text(entry):
    found = failure([Row(["ab"], []), Row(["é", " b"], [at(0, 1), entry], name="r7")])
    assert (found.code, found.place) == (codes.OFFSETS_OUTSIDE, DataPlace("s", 6))
    assert found.message == (
        f"`.mentions` of record `r7` (source `s`, row 6): [{entry['start']}, {entry['end']}) is no range in the text, "
        "which has 3 characters"
    )


def test_a_range_outside_the_slot():
    found = failure([Row(["ab", " cd"], [at(0, 3)], slot=(3, 5))], OF_SLOT)
    assert found.code is codes.OFFSETS_OUTSIDE
    assert "`.slot`, which has 2 characters" in found.message


@pytest.mark.parametrize(
    "column",
    [pa.array([None, "x"]), pa.array([[], [1, 2]]), pa.array([None, at(0, 1)])],
)
def test_a_field_of_another_shape(column):
    found = failure(["a", "b"], fields={("mentions",): column})
    assert (found.code, found.place) == (codes.OFFSETS_SHAPE, DataPlace("s", 6))


@pytest.mark.parametrize(
    "entry",
    [
        {"start": 0},
        {"begin": 0, "end": 1},
        at(0, None),
        at(0, 0.5),
        at("0", "1"),
        at(False, True),
        None,
        at(0, float("nan")),
    ],
)
def test_an_entry_without_whole_numbers(entry):
    column = pa.array([None, [entry]])
    found = failure(["a", "b"], fields={("mentions",): column})
    assert (found.code, found.place) == (codes.OFFSETS_ENTRY, DataPlace("s", 6))


def test_a_key_of_a_built_in_name_must_be_renamed():
    rows = [Row(["a"], [at(0, 1, text=None)]), Row(["a"], [at(0, 1, text="A")])]
    found = failure(rows)
    assert (found.code, found.place) == (codes.OFFSETS_RESERVED, DataPlace("s", 6))
    assert found.help == 'rename it: `offsets(..., rename: {text: "..."})`'
    renamed = c.Offsets(("mentions",), None, (("text", "surface"),))
    assert evaluate(batch(*rows), renamed).attributes["surface"].to_pylist() == [None, "A"]


def test_two_keys_of_one_name():
    found = failure([Row(["a"], [at(0, 1, kind="x", sort="y")])], c.Offsets(("mentions",), None, (("sort", "kind"),)))
    assert (found.code, found.place) == (codes.OFFSETS_REPEATED, DataPlace("s", 5))
