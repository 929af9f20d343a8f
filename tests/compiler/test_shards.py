"""Shard files: what is written comes back, the bytes depend on content alone, and a broken file is a finding that names it."""

import numpy as np
import pyarrow as pa
import pytest

from mcd.compiler.alignment.align import align
from mcd.compiler.alignment.convert import Reader, convert
from mcd.compiler.alignment.fields import count_labels, field_columns
from mcd.compiler.counted import as_counts, merge
from mcd.compiler.files import shards
from mcd.compiler.files.shard_reader import Wanted, key_number, open_shard
from mcd.compiler.files.shards import ShardWriter, shard_rows, shard_schema
from mcd.compiler.manifest import file_digest
from mcd.compiler.recipe import LabelCheck
from mcd.dsl.diagnostics import Failure

from .alignment import edges, recipe, spans, texts

LABELS = (LabelCheck("r", "a", None, "kind", ("x", "y")),)
WANTED = Wanted({"span.at.kind": "label", "span.at.index": "index", "field.w": "factor"}, True, 1000, 4, 512)


def example():
    """Two records: spans with attributes, an edge, a factor per span and one for the whole record."""
    batch = texts(["a", " b", " c"], ["d", " e"], fields={("w",): [[1.0, 2.0], [0.5]]})
    stored = {"a": spans(batch, (0, 0, 1), (0, 2, 5), (1, 0, 3), kind=["y", None, "z"])}
    made = recipe([("a", ("index", "kind"))], ["e"], [("w", "factor", 1, "a")], LABELS)
    pairs = {"e": (stored["a"], stored["a"], edges(batch, (1, 0)))}
    return batch, made, stored, pairs


def rows_of(batch, made, stored, pairs):
    columns = field_columns(batch, made, stored)
    return shard_rows(batch, made, align(batch, made, stored, pairs), columns, shard_schema(made))


def write(path, *batches, schema=None):
    with ShardWriter(path, schema or batches[0].schema) as writer:
        for batch in batches:
            writer.write(batch)
        return writer.close("train", path.parent)


def failure(call, *args, **options):
    with pytest.raises(Failure) as caught:
        call(*args, **options)
    (found,) = caught.value.diagnostics
    return found


def test_weights_stand_beside_the_edges_and_are_1_where_no_link_gives_one(tmp_path):
    batch, _, stored, _ = example()
    ends = (stored["a"], stored["a"])
    pairs = {"e": (*ends, edges(batch, (1, 0))), "f": (*ends, edges(batch, (0, 0), (1, 0), weight=[0.5, 2]))}
    rows = rows_of(batch, recipe([("a", ())], "ef", linked="f"), stored, pairs)
    assert rows.column("edge.set").to_pylist() == [[4, 5, 5], []]
    assert rows.column("edge.weight").to_pylist() == [[1, 0.5, 2], []]
    wanted = Wanted({}, True, 1000, 4, 512, weights=True)
    path = tmp_path / "0.arrow"
    write(path, rows)
    assert open_shard(path, "0", wanted)[0].weights.values.tolist() == [1, 0.5, 2]
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        put = rows.set_column(rows.schema.names.index("edge.weight"), "edge.weight", weights([[1, bad, 2], []]))
        write(path, put.replace_schema_metadata(rows.schema.metadata))
        assert failure(open_shard, path, "0", wanted).message == (
            "shard `0` holds a number in column `edge.weight` that is no weight above 0, in record batch 0"
        )
    short = rows.set_column(rows.schema.names.index("edge.weight"), "edge.weight", weights([[1, 2], [3]]))
    write(path, short.replace_schema_metadata(rows.schema.metadata))
    assert (
        "has a column `edge.weight` of another length than `edge.set`" in failure(open_shard, path, "0", wanted).message
    )


def weights(lists):
    return pa.array(lists, pa.list_(pa.float32()))


def test_what_is_written_comes_back(tmp_path):
    entry = write(tmp_path / "0.arrow", rows_of(*example()))
    assert (entry.path, entry.records, entry.tokens, entry.split) == ("0.arrow", 2, 5, "train")
    assert (entry.sha256, entry.bytes) == file_digest(tmp_path / "0.arrow")
    (chunk,) = open_shard(tmp_path / "0.arrow", "0.arrow", WANTED)
    assert chunk.sets == ("a", "a/again", "a/cut", "blank", "e", "record/cut", "repeat")
    assert [chunk.id(0), chunk.id(1), chunk.source(1)] == ["r0", "r1", "s"]
    assert chunk.tokens.values.tolist() == [0, 1, 2, 3, 4]
    assert [lists.values.tolist() for lists in chunk.spans] == [[0, 0, 0], [0, 1, 0], [1, 3, 2]]
    assert [lists.values.tolist() for lists in chunk.edges] == [[4], [1], [3], [0], [1]]
    assert chunk.columns["span.at.index"].values.tolist() == [0, 1, 0]
    assert chunk.labels("span.at.kind", ("x", "y")).values.tolist() == [1, -1, -1]
    assert chunk.columns["field.w"].values.tolist() == [1.0, 2.0, 0.5]
    assert chunk.columns["field.w"].offsets.tolist() == [0, 2, 3]


def test_views_are_of_the_mapped_file(tmp_path):
    write(tmp_path / "0.arrow", rows_of(*example()))
    (chunk,) = open_shard(tmp_path / "0.arrow", "0.arrow", WANTED)
    assert not chunk.tokens.values.flags.owndata
    assert not chunk.tokens.values.flags.writeable


def test_bytes_do_not_depend_on_how_rows_arrive(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MAX_TOKENS", 7)
    rows = rows_of(*example())
    table = pa.concat_batches([rows] * 5)
    write(tmp_path / "one", table)
    for size in (1, 3):
        pieces = [table.slice(at, size) for at in range(0, 10, size)]
        write(tmp_path / "many", *pieces)
        assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()
    chunks = open_shard(tmp_path / "one", "one", WANTED)
    assert [int(chunk.tokens.offsets[-1]) for chunk in chunks] == [5, 5, 5, 5, 5]


def test_a_row_that_no_record_batch_holds_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MAX_ELEMENTS", 2)
    found = failure(write, tmp_path / "0.arrow", rows_of(*example()))
    assert (found.code.id, found.place.path) == ("MCD614", "s")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_shard_is_readable(tmp_path):
    write(tmp_path / "0.arrow", schema=rows_of(*example()).schema)
    assert open_shard(tmp_path / "0.arrow", "0.arrow", WANTED) == ()


# --- broken files


def test_no_flipped_bit_crashes_the_reader(tmp_path):
    """Whatever passes is within range; most flips outside the values are found even without the digest."""
    write(tmp_path / "0.arrow", rows_of(*example()))
    good = (tmp_path / "0.arrow").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(400):
        data = bytearray(good)
        at = int(random.integers(len(data)))
        data[at] ^= 1 << int(random.integers(8))
        (tmp_path / "bad").write_bytes(data)
        try:
            chunks = open_shard(tmp_path / "bad", "bad", WANTED)
        except Failure as caught:
            assert caught.diagnostics[0].code.id in ("MCD605", "MCD606", "MCD608", "MCD609")
            continue
        for chunk in chunks:
            assert chunk.spans[2].used.max(initial=0) <= np.diff(chunk.tokens.offsets).max(initial=0)


@pytest.mark.parametrize("keep", [0, 7, 100, -1, -20])
def test_a_truncated_file_is_no_arrow_file(tmp_path, keep):
    write(tmp_path / "0.arrow", rows_of(*example()))
    (tmp_path / "bad").write_bytes((tmp_path / "0.arrow").read_bytes()[:keep])
    found = failure(open_shard, tmp_path / "bad", "shards/bad", WANTED)
    assert (found.code.id, found.place.path) == ("MCD605", "shards/bad")


def test_a_stream_is_no_file(tmp_path):
    rows = rows_of(*example())
    with pa.OSFile(str(tmp_path / "0"), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    assert failure(open_shard, tmp_path / "0", "0", WANTED).code.id == "MCD605"


def rewritten(tmp_path, change):
    """A shard whose rows `change` gives, from the example's."""
    with pa.OSFile(str(tmp_path / "0"), "wb") as sink:
        rows = change(rows_of(*example()))
        with pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_batch(rows)
    return failure(open_shard, tmp_path / "0", "0", WANTED)


def put(name, values, kind=None):
    def change(rows):
        at = rows.schema.get_field_index(name)
        column = pa.array(values, pa.list_(kind or pa.int32()))
        return rows.set_column(at, pa.field(name, column.type), column).replace_schema_metadata(rows.schema.metadata)

    return change


BROKEN = {
    "a newer format": (
        "MCD606",
        lambda rows: rows.replace_schema_metadata({**rows.schema.metadata, b"mcd.format": b"2"}),
        "shard `0` has format 2; this version reads up to 1",
    ),
    "no metadata": (
        "MCD608",
        lambda rows: rows.replace_schema_metadata({}),
        "shard `0` has no `mcd.format` and `mcd.sets` in its metadata",
    ),
    "a missing column": (
        "MCD609",
        lambda rows: rows.drop_columns(["field.w"]),
        "shard `0` has no column `field.w`, which the plan requires",
    ),
    "another type": (
        "MCD608",
        put("input_ids", [[0, 1, 2], [3, 4]], pa.int64()),
        "shard `0` has column `input_ids` of type list<item: int64>; list<item: int32> is expected",
    ),
    "a range outside": (
        "MCD608",
        put("span.end", [[1, 4], [2]]),
        "shard `0` holds a range in its span columns that is empty or outside its row, in record batch 0",
    ),
    "an empty range": (
        "MCD608",
        put("edge.key_end", [[0], []]),
        "shard `0` holds a range in its edge columns that is empty or outside its row, in record batch 0",
    ),
    "an unknown set": (
        "MCD608",
        put("span.set", [[0, 7], [0]]),
        "shard `0` holds a number in `span.set` that its metadata does not name, in record batch 0",
    ),
    "an unknown token": (
        "MCD608",
        put("input_ids", [[0, 1, 1000], [3, 4]]),
        "shard `0` holds a token id outside 0..999, in record batch 0",
    ),
    "unequal lists": (
        "MCD608",
        put("span.start", [[0], [0, 1]]),
        "shard `0` has span columns of different lengths, in record batch 0",
    ),
    "a null row": (
        "MCD608",
        put("input_ids", [[0, 1, 2, 3, 4], None]),
        "shard `0` has a null row, in record batch 0",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_with_other_columns_or_values_is_named(tmp_path, case):
    code, change, message = BROKEN[case]
    found = rewritten(tmp_path, change)
    assert (found.code.id, found.place.path, found.message) == (code, "0", message)


def test_columns_that_nobody_knows_are_ignored(tmp_path):
    rows = rows_of(*example()).append_column("later", pa.array([1, 2]))
    write(tmp_path / "0", rows)
    assert len(open_shard(tmp_path / "0", "0", WANTED)) == 1


# --- fields


def field(values, kind="factor", width=1):
    """The column of a field along spans: two in the first record, one in the second."""
    batch = texts(["a", " b"], ["c"], fields={("w",): values})
    stored = {"a": spans(batch, (0, 0, 1), (0, 2, 3), (1, 0, 1))}
    made = recipe(["a"], fields=[("w", kind, width, "a")])
    return field_columns(batch, made, stored)["w"].take(np.arange(2)).to_pylist()


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2], "class", [[1], [2]]),
        ([[1, 0], [2]], "class", [[1, 0], [2]]),
        ([[1, None], None], "class", [[1, None], None]),
        ([1.0, None], "class", [[1], None]),
        ([True, False], "class", [[1], [0]]),
        (["x", "y"], "label", [["x"], ["y"]]),
        ([None, None], "label", [None, None]),
        ([0.5, 2], "factor", [[0.5], [2.0]]),
    ],
)
def test_a_field_is_a_list_of_one_type(values, kind, expected):
    assert field(values, kind) == expected


def test_vectors_stand_one_after_another():
    assert field([[1.0, 2.0], [3.0, 4.0]], "vector", 2) == [[1, 2], [3, 4]]
    assert field([[1, 2, 3, 4], [5, 6]], "vector", 2) == [[1, 2, 3, 4], [5, 6]]
    assert field([[[1, 2], [3, 4]], [[5, 6]]], "vector", 2) == [[1, 2, 3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("values", "kind", "code", "line", "message"),
    [
        (["x", "y"], "class", "MCD620", 1, "is `'x'` (string); a whole number (a class) is expected"),
        ([1, 2.5], "class", "MCD620", 2, "is `2.5` (double); a whole number (a class) is expected"),
        ([None, 3], "label", "MCD620", 2, "is `3` (int64); a string (a label) is expected"),
        ([[1, 2, 3], [1]], "factor", "MCD621", 1, "has 3 entries for 2 spans"),
        ([[1, 2], [-1]], "factor", "MCD623", 2, "is `-1` (int64); 0 to 3.40282e+38 is expected"),
        ([2**40, 1], "class", "MCD623", 1, "is `1099511627776` (int64); -2.14748e+09 to 2.14748e+09 is expected"),
        ([[1.0, 7e4], [1.0, 2.0]], "vector", "MCD623", 1, "is `70000.0` (double); -65504 to 65504 is expected"),
        (
            [[1.0, 2.0, 3.0], [1.0, 2.0]],
            "vector",
            "MCD622",
            1,
            "has 3 numbers; 2, or that for each of 2 spans, are expected",
        ),
        ([[[1.0], [2.0]], [[1.0]]], "vector", "MCD622", 1, "holds a vector of 1 numbers; 2 are expected"),
        ([0.5, 1.5], "vector", "MCD620", 1, "is no list; a list of numbers (a vector) is expected"),
        ([[1.0, None], None], "vector", "MCD620", 1, "holds a vector with a null; a number is expected"),
    ],
)
def test_a_field_of_another_type_names_source_and_record(values, kind, code, line, message):
    found = failure(field, values, kind, 2 if kind == "vector" else 1)
    assert (found.code.id, found.place.path, found.place.line) == (code, "s", line)
    assert found.message == f"field `.w` in record {line} of source `s` {message}"


def test_an_attribute_of_another_type_names_source_and_record():
    batch = texts(["a"], ["b"])
    stored = {"a": spans(batch, (1, 0, 1), kind=[5])}
    made = recipe([("a", ("kind",))], labels=LABELS)
    found = failure(align, batch, made, stored, {})
    expected = "attribute `kind` of a span in record 2 of source `s` is `5` (int64); a string (a label) is expected"
    assert (found.code.id, found.place.line, found.message) == ("MCD620", 2, expected)


def test_an_attribute_cannot_be_a_number_and_a_label():
    made = recipe([("a", ("kind",))], labels=[*LABELS, LabelCheck("q", "a", None, "kind", 3)])
    found = failure(shard_schema, made)
    assert (found.code.id, found.message) == ("MCD620", "`r` and `q` read attribute `kind` as a number and as a label")


def test_keys_are_texts_that_are_equal_where_the_values_are():
    """Ids came as whole numbers and as broken ones; NaN is no value."""
    reader = Reader(texts(["a"]), "field `.n`", np.zeros(9, dtype=np.int64))
    for values, expected in {
        (1, None, -3): ["1", None, "-3"],
        (1.0, 2.5, float("nan"), 1e300): ["1", "2.5", None, "1e+300"],
        (True, False): ["true", "false"],
        ("1", "b"): ["1", "b"],
    }.items():
        assert convert(pa.array(values), "key", reader).to_pylist() == expected
    found = failure(convert, pa.array([[1]]), "key", reader)
    expected = "is `[1]` (a list of int64); a string or a number (a value that another can equal) is expected"
    assert (found.code.id, found.message) == ("MCD620", f"field `.n` in record 1 of source `s` {expected}")


def test_keys_are_numbers_that_differ_where_the_values_do(tmp_path):
    batch, made, stored, pairs = example()
    entry = write(tmp_path / "0.arrow", rows_of(batch, made, stored, pairs))
    wanted = Wanted({"span.at.kind": "key", "span.at.index": "index"}, False, 1000, 4, 512)
    (chunk,) = open_shard(tmp_path / entry.path, entry.path, wanted)
    found = chunk.keys("span.at.kind")
    assert found.values.tolist() == [key_number("y"), -1, key_number("z")]
    assert key_number("y") == 550243706892980  # the same in every process
    assert chunk.keys("span.at.index").values.tolist() == [0, 1, 0]
    assert chunk.keys("span.at.kind") is found
    assert (np.float64(found.values).astype(np.int64) == found.values).all()


def test_labels_that_are_null_or_outside_are_counted_by_rule_and_split():
    batch = texts(["a", " b"], ["c"], fields={("n",): [[0, 5], [None]]})
    stored = {"a": spans(batch, (0, 0, 1), (0, 2, 3), (1, 0, 1), kind=["y", "q", None])}
    checks = [*LABELS, LabelCheck("f", "a", "n", None, 2), LabelCheck("t", "tokens", "n", None, 6)]
    made = recipe([("a", ("kind",))], fields=[("n", "class", 1, "a")], labels=checks)
    counted = count_labels(batch, made, stored, field_columns(batch, made, stored), np.zeros(2, dtype=bool))
    found = counted.by_split(np.array([0, 1]), ["train", "valid"])
    assert found == {
        "r": {"train": {"outside": 1}, "valid": {"null": 1}},
        "f": {"train": {"outside": 1}, "valid": {"null": 1}},
        "t": {"valid": {"null": 1}},
    }
    total = {}
    merge(total, found)
    merge(total, found)
    assert as_counts(total, ["r", "q"])["r"].splits == {"train": {"outside": 2}, "valid": {"null": 2}}
    assert as_counts(total, ["q"])["q"].splits == {}
