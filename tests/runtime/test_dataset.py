"""Opening a compiled directory: its rows by position, and every corruption a finding that names the file."""

import json
import pickle
from hashlib import sha256

import numpy as np
import pytest

from mcd.compiler.plan import SpanSetRef
from mcd.dsl.diagnostics import Failure
from mcd.runtime.dataset import load

from .datasets import COLUMNS, HIDDEN, classify, plan, random_batch, random_recipe, toward, write


@pytest.fixture
def directory(tmp_path):
    random = np.random.default_rng(0)
    made = plan([toward("t", "a"), classify("k", "a", attribute="kind", labels=("x", "y", "z"))], COLUMNS)
    splits = {"train": [random_batch(random, 3), random_batch(random, 2)], "valid": [random_batch(random, 4)]}
    write(tmp_path / "out", random_recipe(), made, splits)
    return tmp_path / "out"


def failure(call, *args, **options):
    with pytest.raises(Failure) as caught:
        call(*args, **options)
    (found,) = caught.value.diagnostics
    return found


def test_rows_are_found_by_position_over_all_shards(directory):
    dataset = load(directory)
    assert dataset.splits == ("train", "valid")
    train = dataset.split("train")
    assert (len(dataset), len(train), len(load(directory, split="valid"))) == (9, 5, 4)
    assert [row.id for row in train] == ["r0", "r1", "r2", "r0", "r1"]
    assert [train[i].id for i in (0, 3, -1)] == ["r0", "r0", "r1"]
    assert [row.id for row in train.rows([4, 2])] == ["r1", "r2"]
    assert [len(row.input_ids) for row in train] == train.lengths().tolist()
    assert (train[1].part, train[1].source) == (0, "s")
    with pytest.raises(IndexError):
        train[5]


def test_plan_and_anchors_are_read(directory):
    dataset = load(directory)
    assert [rule.id for rule in dataset.plan.rules] == ["t", "k"]
    assert dataset.anchors["axis"].tolist() == [1.0] * HIDDEN
    assert dataset.anchors["axis"].dtype == np.float32


def test_a_worker_gets_the_same_rows(directory):
    dataset = load(directory, split="train")
    again = pickle.loads(pickle.dumps(dataset))
    assert [row.input_ids.tolist() for row in again] == [row.input_ids.tolist() for row in dataset]


def test_a_row_shows_what_it_holds(directory):
    row = next(row for row in load(directory) if row.spans())
    assert all(0 <= start < end <= len(row.input_ids) for _, start, end in row.spans())


# --- corruption

SHARD = "shards/train/00000.arrow"


def flip(path, at=-300):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


CORRUPTIONS = {
    "no manifest": ("MCD601", "", lambda d: (d / "manifest.json").unlink()),
    "a shard is missing": ("MCD602", SHARD, lambda d: (d / SHARD).unlink()),
    "the plan is missing": ("MCD602", "program.json", lambda d: (d / "program.json").unlink()),
    "a shard is cut": ("MCD603", SHARD, lambda d: (d / SHARD).write_bytes((d / SHARD).read_bytes()[:-9])),
    "a bit is flipped": ("MCD604", SHARD, lambda d: flip(d / SHARD)),
    "a bit of the plan is flipped": ("MCD604", "program.json", lambda d: flip(d / "program.json")),
    "a bit of the anchors is flipped": ("MCD604", "anchors.safetensors", lambda d: flip(d / "anchors.safetensors", -1)),
    "a newer manifest": ("MCD606", "/manifest.json", lambda d: edit(d / "manifest.json", format=2, new="x")),
    "a malformed manifest": ("MCD607", "/manifest.json", lambda d: edit(d / "manifest.json", rules=3, checksum=None)),
    "a manifest that is no JSON": ("MCD607", "/manifest.json", lambda d: (d / "manifest.json").write_text("[" * 99999)),
    "a manifest in another encoding": (
        "MCD607",
        "/manifest.json",
        lambda d: (d / "manifest.json").write_bytes(b"\xff"),
    ),
}


@pytest.mark.parametrize("case", CORRUPTIONS)
def test_every_corruption_names_its_file(directory, case):
    code, path, change = CORRUPTIONS[case]
    change(directory)
    found = failure(load, directory)
    assert found.code.id == code
    assert found.place.path.endswith(path or str(directory))


def test_a_directory_that_is_not_there_is_no_dataset(tmp_path):
    found = failure(load, tmp_path / "nowhere")
    assert (found.code.id, found.help) == ("MCD601", "`mcd compile SPEC -o DIR` writes one")


def rewrite(directory, **changes):
    """Change the plan as a compiler would: with its checksum."""
    edit(directory / "program.json", **changes)
    data = (directory / "program.json").read_bytes()
    manifest = json.loads((directory / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["path"] == "program.json":
            entry.update(bytes=len(data), sha256=sha256(data).hexdigest())
    (directory / "manifest.json").write_text(json.dumps(manifest | {"checksum": None}))


def test_a_newer_plan_is_refused(directory):
    rewrite(directory, format=2)
    found = failure(load, directory)
    assert (found.code.id, found.message) == ("MCD606", "`program.json` has format 2; this version reads up to 1")


def test_a_column_that_the_plan_requires_and_no_shard_has(directory):
    rewrite(directory, columns=[*COLUMNS, "field.later"])
    found = failure(load, directory)
    assert (found.code.id, found.place.path) == ("MCD609", SHARD)
    assert found.message == f"shard `{SHARD}` has no column `field.later`, which the plan requires"


def test_a_set_that_the_plan_reads_and_no_shard_has(directory):
    made = json.loads((directory / "program.json").read_text())
    made["rules"][0]["subject"] = SpanSetRef(set="q").model_dump()
    rewrite(directory, rules=made["rules"], sets=made["sets"] | {"q": made["sets"]["a"]})
    found = failure(load, directory)
    assert (found.code.id, found.place.path) == ("MCD610", SHARD)


def test_an_unknown_split_is_named_with_a_suggestion(directory):
    found = failure(load, directory, split="trian")
    assert (found.code.id, found.help) == ("MCD611", "did you mean `train`?")


def test_a_token_id_outside_the_vocabulary_is_found(directory):
    model = json.loads((directory / "program.json").read_text())["model"]
    rewrite(directory, model={**model, "vocab": 3})
    assert failure(load, directory).code.id == "MCD608"


def test_an_anchor_of_another_width_is_named(directory):
    model = json.loads((directory / "program.json").read_text())["model"]
    rewrite(directory, model={**model, "hidden": 3})
    found = failure(load, directory)
    assert (found.code.id, found.message) == (
        "MCD615",
        "anchor `axis` is float32 of shape [4]; float32 of shape [3] is expected",
    )


def test_the_manifest_cannot_name_files_outside(directory):
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["shards"][0]["path"] = "../secret"
    (directory / "manifest.json").write_text(json.dumps(manifest | {"checksum": None}))
    assert failure(load, directory).code.id == "MCD607"


def test_size_alone_is_looked_at_on_request(directory):
    flip(directory / SHARD, -2000)
    assert failure(load, directory).code.id == "MCD604"
    (directory / SHARD).write_bytes(b"x")
    assert failure(load, directory, verify="size").code.id == "MCD603"
