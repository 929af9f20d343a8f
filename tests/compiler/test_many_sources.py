"""Several sources of different formats in one spec: what applies to which, and that `of` restricts it."""

import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import mcd
from mcd.compiler.compile import compile_program

from ..projects import checked, compiled, project

SPEC = """source told = jsonl("told-*.jsonl") { id = .id  split = .fold  text = "{.text}" }
source kept = parquet("kept.parquet") { id = .id  split = "train"  text = "{.text}" }
source sent = csv("sent.csv") { id = .id  split = "train"  text = "{.head} saw {.tail}" }
source lent = arrow("lent.arrow") { id = .id  split = "valid"  text = .text }
source here = [{id: "h0", text: "the bird ran"}, {id: "h1", text: "a cat"}] { id = .id  text = .text }

span cat = phrases("cat")
span lone of kept = phrases("dog")
span tail = slot(.tail)
span named = offsets(.names, of: .text)

weigh cat { factor = 2 }
weigh lone { factor = 3 }
weigh tail { factor = .importance }
signal name: named { layers = 1  classify = kind  classes = ["pet", "wild"] }
"""


@pytest.fixture
def path(tmp_path):
    spec = project(tmp_path, SPEC)
    told = [
        {"id": "t0", "fold": "train", "text": "the cat ran", "names": [{"start": 4, "end": 7, "kind": "pet"}]},
        {"id": "t1", "fold": "valid", "text": "a red bird", "names": [{"start": 6, "end": 10, "kind": "wild"}]},
    ]
    for number, record in enumerate(told):
        (tmp_path / f"told-{number}.jsonl").write_text(json.dumps(record) + "\n")
    kept = pa.table({"id": ["k0", "k1"], "text": ["the dog ran", "a cat saw a dog"]})
    pyarrow.parquet.write_table(kept, tmp_path / "kept.parquet")
    (tmp_path / "sent.csv").write_text("id,head,tail,importance\ns0,the cat,a dog,0.25\ns1,a dog,rain,4\n")
    lent = pa.table({"id": ["l0"], "text": ["the dog saw the cat"]})
    with pa.ipc.new_file(tmp_path / "lent.arrow", lent.schema) as writer:
        writer.write_table(lent)
    return spec


def test_each_rule_acts_where_its_fields_are(path, tmp_path):
    """By hand: cats in t0, k1, s0, l0 and h1; dogs `of kept` in k0 and k1 alone; a tail in s0 (2 tokens) and s1."""
    manifest = compiled(path, tmp_path / "out").manifest
    assert manifest.records == {"train": 7, "valid": 2}
    matched = {
        rule: {s: c.get("matched", 0) for s, c in counts.splits.items()} for rule, counts in manifest.rules.items()
    }
    assert matched == {
        "weigh cat": {"train": 4, "valid": 1},
        "weigh lone": {"train": 2, "valid": 0},
        "weigh tail": {"train": 2, "valid": 0},
        "name": {"train": 1, "valid": 1},
    }


def test_the_shards_hold_every_source_and_the_collator_reads_them(path, tmp_path):
    compiled(path, tmp_path / "out")
    dataset = mcd.load(tmp_path / "out")
    assert [row.id for row in dataset.split("train")] == ["t0", "k0", "k1", "s0", "s1", "h0", "h1"]
    assert [(row.id, row.source) for row in dataset.split("valid")] == [("t1", "told"), ("l0", "lent")]
    batch = mcd.Collator(dataset.plan)(list(dataset.split("train")))
    factors = list(
        zip(batch.weigh.record.tolist(), batch.weigh.position.tolist(), batch.weigh.factor.tolist(), strict=True)
    )
    # s0: "the cat saw a dog": cat 1 x 2; tail "a dog" 3, 4 x 0.25. s1: "a dog saw rain": rain 3 x 4.
    assert {each for each in factors if each[0] in (3, 4)} == {(3, 1, 2.0), (3, 3, 0.25), (3, 4, 0.25), (4, 3, 4.0)}
    (hidden,) = batch.hidden
    assert (hidden.record.tolist(), hidden.position.tolist(), hidden.label.tolist()) == ([0], [1], [0])


def test_compiling_twice_is_the_same_and_keeps_the_shards(path, tmp_path):
    first = compile_program(checked(path), tmp_path / "out")
    second = compile_program(checked(path), tmp_path / "out")
    assert second.reused and second.manifest == first.manifest
