"""A sample of records: what it finds is what a compilation of these records would, with an example of each loss."""

from __future__ import annotations

import json

import pytest

from mcd.compiler.sample import examples
from mcd.compiler.sample.sample import Finds, Sample, not_seen, sample
from mcd.compiler.sources.base import Tally
from mcd.compiler.sources.spread import some_batches
from mcd.compiler.tokens.tokenize import Encoder

from ..projects import checked, compiled, project

SPEC = """source s = jsonl("data.jsonl") { id = .id  text = .text }
span cat = phrases("cat")
span half = regex("ca")
span late = phrases("bird")
span none = phrases("wolf")
span pair = regex("the cat saw a red dog")
concept axis { spans = phrases("dog")  anchor = orthonormal }
attend link: cat -> late { layers = 2  heads = any }
attend back: late -> cat where key before query { pick = nearest  layers = 2  heads = any }
signal near: cat { layers = 2  classify = .label  classes = 2 }
signal far: half { layers = 2  toward = axis.anchor }
signal gone: none { layers = 2  toward = axis.anchor }
signal whole: pair { layers = 2  toward = axis.anchor }
weigh loud: axis { factor = 3 }
keep hard: cat { score = live.loss  top = 50%  per = record }
"""
TEXTS = [
    "the cat saw a red dog",
    "a bird and the cat saw a bird",
    "the the the the the the the the the the the the the the the cat saw a red dog",
    "rain",
]
RECORDS = [{"id": f"r{at}", "text": text, "label": at} for at, text in enumerate(TEXTS)]


def found(finds: list[Finds], name: str) -> Finds:
    return next(one for one in finds if one.name == name)


@pytest.fixture(scope="module")
def taken(tmp_path_factory) -> tuple[Sample, object]:
    folder = tmp_path_factory.mktemp("sample")
    spec = project(folder, SPEC, RECORDS)
    out = compiled(spec, folder / "out")
    return sample(checked(spec), 100), out


def test_rules_count_as_in_a_compilation(taken):
    """Of the records that a sample looks at, all here, the counts are those of the manifest."""
    one, out = taken
    for finds in one.rules:
        counts = out.manifest.rules[finds.name]
        causes = {cause for split in counts.splits.values() for cause in split} - {"unmatched"}
        assert {cause: counts.total(cause) for cause in causes} == dict(finds.counts), finds.name
    assert (dict(one.records), one.tokens) == ({"s": 4}, 6 + 8 + 16 + 1)


def test_spans_and_what_becomes_of_them(taken):
    """`ca` ends inside the token `cat`, three times; the last token of the long text is cut off, and so is `dog`."""
    one, _ = taken
    half = found(one.spans, "half")
    assert (half.records, dict(half.counts)) == (3, {"matched": 3, "ragged": 3, "cut": 0, "between": 0})
    assert half.examples["ragged"] == half.examples["matched"]
    assert half.examples["ragged"].text == "the |[ca]t |saw |a |red |dog"
    pair = found(one.spans, "pair")
    assert (pair.records, pair.counts["matched"], pair.counts["cut"]) == (2, 2, 1)
    assert pair.examples["cut"].record == "r2"
    assert pair.examples["cut"].text.endswith("|the |[the |cat |saw |a |red |dog]")
    assert (pair.examples["cut"].place.path, pair.examples["cut"].place.line) == ("data.jsonl", 3)
    assert found(one.spans, "none").examples == {}
    assert found(one.spans, "axis").counts["matched"] == 2


def test_rules_and_what_they_lose(taken):
    """In r1 `cat` stands between two birds: one pair points forward. r2 has no bird. The labels 2 of r2 are outside."""
    one, _ = taken
    link, back, near = (found(one.rules, name) for name in ("link", "back", "near"))
    assert (
        back.examples["matched"].text
        == "a |bird |and |the |cat |saw |a |[bird] -> a |bird |and |the |[cat] |saw |a |bird"
    )
    assert back.records == 1 and link.records == 1
    assert near.counts["outside"] == 1
    assert near.examples["outside"].record == "r2"
    assert set(near.examples) == {"matched", "outside"}


def test_warnings(taken, tmp_path):
    """A rule whose own spans were not seen is explained by these."""
    spec = project(tmp_path, SPEC + 'weigh odd: regex("zz") { factor = 2 }\n', RECORDS)
    program = checked(spec)
    said = [(item.code.id, item.message) for item in not_seen(program, sample(program, 100))]
    assert said == [
        ("MCD350", "`none` matches nothing in the 4 records that were looked at"),
        ("MCD351", "`odd` finds nothing in the 4 records that were looked at"),
    ]


# --- from all over a source


def ids(folder, records: int, count: int, form: str = "jsonl") -> list[str]:
    spec = project(
        folder,
        f'source s = {form}("data*.{form}") {{ id = .id  text = .text }}\nspan a = phrases("cat")\nweigh a {{ factor = 2 }}\n',
        [{"id": str(at), "text": "the cat"} for at in range(records)],
        **({"data_csv": "id,text\n" + "".join(f"{at},the cat\n" for at in range(records))} if form == "csv" else {}),
    )
    program = checked(spec)
    encoder = Encoder(program.model.tokenizer)
    batches = some_batches(program.sources[0], program.root, count, [], encoder, Tally())
    return [name for batch, _ in batches for name in batch.ids.to_pylist()]


def test_a_sample_comes_from_all_over_a_file(tmp_path):
    taken = ids(tmp_path, 1600, 32)
    assert taken == ids(tmp_path, 1600, 32)
    assert len(taken) == len(set(taken)) == 32
    numbers = [int(name) for name in taken]
    assert numbers == sorted(numbers)
    assert len({number // 100 for number in numbers}) >= 15


@pytest.mark.parametrize(("records", "count", "expected"), [(5, 100, 5), (100, 1, 1), (40, 7, 7), (1, 1, 1)])
def test_as_many_as_there_are(tmp_path, records, count, expected):
    assert len(ids(tmp_path, records, count)) == expected


def test_each_file_has_its_share(tmp_path):
    more = "".join(json.dumps({"id": f"x{at}", "text": "a cat"}) + "\n" for at in range(50))
    (tmp_path / "data-2.jsonl").write_text(more)
    taken = ids(tmp_path, 50, 20)
    assert sum(name.startswith("x") for name in taken) == 10


def test_csv(tmp_path):
    assert ids(tmp_path, 50, 10, "csv") == [str(at) for at in range(10)]


def test_a_long_span_is_shown_by_its_ends(tmp_path):
    words = ["cat", "dog"] * 60
    spec = project(
        tmp_path,
        'source s = jsonl("data.jsonl") { text = .text }\nspan all = regex("cat.*dog")\nweigh all { factor = 2 }\n',
        [{"text": " ".join(words)}],
    )
    (finds,) = sample(checked(spec), 1).spans
    text = finds.examples["matched"].text
    assert text.startswith("[cat |dog |cat") and text.endswith("|cat |dog]") and examples.CUT in text
    assert len(text) < 2 * examples.LONGEST
    assert finds.examples["matched"].record == "data.jsonl:1"
