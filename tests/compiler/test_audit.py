"""`verify_dataset`: each kind of damage has its finding, and what is counted again is what was counted."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from mcd.compiler.alignment.align import align
from mcd.compiler.alignment.together import count_together
from mcd.compiler.audit import ids
from mcd.compiler.audit.dataset import verify_dataset
from mcd.compiler.counted import as_counts, merge
from mcd.compiler.files.output import json_text
from mcd.compiler.manifest import FileEntry, file_digest, read_manifest
from mcd.compiler.sets import COUNTED, both
from mcd.dsl import checked as c
from mcd.runtime.dataset import load

from ..projects import compiled, project
from ..runtime.datasets import COLUMNS, SPLIT, attend, like, plan, random_batch, random_recipe, toward, write

SPEC = """source s = jsonl("data.jsonl") { id = .id  split = .split  text = "{.text}" }
span cat = phrases("cat", "a red bird")
span dog = phrases("dog", "it")
concept pet { spans = cat  anchor = orthonormal }
signal axis: pet { layers = 2  toward = pet.anchor  loss = cosine }
attend see: cat -> dog where query before key { layers = 1  heads = any  lost = drop }
weigh more: dog { factor = 2 }
"""
RECORDS = [
    {"id": "a", "split": "train", "text": "the cat saw a red bird . it ran"},
    {"id": "b", "split": "train", "text": "a dog and the cat ran off because of rain it"},
    {"id": "c", "split": "valid", "text": "it saw a cat"},
]
TRAIN, VALID = "shards/train/00000.arrow", "shards/valid/00000.arrow"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    compiled(project(folder, SPEC.replace("query before key", "key before query"), RECORDS), folder / "out")
    return folder / "out"


@pytest.fixture
def out(made, tmp_path):
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def found(out, **options):
    return [
        (one.code.id, one.place.path.removeprefix(f"{out}/"), one.message)
        for one in verify_dataset(out, **options).findings
    ]


def restate(out, **changes):
    """Write the manifest anew, with the content of every file as it is now, and with `changes`."""
    manifest = read_manifest(out)

    def now(entry: FileEntry) -> FileEntry:
        digest, size = file_digest(out / entry.path)
        return entry.model_copy(update={"sha256": digest, "bytes": size})

    listed = {"files": tuple(map(now, manifest.files)), "shards": tuple(map(now, manifest.shards))}
    (out / "manifest.json").write_text(json_text(manifest.model_copy(update=listed | changes)))


def rewrite(path, change):
    """Let `change` make other rows of a shard."""
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    changed = change(table)
    with pa.ipc.new_file(path, changed.schema) as writer:
        writer.write_table(changed)


def column(name, values):
    """A change of one column."""

    def change(table):
        at = table.schema.names.index(name)
        return table.set_column(
            at, table.schema.field(at), pa.chunked_array([pa.array(values, table.schema.field(at).type)])
        )

    return change


# --- files -----------------------------------------------------------------------------------------------------------


def test_nothing_is_wrong_with_what_was_compiled(made):
    audit = verify_dataset(made)
    assert (audit.findings, audit.failed, audit.damaged, audit.notes) == ((), False, (), ())
    assert audit.manifest == read_manifest(made)
    assert audit.bytes == sum(path.stat().st_size for path in made.rglob("*") if path.is_file())


def test_all_damage_is_found_at_once(out):
    (out / TRAIN).unlink()
    (out / VALID).write_bytes((out / VALID).read_bytes()[:-8])
    data = bytearray((out / "anchors.safetensors").read_bytes())
    data[-1] ^= 1
    (out / "anchors.safetensors").write_bytes(data)
    assert [one[:2] for one in found(out)] == [
        ("MCD604", "anchors.safetensors"),
        ("MCD602", TRAIN),
        ("MCD603", VALID),
    ]
    audit = verify_dataset(out)
    assert audit.damaged == ("anchors.safetensors", TRAIN, VALID)
    assert audit.findings[1].help == "copy it again, or rebuild it: `mcd repair SPEC -o DIR`"


def test_quick_looks_at_sizes_alone(out):
    data = bytearray((out / TRAIN).read_bytes())
    data[400] ^= 1
    (out / TRAIN).write_bytes(data)
    assert found(out, quick=True) == []
    assert [one[0] for one in found(out)] == ["MCD604"]
    (out / TRAIN).write_bytes(data[:-1])
    assert [one[0] for one in found(out, quick=True)] == ["MCD603"]


def test_a_manifest_that_is_damaged_is_all_that_is_said(out):
    text = (out / "manifest.json").read_text()
    (out / "manifest.json").write_text(text.replace('"version": "0', '"version": "1', 1))
    ((code, path, message),) = found(out)
    assert (code, path) == ("MCD604", "manifest.json")
    assert message == "`manifest.json` is not what was written: its SHA-256 differs from its `checksum`"


def test_a_manifest_of_an_older_version_has_no_checksum(out):
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest.pop("checksum")
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert found(out) == []


def test_files_that_nobody_lists_are_warnings(out):
    (out / "shards/train/.00001.arrow.part").touch()
    (out / "notes.txt").touch()
    (out / "elsewhere").symlink_to("/")
    audit = verify_dataset(out)
    assert found(out) == [
        ("MCD660", "elsewhere", "`elsewhere` is no file of the dataset"),
        ("MCD660", "notes.txt", "`notes.txt` is no file of the dataset"),
        ("MCD660", "shards/train/.00001.arrow.part", "`shards/train/.00001.arrow.part` is no file of the dataset"),
    ]
    assert not audit.failed


def test_a_link_that_leads_out_is_refused(out, tmp_path):
    (out / TRAIN).rename(tmp_path / "elsewhere")
    (out / TRAIN).symlink_to(tmp_path / "elsewhere")
    assert found(out) == [("MCD670", TRAIN, f"`{TRAIN}` is a link to a file outside of the dataset")]
    (out / TRAIN).unlink()
    (tmp_path / "elsewhere").rename(out / "shards/kept")
    (out / TRAIN).symlink_to("../kept")
    assert [one[0] for one in found(out)] == ["MCD660"]


def test_a_pipe_is_no_file_and_is_not_waited_for(out):
    (out / TRAIN).unlink()
    os.mkfifo(out / TRAIN)
    assert found(out) == [("MCD607", TRAIN, f"`{TRAIN}` is no file")]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "shards/../../x", "", "a\0b"])
def test_no_path_leads_out(out, path):
    manifest = json.loads((out / "manifest.json").read_text()) | {"checksum": None}
    manifest["shards"][0]["path"] = path
    (out / "manifest.json").write_text(json.dumps(manifest))
    ((code, _, message),) = found(out)
    assert code == "MCD607" and message.startswith("`manifest.json` is malformed at `shards.0.path`")


# --- plan, anchors ---------------------------------------------------------------------------------------------------


def replan(out, **changes):
    made = json.loads((out / "program.json").read_text()) | changes
    (out / "program.json").write_text(json.dumps(made))
    restate(out)


def test_a_plan_that_contradicts_itself(out):
    rules = json.loads((out / "program.json").read_text())["rules"]
    rules[0]["layers"] = [9]
    replan(out, rules=rules)
    assert found(out) == [("MCD661", "program.json", "`program.json` rule `axis`: reads layers (9,) of 0..4")]


def test_a_plan_of_another_compilation(out):
    rules = json.loads((out / "program.json").read_text())["rules"]
    replan(out, version="0.0.1", rules=[rules[0] | {"id": "other"}, *rules[1:]])
    messages = [message for code, path, message in found(out) if (code, path) == ("MCD662", "program.json")]
    assert [message.removeprefix("`program.json` ")[:24] for message in messages] == [
        "is of version 0.0.1, the",
        "has no rule `axis`, whic",
        "has a rule `other` that ",
    ]


def test_anchors_are_unit_vectors_of_the_plan(out):
    save_file({"pet": np.full(8, 1, np.float32), "stray": np.ones(8, np.float32)}, out / "anchors.safetensors")
    restate(out)
    assert found(out) == [
        ("MCD663", "anchors.safetensors", "anchor `pet` has length 2.828; 1 is expected"),
        ("MCD663", "anchors.safetensors", "`anchors.safetensors` holds `stray`, which is no anchor of the plan"),
    ]
    save_file({"pet": np.full(8, np.nan, np.float32)}, out / "anchors.safetensors")
    restate(out)
    assert found(out) == [("MCD615", "anchors.safetensors", "anchor `pet` holds what is no number")]


# --- shards ----------------------------------------------------------------------------------------------------------


def test_a_shard_of_other_rows_than_stated(out):
    manifest = read_manifest(out)
    wrong = manifest.shards[0].model_copy(update={"records": 7, "source": "t"})
    restate(out, shards=(wrong, *manifest.shards[1:]))
    assert [one for one in found(out) if one[1] == TRAIN] == [
        ("MCD664", TRAIN, f"shard `{TRAIN}` has 2 records; the manifest states 7"),
        ("MCD665", TRAIN, f"shard `{TRAIN}` holds records of another source than `t`"),
    ]
    assert ("MCD669", "manifest.json", "`manifest.json` states 2 records of split `train`; its shards have 7") in found(
        out
    )


def test_a_shard_listed_twice_or_elsewhere(out):
    manifest = read_manifest(out)
    restate(out, shards=(*manifest.shards, manifest.shards[0].model_copy(update={"split": "valid"})))
    assert [one for one in found(out) if one[0] == "MCD665"] == [
        ("MCD665", TRAIN, f"shard `{TRAIN}` is listed twice, so that its rows come twice"),
        ("MCD665", TRAIN, f"shard `{TRAIN}` is listed as one of split `valid`"),
    ]


def test_a_shard_of_other_columns(out):
    rewrite(out / VALID, lambda table: table.append_column("later", pa.array([1])))
    restate(out)
    assert found(out) == [("MCD666", VALID, f"shard `{VALID}` has other columns than `{TRAIN}`")]


def test_parts_that_are_not_one_after_another(out):
    rewrite(out / TRAIN, column("part", [0, 2]))
    restate(out)
    message = f"shard `{TRAIN}` has part 2 of record `b` where part 0 is expected, in row 1 of record batch 0"
    assert ("MCD667", TRAIN, message) in found(out)


def test_a_record_in_two_splits(out):
    rewrite(out / VALID, column("id", ["b"]))
    restate(out)
    assert found(out) == [("MCD668", VALID, "record `b` is in split `train` and in split `valid`")]


def test_of_too_many_records_a_share_is_compared(out, monkeypatch):
    monkeypatch.setattr(ids, "MOST", 1)
    audit = verify_dataset(out)
    assert (audit.findings, audit.notes) == ((), ("1 record of 3 was compared between splits",))


# --- counts ----------------------------------------------------------------------------------------------------------


def test_counts_that_the_shards_do_not_hold(out):
    manifest = read_manifest(out)
    key, written = next(
        (k, s.written) for k, s in load(out).plan.sets.items() if s.kind == "span" and "cat" in s.written
    )
    counts = manifest.sets[key]
    more = counts.model_copy(
        update={"splits": counts.splits | {"valid": counts.splits["valid"] | {"matched": 9, "rows": 8}}}
    )
    restate(out, sets=manifest.sets | {key: more})
    messages = [message for code, _, message in found(out) if code == "MCD669"]
    assert messages[:2] == [
        f"`manifest.json` counts 8 `rows` of `{written}` in split `valid`; its shards have 1",
        f"`manifest.json` counts 9 spans or edges that act of `{written}` in split `valid`; its shards have 1",
    ]
    assert messages[2] == "`manifest.json` counts for rule `axis` what does not follow from its sets"


def test_counts_of_a_split_that_cannot_be_read_are_left_alone(out):
    (out / TRAIN).unlink()
    assert [one[0] for one in found(out)] == ["MCD602"]


@pytest.mark.parametrize("overflow", [None, SPLIT, c.Overflow("truncate", 0)])
@pytest.mark.parametrize(("prefix", "suffix"), [(0, 0), (1, 0), (2, 1)])
def test_what_is_counted_again_is_what_was_counted(tmp_path, prefix, suffix, overflow):
    """Against the counts of the compiler, over random texts in parts of 7 tokens, with added tokens around them."""
    for seed in range(12):
        random = np.random.default_rng(seed)
        context = 512 if overflow is None else 7
        made = random_recipe(context, overflow or SPLIT)
        made = replace(made, pairs=(("a", "b"),))
        rules = [
            toward("t", "a"),
            toward("u", "b"),
            attend("e", "e"),
            attend("f", "f"),
            like("l", "a", "b"),
            toward("c", "c"),
        ]
        asked = plan(rules, COLUMNS, prefix=prefix, suffix=suffix, context=context)
        batch, stored, pairs = random_batch(random, 6, prefix=prefix, suffix=suffix, size=14)
        write(tmp_path / f"{seed}", made, asked, {"train": [(batch, stored, pairs)]})
        aligned = align(batch, made, stored, pairs)
        total = {}
        for counted in (aligned.counts, count_together(made, aligned)):
            merge(total, counted.by_split(np.zeros(6, np.int64), ("train",)))
        sets = as_counts(total, ["a", "b", "c", "e", "f", both("a", "b"), *COUNTED])
        restate(tmp_path / f"{seed}", sets=sets, causal=True)
        counted = [one for one in found(tmp_path / f"{seed}") if one[0] == "MCD669"]
        assert not counted, (seed, counted)
    # The last one once more, every number of it one too high.
    more = {key: {cause: n + 1 for cause, n in counts.splits["train"].items()} for key, counts in sets.items()}
    wrong = {key: counts.model_copy(update={"splits": {"train": more[key]}}) for key, counts in sets.items()}
    restate(tmp_path / "11", sets=wrong, causal=True)
    said = "\n".join(message for code, _, message in found(tmp_path / "11") if code == "MCD669")
    counted = [key for key in sets if "rows" in more[key]]
    assert len(counted) > 2 and all(f"`rows` of `{key}`" in said for key in counted)
    assert "`matched` of `record`" in said
