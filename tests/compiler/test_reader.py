"""From a task to batches: ids, splits, dropped records, and independence of the batch size."""

import hashlib
import json

import numpy as np
import pytest

from mcd.compiler.sources.base import Limits, Tally
from mcd.compiler.sources.inventory import inventory
from mcd.compiler.sources.reader import hashed, read_batches
from mcd.dsl.checked import ConstantSplit, FieldSplit, HashSplit, Source, Template
from mcd.dsl.diagnostics import Failure, Findings
from mcd.dsl.source import DataPlace, Place, SourceText

from .helpers import byte_encoder

PLACE = Place(SourceText("spec.mcd", "source s"), 0, 8)
QUESTION, ANSWER = ("q",), ("a", "text")
TEMPLATE = Template(("Q: ", QUESTION, " A: ", ANSWER))
RECORDS = [
    {"id": f"r{i}", "q": f"why {i} é", "a": {"text": "x" * (i % 5) + " "}, "fold": "ab"[i % 2], "label": [i]}
    for i in range(40)
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return byte_encoder(tmp_path_factory.mktemp("tokenizer"))


def source_of(folder, records=RECORDS, id=("id",), split=None, text=TEMPLATE):
    file = folder / "s.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return Source("s", "jsonl", (file,), (), id, split or ConstantSplit("train"), text, PLACE)


def batches(source, root, encoder, fields=(), limits=None, tally=None):
    (task,) = inventory(source, root, Findings()).tasks
    return list(read_batches(source, root, task, fields, encoder, tally or Tally(), limits or Limits()))


def flat(found):
    """All records of all batches as plain values: what must not depend on the batch size."""
    records = []
    for batch, splits in found:
        table, slots = batch.tokens, batch.slots
        for i in range(batch.records):
            tokens = slice(table.offsets[i], table.offsets[i + 1])
            at = batch.bounds[i]
            records.append(
                {
                    "id": batch.ids[i].as_py(),
                    "row": int(batch.rows[i]),
                    "text": batch.text(i),
                    "split": splits.names[splits.index[i]],
                    "ids": table.ids[tokens].tolist(),
                    "start": (table.start[tokens] - at).tolist(),
                    "end": (table.end[tokens] - at).tolist(),
                    "added": table.added[tokens].tolist(),
                    "record": (table.record[tokens] - i).tolist(),
                    "slots": {path: (int(start[i] - at), int(end[i] - at)) for path, (start, end) in slots.items()},
                    "fields": {path: column[i].as_py() for path, column in batch.fields.items()},
                }
            )
    return records


def failure(source, root, encoder):
    with pytest.raises(Failure) as caught:
        batches(source, root, encoder)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def test_records_do_not_depend_on_the_batch_size(tmp_path, encoder):
    source = source_of(tmp_path, split=HashSplit((("train", 0.7), ("valid", 0.3))))
    found = [batches(source, tmp_path, encoder, [("label",)], Limits(records=size)) for size in (1, 7, 1000)]
    assert [len(some) for some in found] == [40, 6, 1]
    found.append(batches(source, tmp_path, encoder, [("label",)], Limits(bytes=50)))
    assert len(found[-1]) > 10
    first, *others = map(flat, found)
    assert all(other == first for other in others)


def test_a_record_is_as_the_template_says(tmp_path, encoder):
    record = flat(batches(source_of(tmp_path), tmp_path, encoder, [("label",)]))[2]
    assert record["text"] == "Q: why 2 é A: xx "
    assert record["slots"] == {QUESTION: (3, 11), ANSWER: (15, 18)}
    assert (record["id"], record["row"], record["split"]) == ("r2", 2, "train")
    assert record["fields"] == {("label",): [2]}
    assert (record["ids"][0], record["ids"][-1]) == (0, 1)
    assert (record["start"][0], record["end"][0], record["start"][-1], record["end"][-1]) == (0, 0, 18, 18)
    assert (15, 17) in zip(record["start"], record["end"], strict=True)


def test_generated_ids_count_the_rows_of_the_source(tmp_path, encoder):
    source = source_of(tmp_path, RECORDS[:2], id=None)
    second = tmp_path / "t.jsonl"
    second.write_text('\n{"q": "x", "a": {"text": "y"}}\n')
    source = Source("s", "jsonl", (*source.files, second), (), None, source.split, source.text, PLACE)
    tasks = inventory(source, tmp_path, Findings()).tasks
    found = [flat(read_batches(source, tmp_path, task, (), encoder, Tally())) for task in tasks]
    assert [record["id"] for part in found for record in part] == ["s:0", "s:1", "s:3"]
    assert found[1][0]["row"] == 1


def test_numbers_are_ids(tmp_path, encoder):
    records = [{"id": i, "q": "x", "a": {"text": "y"}} for i in (7, 12345678901234567)]
    found = flat(batches(source_of(tmp_path, records), tmp_path, encoder))
    assert [record["id"] for record in found] == ["7", "12345678901234567"]


def test_records_without_text_are_counted(tmp_path, encoder):
    records = [
        {"id": "1", "q": None, "a": {"text": "y"}},
        {"id": "2", "q": "x", "a": None},
        {"q": "x"},
        {"id": "4", "q": "", "a": {"text": ""}},
    ]
    tally = Tally()
    found = flat(batches(source_of(tmp_path, records), tmp_path, encoder, [("no", "such")], tally=tally))
    assert [record["id"] for record in found] == ["4"]
    assert tally.dropped == {"null_text": 3}
    assert tally.seen == {("id",), QUESTION, ANSWER}


def test_a_record_without_an_id_is_a_finding(tmp_path, encoder):
    found = failure(source_of(tmp_path, [RECORDS[0], RECORDS[1] | {"id": None}]), tmp_path, encoder)
    assert found.code.id == "MCD509"
    assert found.place == DataPlace("s.jsonl", 2)
    assert found.message == "`s.jsonl` line 2: `.id` is null, where the id is expected"


def test_a_field_names_the_split(tmp_path, encoder):
    found = flat(batches(source_of(tmp_path, split=FieldSplit(("fold",))), tmp_path, encoder, limits=Limits(3)))
    assert [record["split"] for record in found] == ["a", "b"] * 20


@pytest.mark.parametrize("value", [None, "", "..", "../x", "a/b", ".hidden", "a b", "x" * 101, "a\\b"])
def test_what_cannot_name_a_split_is_a_finding(tmp_path, encoder, value):
    records = [RECORDS[0], RECORDS[1] | {"fold": value}]
    found = failure(source_of(tmp_path, records, split=FieldSplit(("fold",))), tmp_path, encoder)
    assert found.code.id == "MCD510"
    assert found.place == DataPlace("s.jsonl", 2)


def test_hash_splits_follow_the_digest_of_the_id():
    ids = [f"id {i}" for i in range(2000)]
    points = [int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "big") / 2**64 for id in ids]
    expected = [0 if point < 0.25 else 1 if point < 0.75 else 2 for point in points]
    found = hashed(ids, [0.25, 0.5, 0.25])
    assert found.tolist() == expected
    assert np.allclose(np.bincount(found) / len(ids), [0.25, 0.5, 0.25], atol=0.04)
    assert len(hashed([], [1.0])) == 0


def test_a_nul_is_a_finding(tmp_path, encoder):
    records = [RECORDS[0], RECORDS[1] | {"q": None}, RECORDS[2] | {"q": "a\0b"}]
    found = failure(source_of(tmp_path, records), tmp_path, encoder)
    assert (found.code.id, found.place) == ("MCD506", DataPlace("s.jsonl", 3))
    assert found.message == "`s.jsonl` line 3: the text holds a NUL character"


def test_inline_records(tmp_path, encoder):
    text = Template((QUESTION,))
    source = Source("s", "inline", (), ('{"q": "one"}', '{"q": 2}'), None, ConstantSplit("valid"), text, PLACE)
    found = flat(batches(source, tmp_path, encoder, [("label",)]))
    assert [(record["id"], record["text"], record["split"]) for record in found] == [
        ("s:0", "one", "valid"),
        ("s:1", "2", "valid"),
    ]
    assert found[0]["fields"] == {}
