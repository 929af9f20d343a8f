"""The driver, end to end on small projects: what is written, kept, counted, refused, and what stays whole."""

import functools
import json
import os

import pyarrow as pa
import pytest

from mcd.compiler import execute
from mcd.compiler.compile import compile_program
from mcd.compiler.manifest import read_manifest
from mcd.compiler.sources.base import Limits
from mcd.dsl.diagnostics import Failure

from ..projects import checked, compiled, content, project

SOURCE = 'source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }\n'
CATS = 'span cat = phrases("cat")\n'
SIGNAL = "signal near: cat { layers = 2  classify = .label  classes = 3 }\n"
RECORDS = [
    {"id": "a", "text": "the cat saw a dog", "label": [0]},
    {"id": "b", "text": "a dog ran off", "label": []},
    {"id": "c", "text": "the cat and the cat ran", "label": [1, 2]},
]


def read(out, split="train"):
    """Rows of every shard of a split, as Python values, and the keys of the file's sets."""
    rows = []
    for path in sorted((out / "shards" / split).glob("*.arrow")):
        table = pa.ipc.open_file(path).read_all()
        keys = json.loads(table.schema.metadata[b"mcd.sets"])
        for row in table.to_pylist():
            row["sets"] = [keys[number] for number in row["span.set"]]
            rows.append(row)
    return rows


def refusal(path, out):
    with pytest.raises(Failure) as failure:
        compile_program(checked(path), out)
    return [(found.code.id, found.message) for found in failure.value.diagnostics]


def test_a_compiled_record_by_hand(tmp_path):
    """ "the cat and the cat ran": tokens 0 1 7 0 1 9, cats at [1, 2) and [4, 5), labels 1 and 2 along them."""
    result = compiled(project(tmp_path, SOURCE + CATS + SIGNAL, RECORDS), tmp_path / "out")
    row = read(tmp_path / "out")[2]
    (digest,) = (key for key, info in result.plan.sets.items() if info.written == "cat")
    assert row["id"] == "c" and row["part"] == 0 and row["source"] == "s"
    assert row["input_ids"] == [0, 1, 7, 0, 1, 9]
    assert list(zip(row["sets"], row["span.start"], row["span.end"], row["span.at.index"], strict=True)) == [
        (digest, 1, 2, 0),
        (digest, 4, 5, 1),
    ]
    assert row["field.label"] == [1, 2]
    assert result.manifest.rules["near"].splits == {"train": {"matched": 3, "rows": 3, "unmatched": 1}}
    assert result.manifest.records == {"train": 3} and result.manifest.tokens == {"train": 15}


def test_the_same_input_gives_the_same_bytes(tmp_path):
    path = project(tmp_path, SOURCE + CATS + SIGNAL, RECORDS)
    compiled(path, tmp_path / "one")
    compiled(path, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("records", [1, 2, 7])
def test_the_size_of_a_batch_changes_no_byte(tmp_path, monkeypatch, records):
    many = [{**RECORDS[i % 3], "id": str(i)} for i in range(20)]
    path = project(tmp_path, SOURCE + CATS + SIGNAL + "weigh tokens - cat { factor = 0.5 }\n", many)
    compiled(path, tmp_path / "one")
    limited = functools.partial(execute.read_batches, limits=Limits(records=records))
    monkeypatch.setattr(execute, "read_batches", limited)
    compiled(path, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("layers = 2", "layers = 1..3"),
        ("signal near", "signal closer"),
        ("span cat = phrases", "## A cat.\nspan cat = phrases"),
        (SIGNAL, SIGNAL + "weigh cat { factor = 2 }\n"),
        (CATS, CATS + "curriculum { stage s 100% { near.factor = ramp(1, 0) } }\n"),
        (CATS, CATS + "curriculum { stage s 100% { depth = 50%  train = [0, 1] } }\n"),
        (CATS, CATS + "gradient { scale = {0: 0.1}  stop = 1  conflicts = project }\n"),
        ("hidden = 8", "hidden = 16"),
    ],
)
def test_changing_how_writes_the_plan_alone(tmp_path, before, after):
    path = project(tmp_path, SOURCE + CATS + SIGNAL, RECORDS)
    first = compiled(path, tmp_path / "out")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    second = compiled(path, tmp_path / "out")
    assert second.reused and second.manifest.shards == first.manifest.shards
    assert second.plan != first.plan or "##" in after
    compiled(path, tmp_path / "fresh")
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"cat"', '"cat", "cow"'),
        ("context = 16", "context = 4"),
        ("classes = 3", "classes = 2"),  # what labels lie outside must be counted again
        ('text = "{.text}"', 'text = "{.text} ."'),
    ],
)
def test_changing_where_builds_the_shards_again(tmp_path, before, after):
    path = project(tmp_path, SOURCE + CATS + SIGNAL, [*RECORDS, {"id": "d", "text": "the cat", "label": [2]}])
    compiled(path, tmp_path / "out")
    path.write_text(path.read_text().replace(before, after, 1))
    assert not compiled(path, tmp_path / "out").reused


def test_an_edit_that_keeps_size_and_time_is_seen(tmp_path):
    path = project(tmp_path, SOURCE + CATS + SIGNAL, RECORDS)
    compiled(path, tmp_path / "out")
    data = tmp_path / "data.jsonl"
    stat = data.stat()
    data.write_text(data.read_text().replace("saw a dog", "saw a cat"))
    os.utime(data, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert data.stat().st_size == stat.st_size
    assert refusal(path, tmp_path / "out") == [
        ("MCD621", "field `.label` in record 1 of source `s` has 1 entries for 2 spans")
    ]


def test_what_cannot_be_finished_leaves_the_old_output_whole(tmp_path):
    path = project(tmp_path, SOURCE + CATS + SIGNAL, RECORDS)
    compiled(path, tmp_path / "out")
    before = content(tmp_path / "out")
    (tmp_path / "data.jsonl").write_text('{"id": "a", "text": "the cat", "label": 0}\n{"id": "b", \n')
    ((code, message),) = refusal(path, tmp_path / "out")
    assert code == "MCD504" and "line 2" in message
    assert content(tmp_path / "out") == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_lost_spans_are_counted_by_rule_and_cause(tmp_path):
    """Context 4 cuts the second cat of record c; labels 0..2 of 3 spans, one of them outside 2 classes."""
    spec = SOURCE + CATS + SIGNAL.replace("classes = 3", "classes = 2")
    path = project(tmp_path, spec, RECORDS)
    path.write_text(path.read_text().replace("context = 16", "context = 4"))
    result = compiled(path, tmp_path / "out")
    counts = result.manifest.rules["near"].splits["train"]
    assert {cause: counts[cause] for cause in ("matched", "cut", "outside")} == {"matched": 3, "cut": 1, "outside": 1}
    assert [w.code.id for w in result.warnings] == ["MCD580", "MCD580"]
    assert result.warnings[0].message == "`near`: 1 of 3 spans cut off by the context"


@pytest.mark.parametrize(("lost", "found"), [("drop", []), ("error", ["MCD581", "MCD581"])])
def test_lost_says_what_happens(tmp_path, lost, found):
    spec = SOURCE + CATS + SIGNAL.replace("classes = 3", f"classes = 2  lost = {lost}")
    path = project(tmp_path, spec, RECORDS)
    path.write_text(path.read_text().replace("context = 16", "context = 4"))
    if lost == "error":
        assert [code for code, _ in refusal(path, tmp_path / "out")] == found
        assert not (tmp_path / "out").exists()
    else:
        assert [w.code.id for w in compiled(path, tmp_path / "out").warnings] == found


def test_a_rule_that_matches_nothing_is_said(tmp_path):
    path = project(tmp_path, SOURCE + 'span cow = phrases("cow")\nweigh cow { factor = 2 }\n', RECORDS)
    (warning,) = compiled(path, tmp_path / "out").warnings
    assert (warning.code.id, warning.message) == ("MCD582", "`weigh cow` matched nothing in any record")


def test_offsets_are_promised_for_parts_that_hold_both_sides(tmp_path):
    """Records a and d hold a cat and a dog; d has two cats, of which the context of 16 cuts one off. c has two cats, b a dog."""
    spec = SOURCE + CATS + "concept kitty { spans = cat  anchor = learned }\n"
    spec += 'concept hound { spans = phrases("dog")  anchor = learned }\n'
    spec += "relate shift: kitty -> hound like hound -> kitty { layers = 1 }\n"
    records = [*RECORDS, {"id": "d", "text": "a dog saw the cat " + "and it ran " * 4 + "the cat"}]
    result = compiled(project(tmp_path, spec, records), tmp_path / "out")
    assert result.manifest.rules["shift"].splits == {
        "train": {"cut": 1, "matched": 8, "rows": 2, "unmatched": 2},
    }
    again = spec.replace("hound like", "kitty like").replace("kitty -> kitty", "hound -> kitty")
    turned = compiled(project(tmp_path, again, records), tmp_path / "out")
    assert not turned.reused and turned.manifest.rules["shift"].total("rows") == 2
    other = compiled(project(tmp_path, again.replace("shift", "move"), records), tmp_path / "out")
    assert other.reused


def test_offsets_between_sets_that_never_meet_are_said(tmp_path):
    spec = SOURCE + CATS + "concept kitty { spans = cat  anchor = learned }\n"
    spec += 'concept flight { spans = phrases("off")  anchor = learned }\n'
    spec += "relate shift: kitty -> flight like flight -> kitty { layers = 1 }\n"
    (warning,) = compiled(project(tmp_path, spec, RECORDS), tmp_path / "out").warnings
    assert (warning.code.id, warning.message) == (
        "MCD582",
        "`shift`: no record holds spans of both `kitty` and `flight`",
    )
    assert refusal(
        project(tmp_path, spec.replace("layers = 1", "layers = 1  lost = error"), RECORDS), tmp_path / "x"
    ) == [("MCD583", "`shift`: no record holds spans of both `kitty` and `flight` (`lost = error`)")]


def test_edges_that_point_forward_are_counted_in_a_causal_model(tmp_path):
    """ "the cat saw a dog": the cat's only dog comes after it; in "a dog ran off" there is no cat."""
    look = "attend look: cat -> dog where query.index == key.index { layers = 2  heads = any }\n"
    spec = SOURCE + CATS + 'span dog = phrases("dog")\n' + look
    result = compiled(project(tmp_path, spec, RECORDS), tmp_path / "out")
    assert result.manifest.rules["look"].splits["train"]["forward"] == 1
    assert "`look`: 1 of 1 edges that only point forward in time" in [w.message for w in result.warnings]


def test_a_field_that_no_record_has(tmp_path):
    path = project(tmp_path, SOURCE + CATS + SIGNAL.replace(".label", ".lable"), RECORDS)
    assert refusal(path, tmp_path / "out") == [("MCD587", "`near` reads `.lable`, which no record has")]


def test_splits_never_share_an_id(tmp_path):
    spec = SOURCE.replace("text =", "split = .split  text =") + CATS + "weigh cat { factor = 2 }\n"
    records = [{"id": "a", "split": "train", "text": "the cat"}, {"id": "a", "split": "valid", "text": "a cat"}]
    assert refusal(project(tmp_path, spec, records), tmp_path / "out") == [
        ("MCD588", "splits `train` and `valid` share 1 id")
    ]


def test_splits_of_two_sources_never_share_an_id(tmp_path):
    spec = 'source one = [{id: "a", text: "the cat"}] { id = .id  split = "train"  text = .text }\n'
    spec += 'source two = [{id: "a", text: "a dog"}] { id = .id  split = "valid"  text = .text }\n'
    path = project(tmp_path, spec + CATS + "weigh cat { factor = 2 }\n")
    assert refusal(path, tmp_path / "out") == [("MCD588", "splits `train` and `valid` share 1 id")]


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        ("coverage(cat) >= 3", None),
        ("coverage(cat) > 3", ("MCD591", "`coverage(cat)` is 3 in split `train`, expected > 3")),
        ("coverage(tokens) == 15", None),
    ],
)
def test_expectations_are_checked_while_compiling(tmp_path, claim, found):
    path = project(tmp_path, SOURCE + CATS + f"weigh cat {{ factor = 2 }}\nexpect {claim}\n", RECORDS)
    if found is None:
        compiled(path, tmp_path / "out")
    else:
        assert refusal(path, tmp_path / "out") == [found]


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        ("mass(look)", None),
        ("loss", None),
        ("mass(look, of: valid)", ("MCD590", "`mass(look)` is expected of split `valid`; there is `train`")),
        ("loss(of: valid)", ("MCD590", "`loss` is expected of split `valid`; there is `train`")),
        ("mass(never)", ("MCD591", "`mass(never)` is expected of split `train`, in which `never` has no row")),
    ],
)
def test_that_claims_about_a_trained_model_can_be_decided_is_seen_while_compiling(tmp_path, claim, found):
    """Nothing precedes the first cat, so that `never` has no edge. Claims are the plan's alone: the shards are kept."""
    spec = SOURCE.replace("text =", "split = .fold  text =") + CATS
    spec += "attend look: cat -> tokens where key before query { layers = 1  heads = any  lost = drop }\n"
    spec += "attend never: tokens -> cat where key before query { layers = 1  heads = any  lost = drop }\n"
    path = project(tmp_path, spec, [{"id": "a", "fold": "train", "text": "the cat"}])
    compiled(path, tmp_path / "out")
    path.write_text(path.read_text() + f"expect trained {claim} >= 0.5\n")
    if found is None:
        result = compiled(path, tmp_path / "out")
        assert result.reused
        assert [(claim.metric, claim.bound) for claim in result.plan.claims] == [(claim.partition("(")[0], 0.5)]
    else:
        assert refusal(path, tmp_path / "out") == [found]


def test_an_expectation_of_a_split_that_no_record_has(tmp_path):
    spec = SOURCE.replace("text =", "split = .fold  text =") + CATS + "weigh cat { factor = 2 }\n"
    path = project(
        tmp_path, spec + "expect coverage(cat, of: valid) >= 1\n", [{"id": "a", "fold": "train", "text": "the cat"}]
    )
    said = "`coverage(cat)` is expected of split `valid`; there is `train`"
    assert refusal(path, tmp_path / "out") == [("MCD590", said)]


def test_a_text_without_its_field_is_dropped_and_counted(tmp_path):
    path = project(
        tmp_path, SOURCE + CATS + "weigh cat { factor = 2 }\n", [*RECORDS, {"id": "d", "text": None, "label": []}]
    )
    result = compiled(path, tmp_path / "out")
    assert result.manifest.dropped == {"null_text": 1}
    assert [w.code.id for w in result.warnings] == ["MCD585"]


def test_the_manifest_lists_every_file_and_input(tmp_path):
    compiled(project(tmp_path, SOURCE + CATS + SIGNAL, RECORDS), tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    listed = {entry.path: entry.sha256 for entry in (*manifest.files, *manifest.shards)}
    assert listed == {name: sha for name, sha in content(tmp_path / "out").items() if name != "manifest.json"}
    assert [entry.path for entry in manifest.inputs] == ["spec.mcd", "tokenizer.json", "data.jsonl"]


def test_a_tokenizer_larger_than_the_vocabulary(tmp_path):
    path = project(tmp_path, SOURCE + CATS + SIGNAL, RECORDS)
    path.write_text(path.read_text().replace("vocab = 64", "vocab = 8"))
    ((code, message),) = refusal(path, tmp_path / "out")
    assert code == "MCD592" and message == "the tokenizer has 21 tokens, model `m` a vocabulary of 8"


SEVENTEEN = "the cat saw a red bird and it ran off because of rain . the cat ran"
LONG = [{"id": str(i), "text": SEVENTEEN, "label": []} for i in range(3)]


def test_a_record_that_the_context_cuts_is_lost_to_rules_on_it(tmp_path):
    """16 of 17 tokens are left: `weigh` keeps them, a signal on the record does not act, and `lost = error` says so."""
    spec = (
        SOURCE
        + "concept c { anchor = orthonormal }\nsignal whole: record { layers = 2  toward = c.anchor  pool = mean }\n"
    )
    path = project(tmp_path, spec + "weigh record { factor = 2 }\n", [*LONG, RECORDS[0]])
    result = compiled(path, tmp_path / "out")
    assert result.manifest.rules["whole"].splits == {"train": {"matched": 4, "cut": 3, "rows": 1}}
    assert [w.message for w in result.warnings] == ["`whole`: 3 of 4 spans cut off by the context"]
    path.write_text(path.read_text().replace("pool = mean", "pool = mean  lost = error"))
    assert refusal(path, tmp_path / "strict") == [
        ("MCD581", "`whole`: 3 of 4 spans cut off by the context (`lost = error`)")
    ]


def test_tokens_are_counted_without_those_that_are_repeated(tmp_path):
    """17 tokens in parts of 16 that repeat 4: the second part brings 1 new token."""
    spec = SOURCE + "weigh tokens { factor = 2 }\nexpect coverage(tokens) == 51\n"
    path = project(tmp_path, spec, LONG)
    path.write_text(path.read_text().replace("context = 16", "context = 16  overflow = split(stride: 4)"))
    manifest = compiled(path, tmp_path / "out").manifest
    assert manifest.rules["weigh tokens"].splits == {"train": {"matched": 51, "rows": 51}}
    assert manifest.tokens == {"train": 3 * (16 + 5)}


def test_the_index_of_a_span_can_be_its_label(tmp_path):
    """Cats 0 and 1 of record c, 0 of record a; no class is missing or outside 2."""
    spec = SOURCE + CATS + "signal rank: cat { layers = 2  classify = index  classes = 2 }\n"
    result = compiled(project(tmp_path, spec, RECORDS), tmp_path / "out")
    assert result.manifest.rules["rank"].splits == {"train": {"matched": 3, "rows": 3, "unmatched": 1}}
    assert [row["span.at.index"] for row in read(tmp_path / "out")] == [[0], [], [0, 1]]


def test_a_list_runs_along_the_named_set_under_a_filter(tmp_path):
    """Labels of both cats of record c, though the rule reads the first alone, which keeps its index."""
    spec = SOURCE + CATS + SIGNAL.replace("near: cat {", "near: cat where index == 0 {")
    result = compiled(project(tmp_path, spec, RECORDS), tmp_path / "out")
    assert result.manifest.rules["near"].splits["train"]["rows"] == 2
    assert [row["field.label"] for row in read(tmp_path / "out")] == [[0], [], [1, 2]]
    records = [{**RECORDS[2], "label": []}]
    ((code, _),) = refusal(project(tmp_path, spec, records), tmp_path / "short")
    assert code == "MCD621"


def test_an_attribute_that_no_span_has(tmp_path):
    spec = (
        SOURCE
        + 'span named = offsets(.ms, of: .text)\nsignal near: named { layers = 2  classify = knid  classes = ["a"] }\n'
    )
    spec = spec.replace('["a"]', '["a", "b"]')
    records = [{"id": "a", "text": "the cat", "ms": [{"start": 0, "end": 3, "kind": "a"}]}]
    found = refusal(project(tmp_path, spec, records), tmp_path / "out")
    assert found == [("MCD587", "`near` reads attribute `knid`, which no span has")]


def test_a_text_without_a_token_is_dropped_as_empty(tmp_path):
    path = project(
        tmp_path, SOURCE + CATS + "weigh cat { factor = 2 }\n", [*RECORDS, {"id": "d", "text": "  ", "label": []}]
    )
    assert compiled(path, tmp_path / "out").manifest.dropped == {"empty_text": 1}


def test_a_set_that_marks_a_field_up_changes_the_shards_though_no_rule_reads_it(tmp_path):
    records = [{**record, "text": f"[[{record['text']}|x]]"} for record in RECORDS]
    out = tmp_path / "out"
    compiled(project(tmp_path, SOURCE + CATS + "weigh cat { factor = 2 }\n", records), out)
    before = read(out)[0]["input_ids"]
    changed = project(tmp_path, SOURCE + CATS + "span marked = markup(.text)\nweigh cat { factor = 2 }\n", records)
    assert not compiled(changed, out).reused
    assert read(out)[0]["input_ids"] == [0, 1, 3, 4, 2] != before
    more = project(tmp_path, SOURCE + CATS + "span other = markup(.text)\nweigh cat { factor = 3 }\n", records)
    assert compiled(more, out).reused
