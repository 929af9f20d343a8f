"""What is told of a dataset: counted by hand, against the plain reading of its rows, and against what the runtime trains on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import mcd
from mcd.compiler.inspect.opened import Opened, open_dataset
from mcd.compiler.inspect.overview import overview
from mcd.compiler.inspect.pieces import Pieces, find_tokenizer
from mcd.compiler.inspect.rows import Query, find_rows
from mcd.compiler.inspect.statistics import statistics
from mcd.compiler.inspect.tally import DISTINCT, Real, Values, Whole
from mcd.compiler.manifest import file_digest
from mcd.dsl.diagnostics import Failure

from ..inspected import SPEC, record, rich
from ..projects import compiled, project, write_tokenizer


def quiet(done, total):
    pass


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> Opened:
    folder = tmp_path_factory.mktemp("rich")
    rich(folder)
    return open_dataset(folder / "out")


@pytest.fixture(scope="module")
def found(opened):
    return statistics(opened, opened.shards())


def rows(opened, **query):
    file = find_tokenizer(opened, None)
    return list(find_rows(opened, Query(**query), None if file is None else Pieces(file)))


def plain(opened):
    """Every row as pyarrow alone reads it, its set numbers replaced by keys."""
    for shard in opened.shards():
        with pa.memory_map(str(opened.directory / shard.path)) as file:
            table = pa.ipc.open_file(file).read_all()
        keys = json.loads(table.schema.metadata[b"mcd.sets"])
        for row in table.to_pylist():
            row["span.set"] = [keys[number] for number in row["span.set"]]
            row["edge.set"] = [keys[number] for number in row["edge.set"]]
            yield row


# --- statistics


def test_sets_are_counted_as_the_rows_hold_them(opened, found):
    for each in found.sets:
        per_row, tokens = [], 0
        for row in plain(opened):
            group, ends = (
                ("span", ("span.start", "span.end"))
                if each.kind == "span"
                else ("edge", ("edge.query_start", "edge.query_end"))
            )
            mine = [
                (start, end)
                for key, start, end in zip(row[f"{group}.set"], row[ends[0]], row[ends[1]], strict=True)
                if key == each.key
            ]
            per_row.append(len(mine))
            tokens += len({at for start, end in mine for at in range(start, end)})
        assert each.per_row.count == len(per_row) and each.per_row.max == max(per_row)
        assert each.per_row.mean == pytest.approx(np.mean(per_row))
        assert each.tokens.count == tokens


def test_tokens_of_rows(opened, found):
    """`train` has rows of 6, 4, 3 tokens and of 16 and 12: the long one's 25 tokens, and the 3 that its second part repeats."""
    assert found.rows == 7
    train = found.tokens["train"]
    assert (train.count, train.min, train.median, train.p95, train.max) == (5, 3, 6, 16, 16)
    assert train.mean == pytest.approx((6 + 4 + 3 + 16 + 12) / 5)


def test_what_rules_supervise_is_what_the_runtime_trains(opened, found):
    """Of rules whose every token is a row of the loss: the tokens, and the records that hold them."""
    dataset = mcd.load(opened.directory)
    every = list(dataset)
    told = {each.name: each for each in found.rules}
    for name in ("all", "near", "close"):
        (rule,) = (rule for rule in dataset.plan.rules if rule.id == name)
        plan = dataset.plan.model_copy(update={"rules": (rule,)})
        (hidden,) = mcd.Collator(plan)(every).hidden
        # A vector that a record lacks leaves its tokens without a row: record `c` has 3 tokens and no `vector`.
        assert told[name].tokens.count == len(hidden.position) + (3 if name == "near" else 0)
    model = dataset.plan.model.model_copy(update={"causal": False})  # every edge can be attended along
    for name in ("links", "back", "pairs"):
        (rule,) = (rule for rule in dataset.plan.rules if rule.id == name)
        plan = dataset.plan.model_copy(update={"rules": (rule,), "model": model})
        (attend,) = mcd.Collator(plan)(every).attend
        queries = set(zip(attend.pair_record.tolist(), attend.pair_row.tolist(), strict=True))
        assert told[name].tokens.count == len(queries)


def test_first_and_last_read_one_token(found):
    """One whole `clause` of five tokens, in record `a`."""
    told = {each.name: each for each in found.rules}
    assert [told[name].tokens.count for name in ("first", "last", "all")] == [1, 1, 5]
    assert [told[name].rows.count for name in ("first", "last", "all")] == [1, 1, 1]


def test_weigh_reads_what_the_context_cuts(found):
    """The long record's clause goes from token 7 to its end, over both parts: 9 tokens and 9, beside the 5 of record `a`."""
    told = {each.name: each for each in found.rules}
    assert (told["long"].tokens.count, told["long"].rows.count) == (5 + 9 + 9, 3)
    assert (told["all"].tokens.count, told["all"].rows.count) == (5, 1)


def test_labels_and_numbers(found):
    """Animals: 2, 4, 0, 6 in train, 2 and 2 in the others. `classes` are 0, 1, 2, 0, ... along them, `factors` 1, 2, 3, ..."""
    told = {each.name: each for each in found.rules}
    animals = (2, 4, 6, 2, 2)
    classes = Counter(at % 3 for count in animals for at in range(count))
    assert {each.value: each.count for each in told["class"].labels.values} == dict(classes)
    assert {each.value: each.count for each in told["kind"].labels.values} == {"noun": 6, "odd": 6}
    assert [(each.value, each.count) for each in told["same"].labels.values] == [("7", 12)]
    factors = sorted(1.0 + at for count in animals for at in range(count))
    numbers = told["boost"].numbers
    assert (numbers.count, numbers.min, numbers.max) == (16, 1, 6)
    assert (numbers.median, numbers.mean) == (factors[7], pytest.approx(np.mean(factors)))
    (links,) = (each for each in found.sets if "linked" in each.written)
    assert (links.weights.min, links.weights.max, links.weights.count) == (1.5, 5.5, 10)


def test_one_split_alone(opened):
    found = overview(opened, "valid", True, quiet)
    assert [(split.name, split.records, split.rows, split.tokens) for split in found.splits] == [("valid", 1, 1, 5)]
    assert found.statistics.rows == 1 and set(found.statistics.tokens) == {"valid"}
    with pytest.raises(Failure) as failure:
        overview(opened, "vald", True, quiet)
    assert failure.value.diagnostics[0].code.id == "MCD611"


def test_without_statistics_no_shard_is_read(opened, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(opened.directory, copy)
    for shard in opened.manifest.shards:
        damage(copy / shard.path)
    found = overview(open_dataset(copy), None, False, quiet)
    assert found.statistics is None and [split.rows for split in found.splits] == [None] * 3


# --- numbers


def test_whole_numbers():
    numbers = Whole()
    assert numbers.summary() is None
    numbers.add(np.array([5, 1, 1]), absent=2)
    numbers.add(np.array([9] * 95))
    found = numbers.summary()
    assert (found.count, found.min, found.median, found.p95, found.max) == (100, 0, 9, 9, 9)
    assert found.mean == pytest.approx((5 + 1 + 1 + 95 * 9) / 100)


def test_real_numbers_against_numpy():
    """Quantiles within 0.8% of the value at that rank, all else to float32."""
    values = np.random.default_rng(3).lognormal(0, 4, 10_000).astype(np.float32) * np.float32([1, -1] * 5_000)
    numbers = Real()
    for piece in np.array_split(values, 7):
        numbers.add(piece)
    numbers.add(np.float32([np.nan, np.inf]))
    found = numbers.summary()
    ordered = np.sort(values)
    assert (found.count, found.min, found.max) == (10_000, float(ordered[0]), float(ordered[-1]))
    assert found.mean == pytest.approx(values.astype(np.float64).mean(), rel=1e-9)
    assert found.median == pytest.approx(ordered[4_999], rel=0.008)
    assert found.p95 == pytest.approx(ordered[9_499], rel=0.008)


def test_equal_real_numbers_are_exact():
    numbers = Real()
    numbers.add(np.full(9, 0.3, np.float32))
    found = numbers.summary()
    assert found.min == found.median == found.p95 == found.max == np.float32(0.3)
    assert Real().summary() is None


def test_values_are_bounded():
    values = Values()
    values.add(pa.array([None, "b", "a", "b"]))
    values.add(pa.array([str(number) for number in range(DISTINCT + 5)]))
    values.add(pa.array(["a", "never before"]))
    found = values.counts()
    assert [(each.value, each.count) for each in found.values[:2]] == [("a", 2), ("b", 2)]
    assert (len(found.values), found.null, found.others) == (DISTINCT, 1, 5 + 2 + 1)


# --- rows


def test_a_row_holds_what_its_shard_does(opened):
    dataset = mcd.load(opened.directory)
    told = rows(opened, numbers=range(100))
    assert [(row.id, row.part) for row in told] == [(row.id, row.part) for row in dataset]
    for row, wanted in zip(told, plain(opened), strict=True):
        assert list(row.input_ids) == wanted["input_ids"]
        spans = [
            (held.key, s.start, s.end) for held in row.held for s in held.spans if held.key not in ("tokens", "record")
        ]
        extra = {"blank", "repeat", "record/cut"}
        stored = zip(wanted["span.set"], wanted["span.start"], wanted["span.end"], strict=True)
        assert sorted(s for s in spans if s[0] not in extra) == sorted(s for s in stored if s[0] not in extra)
        edges = [
            (held.key, e.query.start, e.query.end, e.key.start, e.key.end, e.weight)
            for held in row.held
            for e in held.edges
        ]
        columns = ("edge.set", "edge.query_start", "edge.query_end", "edge.key_start", "edge.key_end", "edge.weight")
        assert sorted(edges) == sorted(zip(*(wanted[name] for name in columns), strict=True))
        assert {name: None if values is None else list(values) for name, values in row.fields.items()} == {
            name: wanted[f"field.{name}"] for name in ("classes", "factor", "factors")
        }


def test_rows_are_numbered_as_they_are_loaded(opened):
    for split in (None, "valid", "valid-2"):
        dataset = mcd.load(opened.directory, split=split)
        for number in range(len(dataset)):
            (row,) = rows(opened, split=split, numbers=range(number, number + 1))
            assert (row.id, row.part) == (dataset[number].id, dataset[number].part)
    assert [(row.split, row.number) for row in rows(opened, numbers=range(4, 7))] == [
        ("train", 4),
        ("valid", 0),
        ("valid-2", 0),
    ]


def test_rows_of_a_rule(opened):
    """`back` acts where a cat follows a dog; `pairs` where there are both, in any order."""
    assert [row.id for row in rows(opened, rule="back")] == ["b", "long"]
    assert [row.id for row in rows(opened, rule="pairs")] == ["a", "b", "long", "long", "v", "ä 🙂"]
    assert [row.id for row in rows(opened, rule="pairs", split="valid")] == ["v"]
    assert [row.part for row in rows(opened, rule="long", ids=("long",))] == [0, 1]
    assert rows(opened, rule="all", split="valid") == []


def test_a_repeated_span_meets_what_is_new(tmp_path):
    """The cat of the overlap acted before: in the second part it is `again`, and acts with the new dog alone."""
    text = " ".join(["the"] * 14) + " cat ran dog and and"
    spec = SPEC[: SPEC.index("attend links")] + "attend pairs: cat -> dog { layers = 2  heads = any }\n"
    rich(tmp_path, [record("x", text)], spec)
    opened = open_dataset(tmp_path / "out")
    first, second = rows(opened, ids=("x",))
    assert [(held.written, held.role) for held in second.held] == [("dog", "acts"), ("cat", "again")]
    assert [row.part for row in rows(opened, rule="pairs")] == [1]
    assert first.repeat == () and [(place.start, place.end) for place in second.repeat] == [(0, 3)]
    (rule,) = statistics(opened, opened.shards()).rules
    assert (rule.rows.count, rule.tokens.count) == (1, 1)


def test_values_stand_at_their_spans(opened):
    (row,) = rows(opened, ids=("a",))
    by_set = {held.written: held for held in row.held}
    assert [span.attributes for span in by_set["animal"].spans] == [
        {"index": 0, ".classes": 0, ".factors": 1.0},
        {"index": 1, ".classes": 1, ".factors": 2.0},
    ]
    assert by_set["record"].spans[0].attributes == {".factor": 0.5}
    assert [span.text for span in by_set["word"].spans] == ["the", " cat"]
    assert row.vectors == {"vector": 8, "vector32": 8}
    (without,) = rows(opened, ids=("c",))
    assert without.fields == {"classes": None, "factor": (0.5,), "factors": None} and without.vectors["vector"] == 0


def test_white_space_is_in_no_span(tmp_path):
    """Bytes, so that white space has tokens of its own: two blanks inside a span of five bytes."""
    tokenizer = Tokenizer(models.BPE({char: n for n, char in enumerate(pre_tokenizers.ByteLevel.alphabet())}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    (tmp_path / "mcd.toml").touch()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "data.jsonl").write_text('{"id": "x", "text": "a b é"}\n', encoding="utf-8")
    spec = """mcd 1
model m {
  layers = 4  heads = 2  hidden = 8  vocab = 256  causal = true
  tokenizer = "tokenizer.json"  context = 16
}
source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }
span all = regex("a b")
weigh all { factor = 2 }
"""
    (tmp_path / "spec.mcd").write_text(spec, encoding="utf-8")
    compiled(tmp_path / "spec.mcd", tmp_path / "out")
    opened = open_dataset(tmp_path / "out")
    (row,) = rows(opened, numbers=range(1))
    assert row.texts == ("a", " ", "b", " ", "", "é")
    assert [(place.start, place.end) for place in row.blank] == [(1, 2), (3, 4)]
    (found,) = statistics(opened, opened.shards()).sets
    assert (found.per_row.max, found.tokens.count) == (1, 2)


def test_added_tokens_belong_to_nothing(tmp_path):
    """`<s>` is put before each text: `tokens` and `record` begin behind it."""
    spec = SPEC[: SPEC.index("span animal")] + "weigh tokens { factor = 2 }\nweigh record { factor = 3 }\n"
    path = project(tmp_path, spec, [record("x", "the cat ran")])
    write_tokenizer(tmp_path / "tokenizer.json", begin="<s>")
    compiled(path, tmp_path / "out")
    opened = open_dataset(tmp_path / "out")
    (row,) = rows(opened, numbers=range(1))
    assert row.texts == ("<s>", " the", " cat", " ran")
    assert [(held.key, held.spans[0].start, held.spans[0].end) for held in row.held] == [
        ("tokens", 1, 4),
        ("record", 1, 4),
    ]
    assert [rule.tokens.count for rule in statistics(opened, opened.shards()).rules] == [3, 3]


MEMORY = """
import resource, sys
from pathlib import Path
from mcd.compiler.inspect.opened import open_dataset
from mcd.compiler.inspect.statistics import statistics
opened = open_dataset(Path(sys.argv[1]))
assert statistics(opened, opened.shards()).rows == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_is_that_of_a_shard(tmp_path):
    """100 MB in 200 shards take no more than 1 MB in two: 20 MB are allowed for what an allocator does."""
    text = "the cat and a dog and a cat ran off"
    rich(tmp_path, [record(str(number), text) for number in range(1_000)])
    peaks = []
    for copies in (2, 200):
        out = copied(tmp_path / "out", tmp_path / str(copies), copies)
        command = [sys.executable, "-c", MEMORY, str(out), str(1_000 * copies)]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(found.stdout))
    assert peaks[1] - peaks[0] < 20_000


def copied(source: Path, out: Path, copies: int) -> Path:
    """A dataset of several links to the one shard of another."""
    manifest = open_dataset(source).manifest
    (shard,) = manifest.shards
    paths = [f"shards/train/{number:05}.arrow" for number in range(copies)]
    shards = tuple(shard.model_copy(update={"path": path}) for path in paths)
    for path in paths:
        link(source / shard.path, out / path)
    for entry in manifest.files:
        link(source / entry.path, out / entry.path)
    written = manifest.model_copy(update={"shards": shards})
    (out / "manifest.json").write_text(written.model_dump_json(), encoding="utf-8")
    return out


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.hardlink_to(source)


# --- what is refused


def test_a_plan_that_holds_not_together(opened, tmp_path):
    """Sizes and digests are right; a rule reads a set that the plan does not list."""
    copy = copied_whole(opened.directory, tmp_path / "copy")
    plan = json.loads((copy / "program.json").read_text(encoding="utf-8"))
    plan["sets"] = {}
    (copy / "program.json").write_text(json.dumps(plan), encoding="utf-8")
    digest, size = file_digest(copy / "program.json")
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    for entry in manifest["files"]:
        entry |= {"sha256": digest, "bytes": size} if entry["path"] == "program.json" else {}
    manifest["checksum"] = None
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(Failure) as failure:
        open_dataset(copy)
    assert failure.value.diagnostics[0].code.id == "MCD607"


def copied_whole(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def damage(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"numbers": range(7, 9)}, "MCD673"),
        ({"numbers": range(1, 2), "split": "valid"}, "MCD673"),
        ({"ids": ("a", "nobody")}, "MCD674"),
        ({"ids": ("a",), "split": "valid"}, "MCD674"),
        ({"rule": "bak"}, "MCD675"),
        ({"split": "test", "ids": ("a",)}, "MCD611"),
    ],
)
def test_what_is_not_there_is_said(opened, query, code):
    with pytest.raises(Failure) as failure:
        rows(opened, **query)
    assert failure.value.diagnostics[0].code.id == code


def test_a_damaged_shard_shows_nothing(opened, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(opened.directory, copy)
    damage(copy / "shards/train/00000.arrow")
    looked = open_dataset(copy)
    for look in (lambda: statistics(looked, looked.shards()), lambda: rows(looked, ids=("a",))):
        with pytest.raises(Failure) as failure:
            look()
        assert failure.value.diagnostics[0].code.id == "MCD604"
    assert [row.id for row in rows(looked, split="valid", numbers=range(1))] == ["v"]


def test_the_tokenizer_is_found_by_its_content(opened, tmp_path, monkeypatch):
    wanted = opened.plan.tokenizer.digest
    monkeypatch.chdir(tmp_path)
    assert file_digest(find_tokenizer(opened, None))[0][:32] == wanted  # beside the dataset
    shutil.copytree(opened.directory, tmp_path / "elsewhere" / "out")
    moved = open_dataset(tmp_path / "elsewhere" / "out")
    assert find_tokenizer(moved, None) is None
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert find_tokenizer(moved, None) is None
    for given in (tmp_path / "tokenizer.json", tmp_path / "nothing.json"):
        with pytest.raises(Failure) as failure:
            find_tokenizer(moved, given)
        assert failure.value.diagnostics[0].code.id == "MCD676"
    good = opened.directory.parent / "tokenizer.json"
    assert find_tokenizer(moved, good) == good
    (tmp_path / "tokenizer.json").write_bytes(good.read_bytes())
    assert find_tokenizer(moved, None) == tmp_path / "tokenizer.json"
