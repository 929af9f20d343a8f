"""What is kept of the sources between two runs: it is found where it must be, never where it must not, and no byte shows it."""

import functools
import json
import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from mcd.compiler import execute
from mcd.compiler.batch import TextBatch
from mcd.compiler.build.engines import Pool
from mcd.compiler.cache.cache import CacheFolder
from mcd.compiler.cache.columns import packed
from mcd.compiler.cache.tokens import KeptTokens
from mcd.compiler.compile import compile_program
from mcd.compiler.part import compile_part, finish_parts
from mcd.compiler.sources.base import Limits
from mcd.compiler.sources.reader import Splits
from mcd.compiler.tokens.text import string_bytes
from mcd.dsl.check import check
from mcd.dsl.diagnostics import Failure

from ..projects import WORDS, checked, content, project, write_tokenizer
from .cached import BASE, FORMATS, PLAIN, SPECS, built, edited, kept, records, spec_of
from .helpers import byte_encoder

# --- the same bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [4096, 3])
@pytest.mark.parametrize("format", FORMATS)
def test_what_was_kept_gives_the_same_bytes(tmp_path, outs, encoded, monkeypatch, format, batch):
    limited = functools.partial(execute.read_batches, limits=Limits(records=batch))
    monkeypatch.setattr(execute, "read_batches", limited)
    path = spec_of(tmp_path, format, records())
    plain = built(path, next(outs), cache=None)
    assert not (tmp_path / ".mcd-cache").exists()
    assert built(path, next(outs)) == plain
    assert len(kept(tmp_path)) == 1
    encoded.clear()
    assert built(path, next(outs)) == plain
    assert encoded == []


@pytest.mark.parametrize("spec", ["wordnet/wordnet.mcd", "recall/recall.mcd", "recall/control.mcd"])
def test_the_specs_of_the_repository(tmp_path, outs, encoded, spec):
    folder = tmp_path / "spec"
    shutil.copytree((SPECS / spec).parent, folder)
    program, _ = check(folder / Path(spec).name)
    plain, cold, warm = (next(outs) for _ in range(3))
    compile_program(program, plain)
    cache = CacheFolder.of_project(program.root)
    compile_program(program, cold, cache=cache)
    encoded.clear()
    compile_program(program, warm, cache=cache)
    assert content(plain) == content(cold) == content(warm)
    assert encoded == []


def test_sentences_of_conllu(tmp_path, outs, encoded):
    lines = "".join(
        f"1\t{word}\t_\tNOUN\t_\t_\t0\t_\t_\t_\n2\tran\t_\tVERB\t_\t_\t1\t_\t_\t_\n\n" for word in WORDS[:6]
    )
    spec = 'source s = conllu("data.conllu") {}\nspan word = offsets(.words)\nspan noun = word where upos == "NOUN"\n'
    spec += "weigh noun { factor = 2 }\n"
    path = project(tmp_path, spec)
    (tmp_path / "data.conllu").write_text(lines)
    plain = built(path, next(outs), cache=None)
    assert built(path, next(outs)) == plain
    encoded.clear()
    assert built(path, next(outs)) == plain and encoded == []


def test_fields_whose_type_widens_from_batch_to_batch(tmp_path, outs, encoded, monkeypatch):
    """A label is null, then whole, then a fraction: three schemas in one entry."""
    monkeypatch.setattr(execute, "read_batches", functools.partial(execute.read_batches, limits=Limits(2, 1 << 20)))
    labels = [None, None, 1, 2, 1.5, None]
    rows = [{"id": str(number), "text": "the cat", "label": label} for number, label in enumerate(labels)]
    path = project(tmp_path, PLAIN.replace("factor = 2", "factor = .label"), rows)
    plain = built(path, next(outs), cache=None)
    assert built(path, next(outs)) == plain
    encoded.clear()
    assert built(path, next(outs)) == plain and encoded == []


def test_tokens_that_the_tokenizer_adds(tmp_path, outs, encoded):
    path = project(tmp_path, PLAIN, [{"id": "a", "text": "the cat"}, {"id": "b", "text": ""}])
    write_tokenizer(tmp_path / "tokenizer.json", begin="<s>")
    plain = built(path, next(outs), cache=None)
    assert built(path, next(outs)) == plain
    encoded.clear()
    assert built(path, next(outs)) == plain and encoded == []


@pytest.mark.slow
def test_processes_of_a_pool_share_what_is_kept(tmp_path, outs, encoded):
    path = project(tmp_path, PLAIN.replace("data.jsonl", "*.jsonl"))
    for number in range(6):
        (tmp_path / f"{number}.jsonl").write_text(
            json.dumps({"id": str(number), "text": WORDS[number] + " cat"}) + "\n"
        )
    plain = built(path, next(outs), cache=None)
    assert built(path, next(outs), engine=Pool(2)) == plain
    assert len(kept(tmp_path)) == 6
    encoded.clear()
    assert built(path, next(outs)) == plain and encoded == []
    stamps = [path.stat().st_ino for path in kept(tmp_path)]
    assert built(path, next(outs), engine=Pool(2)) == plain
    assert [path.stat().st_ino for path in kept(tmp_path)] == stamps


def test_shares_of_array_jobs(tmp_path, outs, encoded):
    path = project(tmp_path, PLAIN, [{"id": "a", "text": "the cat"}])
    plain = built(path, next(outs))
    encoded.clear()
    out = next(outs)
    compile_part(checked(path), out, 0, 1, Pool(1), lambda progress: None, CacheFolder.of_project(tmp_path))
    finish_parts(checked(path), out, lambda progress: None)
    assert content(out) == plain and encoded == []


# --- what is found, and what is not ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('phrases("cat", "dog")', 'phrases("cat", "red")'),
        ("offsets(.mentions, of: .text)", 'regex("[a-z]+")'),
        ("where key before query", "where key.index < query.index"),
        ("layers = 2  heads = any", "layers = 1  heads = [0]  lost = drop"),
        ("classify = .label  classes = 3", "classify = .label  classes = 2"),
        ("signal near: cat { layers = 2  classify = .label  classes = 3 }\n", ""),
        ("context = 16", "context = 4"),
        ("causal = true", "causal = false"),
        ("source s", "source renamed"),
        ("mcd 1\n", "mcd 1\n# a comment\n"),
    ],
)
def test_an_edit_of_what_is_made_of_the_tokens_finds_them(tmp_path, outs, encoded, before, after):
    path = project(tmp_path, BASE, records())
    built(path, next(outs))
    edited(path, before, after)
    encoded.clear()
    found = built(path, next(outs))
    assert encoded == []
    assert found == built(path, next(outs), cache=None)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("spec.mcd", '"{.head}: {.text}"', '"{.head} {.text}"'),
        ("spec.mcd", '"{.head}: {.text}"', '"{.text}: {.head}"'),
        ("spec.mcd", "id = .id ", "id = .text "),
        ("spec.mcd", "id = .id ", ""),
        ("spec.mcd", "split = hash(train: 80%, valid: 20%)", "split = hash(train: 50%, valid: 50%)"),
        ("spec.mcd", "split = hash(train: 80%, valid: 20%)", 'split = "valid"'),
        ("spec.mcd", "split = hash(train: 80%, valid: 20%)", "split = .head"),
        ("data.jsonl", "the cat", "cat the"),
        ("data.jsonl", '"r20"', '"r99"'),
        ("data.jsonl", '{"id": "r0"', '{"id":  "r0"'),
        ("tokenizer.json", '"the"', '"THE"'),
        ("tokenizer.json", '"Removed"', '"Isolated"'),
    ],
)
def test_an_edit_of_what_tokens_are_made_of_does_not(tmp_path, outs, encoded, file, before, after):
    """Neither there nor, once both were kept, on the way back: each finds its own."""
    rows = [{**row, "text": row["text"] or "it ran off the cat"} for row in records()]
    path = project(tmp_path, BASE, [{**row, "text": f"{row['text']} {row['id']}"} for row in rows])
    first = built(path, next(outs))
    original = (tmp_path / file).read_text()
    edited(tmp_path / file, before, after)
    encoded.clear()
    assert built(path, next(outs)) == built(path, next(outs), cache=None) != first
    assert len(encoded) == 2
    encoded.clear()
    built(path, next(outs))
    (tmp_path / file).write_text(original)
    assert built(path, next(outs)) == first
    assert encoded == []


def test_csv_columns_that_change_their_type(tmp_path, outs, encoded):
    """The digest of the file covers it: 1 and 1.5 in one column make 1 a fraction."""
    path = project(tmp_path, PLAIN.replace("jsonl", "csv").replace("factor = 2", "factor = .w"))
    data = tmp_path / "data.csv"
    for last in ("1", "1.5"):
        data.write_text(f"id,text,w\na,the cat,1\nb,a cat,{last}\n")
        assert built(path, next(outs)) == built(path, next(outs), cache=None)


def test_ids_by_number_are_those_of_the_place(tmp_path, outs, encoded):
    """A file before has the records of the next counted on: they are other records, though their bytes are the same."""
    path = project(tmp_path, PLAIN.replace("id = .id ", "").replace("data.jsonl", "*.jsonl"))
    (tmp_path / "b.jsonl").write_text('{"text": "the cat"}\n')
    built(path, next(outs))
    (tmp_path / "a.jsonl").write_text('{"text": "a dog"}\n')
    assert built(path, next(outs)) == built(path, next(outs), cache=None)


def test_a_file_that_moves_is_found_and_messages_name_where_it_is_now(tmp_path, outs, encoded):
    """The faulty offset is that of record 2, line 2, in the file that was renamed and now stands second."""
    rows = [
        {"id": "a", "text": "the cat", "mentions": []},
        {"id": "b", "text": "a cat", "mentions": [{"start": 0, "end": 99}]},
    ]
    path = project(tmp_path, PLAIN.replace("data.jsonl", "*.jsonl"), rows)
    built(path, next(outs))
    (tmp_path / "data.jsonl").rename(tmp_path / "z.jsonl")
    (tmp_path / "a.jsonl").write_text('\n{"id": "c", "text": "the cat", "mentions": []}\n')
    built(path, next(outs))
    edited(path, "weigh cat", "span mention = offsets(.mentions)\nweigh mention")
    with pytest.raises(Failure) as plain:
        built(path, next(outs), cache=None)
    built_of_other_fields = [path.name for path in kept(tmp_path)]
    with pytest.raises(Failure) as found:
        built(path, next(outs))
    assert [each.message for each in found.value.diagnostics] == [each.message for each in plain.value.diagnostics]
    assert "z.jsonl" in str(found.value.diagnostics[0].place)
    assert len(built_of_other_fields) == 2


def test_more_fields_than_wanted_serve_and_show_nowhere(tmp_path, outs, encoded):
    """A field that only the first spec names has been seen in its entry, and in no dataset of the second."""
    path = project(tmp_path, BASE, records())
    built(path, next(outs))
    path.write_text(path.read_text().split("attend")[0] + "weigh half: cat { factor = 0.5 }\n")
    encoded.clear()
    assert built(path, next(outs)) == built(path, next(outs), cache=None)
    assert len(encoded) == 1


@pytest.mark.parametrize(("first", "second"), [(4096, 7), (7, 4096), (7, 5)])
@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_another_field_is_read_and_nothing_tokenised(tmp_path, outs, encoded, monkeypatch, format, first, second):
    """Wherever batches were and are cut. The file with more fields takes the place of the one with fewer."""
    path = spec_of(tmp_path, format, records())
    spec = path.read_text()
    path.write_text(spec.split("attend")[0] + "weigh half: cat { factor = 0.5 }\n")
    read = execute.read_batches
    monkeypatch.setattr(execute, "read_batches", functools.partial(read, limits=Limits(records=first)))
    built(path, next(outs))
    (before,) = kept(tmp_path)
    path.write_text(spec)
    monkeypatch.setattr(execute, "read_batches", functools.partial(read, limits=Limits(records=second)))
    plain = built(path, next(outs), cache=None)
    encoded.clear()
    assert built(path, next(outs)) == plain
    assert encoded == []
    (after,) = kept(tmp_path)
    assert after != before
    assert built(path, next(outs)) == plain and encoded == []


def test_tokens_of_other_texts_are_not_taken(tmp_path):
    """The second of three texts is another one: it and all after it are tokenised."""
    encoder = byte_encoder(tmp_path)
    texts = ["one w\u00f6rd", "", "two words"]
    given = batch_of(encoder, texts)
    for cuts in ([0, 3], [0, 1, 3], [0, 2, 3], [0, 1, 2, 3]):
        kept = KeptTokens([packed(given, Splits(("train",), np.zeros(3, np.int64)), 0)], encoder)
        for start, stop in pairwise(cuts):
            piece = pa.array(texts[start:stop], pa.string())
            same(kept.encode(piece), encoder.encode(piece))
    asked = []
    fake = SimpleNamespace(encode=lambda texts, bare: asked.append(texts.to_pylist()))
    kept = KeptTokens([packed(given, Splits(("train",), np.zeros(3, np.int64)), 0)], fake)
    for piece in (texts[:1], ["other"], texts[2:]):
        kept.encode(pa.array(piece, pa.string()))
    assert asked == [["other"], texts[2:]]


def batch_of(encoder, texts):
    array = pa.array(texts, pa.string())
    buffer, bounds = string_bytes(array)
    ids = pa.array([str(number) for number in range(len(texts))], pa.string())
    return TextBatch("s", ids, buffer, bounds, {}, {}, encoder.encode(array), np.arange(len(texts)))


def same(one, other):
    for each in ("ids", "start", "end", "record", "offsets", "added"):
        np.testing.assert_array_equal(getattr(one, each), getattr(other, each))
        assert getattr(one, each).dtype == getattr(other, each).dtype


def test_marks_and_messages_are_not_kept(tmp_path, outs):
    marked = PLAIN.replace("}\nspan", "}\nspan held = markup(.text)\nspan", 1).replace("weigh cat", "weigh held")
    path = project(tmp_path, marked, [{"id": "a", "text": "the [[cat|x]]"}])
    assert built(path, next(outs)) == built(path, next(outs), cache=None)
    assert not (tmp_path / ".mcd-cache").exists()
