"""What is kept of the sources between two runs: it is found where it must be, never where it must not, and no byte shows it."""

import functools
import hashlib
import json
import os
import shutil
import threading
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcd.compiler import execute
from mcd.compiler.batch import TextBatch
from mcd.compiler.build.engines import Pool
from mcd.compiler.cache import entry as entries
from mcd.compiler.cache.cache import CacheFolder
from mcd.compiler.cache.columns import packed
from mcd.compiler.cache.tokens import KeptTokens
from mcd.compiler.compile import compile_program
from mcd.compiler.files import disk
from mcd.compiler.part import compile_part, finish_parts
from mcd.compiler.sources.base import Limits
from mcd.compiler.sources.reader import Splits
from mcd.compiler.tokens.text import string_bytes
from mcd.compiler.tokens.tokenize import Encoder
from mcd.dsl.check import check
from mcd.dsl.diagnostics import Failure

from ..projects import WORDS, checked, project, write_tokenizer
from .helpers import byte_encoder

SPECS = Path(__file__).parents[2] / "specs"
SPEC = """source s = FORMAT {
  id = .id  text = "{.head}: {.text}"  split = hash(train: 80%, valid: 20%)
}
span cat = phrases("cat", "dog")
span body = slot(.text)
span mention = offsets(.mentions, of: .text)
attend back: cat in body -> mention where key before query { layers = 2  heads = any }
signal near: cat { layers = 2  classify = .label  classes = 3 }
weigh half: tokens - cat { factor = 0.5 }
"""
PLAIN = 'source s = jsonl("data.jsonl") { id = .id  text = "{.text}" }\nspan cat = phrases("cat")\nweigh cat { factor = 2 }\n'
FORMATS = ("jsonl", "csv", "parquet", "arrow", "inline")


def records(number=40):
    """Records of every kind: scripts, empty texts, nulls, mentions or none."""
    made = []
    for each in range(number):
        text = " ".join(WORDS[(each * 5 + place) % 13] for place in range(each % 9))
        if each % 7 == 3:
            text = f"naïve café {text} 日本"
        mentions = [{"start": 0, "end": len(text.split()[0])}] if text and each % 3 else []
        made.append(
            {
                "id": f"r{each}",
                "head": "the",
                "text": None if each == 11 else text,
                "mentions": mentions,
                "label": each % 3,
            }
        )
    return made


def spec_of(folder, format, rows):
    """A project whose records are in this format. A csv file has no lists."""
    pattern, spec = f'{format}("data.{format}")', SPEC
    match format:
        case "jsonl":
            (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        case "csv":
            spec = spec.replace("offsets(.mentions, of: .text)", 'regex("[a-z]+")')
            lines = [
                "id,head,text,label",
                *(f"{row['id']},{row['head']},{row['text'] or ''},{row['label']}" for row in rows),
            ]
            (folder / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        case "parquet":
            pq.write_table(pa.Table.from_pylist(rows), folder / "data.parquet", row_group_size=7)
        case "arrow":
            table = pa.Table.from_pylist(rows)
            with pa.ipc.new_file(str(folder / "data.arrow"), table.schema) as writer:
                writer.write_table(table, max_chunksize=7)
        case "inline":
            pattern = "[" + ", ".join(map(inline, rows)) + "]"
    return project(folder, spec.replace("FORMAT", pattern))


def inline(row):
    def value(each):
        match each:
            case None:
                return "null"
            case list():
                return "[" + ", ".join(map(value, each)) + "]"
            case dict():
                return "{" + ", ".join(f"{name}: {value(member)}" for name, member in each.items()) + "}"
        return json.dumps(each, ensure_ascii=False)

    return value({name: each for name, each in row.items() if each is not None})


@pytest.fixture
def encoded(monkeypatch):
    """The number of records that were tokenised, by call."""
    found = []
    encode = Encoder.encode

    def counting(self, texts, bare=False):
        found.append(len(texts))
        return encode(self, texts, bare)

    monkeypatch.setattr(Encoder, "encode", counting)
    return found


@pytest.fixture
def outs(tmp_path):
    """Names of directories that nothing was compiled into."""
    return (tmp_path / f"out{number}" for number in count())


def content(out):
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def built(path, out, **options):
    """What is compiled with the cache of the project: the files, by digest."""
    options.setdefault("cache", CacheFolder.of_project(checked(path).root))
    compile_program(checked(path), out, **options)
    return content(out)


def kept(folder):
    return sorted((folder / ".mcd-cache").glob("*.tokens"))


def held(folder):
    return sorted(path.name for path in (folder / ".mcd-cache").iterdir())


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

BASE = SPEC.replace("FORMAT", 'jsonl("data.jsonl")')
LINES = "".join(json.dumps(row) + "\n" for row in records())


def edited(path, before, after):
    text = path.read_text()
    assert before in text, before
    path.write_text(text.replace(before, after, 1))


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


# --- what cannot be trusted ------------------------------------------------------------------------------------------


@pytest.fixture
def full(tmp_path, outs):
    """A project with its cache, what it compiles to, and its one entry."""
    path = project(tmp_path, BASE, records())
    plain = built(path, next(outs))
    (entry,) = kept(tmp_path)
    return path, plain, entry


def damages(size):
    rng = np.random.default_rng(0)
    for place in (*range(8), *rng.integers(0, size, 40).tolist(), *range(size - 48, size)):
        yield f"bit {place}", lambda content, place=place: _flipped(content, place)
    for length in (0, 1, 7, 8, 48, *rng.integers(48, size, 20).tolist(), size - 1):
        yield f"length {length}", lambda content, length=length: content[:length]
    yield "more", lambda content: content + b"\0"
    yield "zeros", lambda content: bytes(len(content))
    yield "other", lambda content: b"PAR1" + content[4:]


def _flipped(content, place):
    changed = bytearray(content)
    changed[place] ^= 1 << place % 8
    return bytes(changed)


def test_a_damaged_entry_is_none(full):
    _, _, path = full
    whole = path.read_bytes()
    key = path.name.split("-")[0]
    assert entries.read_entry(path, key, 64) is not None
    for what, damage in damages(len(whole)):
        path.write_bytes(damage(whole))
        assert entries.read_entry(path, key, 64) is None, what
    path.write_bytes(whole)
    assert entries.read_entry(path, "0" * 32, 64) is None
    assert entries.read_entry(path, key, 8) is None  # another vocabulary
    path.unlink()
    assert entries.read_entry(path, key, 64) is None
    path.mkdir()
    assert entries.read_entry(path, key, 64) is None


@pytest.mark.parametrize("place", [100, 2000, -50, -1])
def test_a_damaged_entry_is_written_again(full, outs, encoded, place):
    path, plain, entry = full
    whole = entry.read_bytes()
    entry.write_bytes(_flipped(whole, place % len(whole)))
    encoded.clear()
    assert built(path, next(outs)) == plain
    assert len(encoded) == 1 and entry.read_bytes() == whole


def _forged(held, name, change):
    return held.set_column(held.schema.get_field_index(name), name, change(held.column(name)))


def _tokens(**columns):
    def change(column):
        values = {name: column.values.field(name) for name in ("id", "start", "end", "added")}
        values |= {name: column_of(values[name]) for name, column_of in columns.items()}
        made = pa.StructArray.from_arrays(list(values.values()), list(values))
        return pa.ListArray.from_arrays(column.offsets, made)

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokens", _tokens(id=lambda ids: pa.array([9999] * len(ids), pa.int32()))),
        ("tokens", _tokens(id=lambda ids: pa.array([-1] * len(ids), pa.int32()))),
        ("tokens", _tokens(end=lambda ends: pa.array([9999] * len(ends), pa.int32()))),
        ("tokens", _tokens(start=lambda starts: pa.array([-1] * len(starts), pa.int32()))),
        ("tokens", _tokens(start=lambda starts: pa.array([None] * len(starts), pa.int32()))),
        ("tokens", _tokens(id=lambda ids: pa.array(["a"] * len(ids)))),
        ("tokens", lambda column: pa.array([None] * len(column), column.type)),
        ("tokens", lambda column: pa.array([1] * len(column))),
        ("text", lambda column: pa.array([None] * len(column), pa.string())),
        ("text", lambda column: pa.array([b"\xff"] * len(column), pa.binary())),
        ("split", lambda column: pa.array(["train"] * len(column))),
        ("row", lambda column: pa.array(["a"] * len(column))),
    ],
)
def test_an_entry_that_somebody_made_up_sends_nothing_out_of_range(full, outs, encoded, monkeypatch, name, change):
    """Its digest is right, its batches are none that were ever read."""
    path, plain, entry = full
    entry.unlink()
    packed = entries.packed
    monkeypatch.setattr(entries, "packed", lambda *given: _forged(packed(*given), name, change))
    assert built(path, next(outs)) == plain
    monkeypatch.undo()
    assert entry.exists() and entries.read_entry(entry, entry.name.split("-")[0], 64) is None
    assert built(path, next(outs)) == plain


def test_two_that_write_one_entry_at_once(full, outs):
    path, plain, entry = full
    whole = entry.read_bytes()
    entry.unlink()
    found = {}
    threads = [
        threading.Thread(target=lambda out=out: found.__setitem__(out, built(path, out)))
        for out in (next(outs) for _ in range(4))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [plain] * 4
    assert held(path.parent) == [".gitignore", entry.name, "CACHEDIR.TAG"] and entry.read_bytes() == whole


def test_nothing_is_kept_of_what_cannot_be_read(tmp_path, outs, monkeypatch):
    """The second batch is broken: what was written of the first has no name."""
    monkeypatch.setattr(execute, "read_batches", functools.partial(execute.read_batches, limits=Limits(2, 64)))
    path = project(tmp_path, PLAIN)
    (tmp_path / "data.jsonl").write_text('{"id": "a", "text": "the cat"}\n' * 5 + "{\n")
    with pytest.raises(Failure):
        built(path, next(outs))
    assert held(tmp_path) == [".gitignore", "CACHEDIR.TAG"]


# --- where it may not be written -------------------------------------------------------------------------------------


def _refuse(monkeypatch, number):
    """Has the n-th write below a cache fail; gives the writes so far."""
    create, writes = disk.create, []

    class Full:
        def __init__(self, file, name):
            self.file, self.name = file, name

        def write(self, content):
            writes.append(self.name)
            if len(writes) == number:
                raise OSError(28, "No space left on device")
            return self.file.write(content)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *found):
            self.file.close()

    monkeypatch.setattr(
        disk, "create", lambda path: Full(create(path), path.name) if path.parent.name == ".mcd-cache" else create(path)
    )
    return writes


def test_a_full_disk_never_fails_a_compilation(tmp_path, outs, monkeypatch):
    path = project(tmp_path, BASE, records())
    plain = built(path, next(outs), cache=None)
    for number in count(1):
        shutil.rmtree(tmp_path / ".mcd-cache", ignore_errors=True)
        with monkeypatch.context() as patch:
            writes = _refuse(patch, number)
            assert built(path, next(outs)) == plain
        if len(writes) < number:
            break
        assert not any(name.endswith(".part") for name in held(tmp_path)), writes[-1]
    assert number > 5 and len(kept(tmp_path)) == 1


def test_a_folder_that_cannot_be_made(tmp_path, outs):
    path = project(tmp_path, PLAIN, [{"id": "a", "text": "the cat"}])
    plain = built(path, next(outs), cache=None)
    (tmp_path / ".mcd-cache").write_text("a file")
    assert built(path, next(outs)) == plain
    (tmp_path / ".mcd-cache").unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".mcd-cache").symlink_to(elsewhere)
    assert built(path, next(outs)) == plain and list(elsewhere.iterdir()) == []


def test_the_folder_says_what_it_is(full):
    path, _, entry = full
    folder = path.parent / ".mcd-cache"
    assert held(path.parent) == [".gitignore", entry.name, "CACHEDIR.TAG"]
    assert (folder / ".gitignore").read_text() == "*\n"
    assert (folder / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


# --- how large it may become -----------------------------------------------------------------------------------------


def limited(folder, limit):
    return CacheFolder.of_project(folder, limit)


def test_a_build_that_would_not_fit_is_not_kept_at_all(tmp_path, outs):
    path = project(tmp_path, PLAIN, [{"id": str(number), "text": "the cat"} for number in range(100)])
    size = (tmp_path / "data.jsonl").stat().st_size
    built(path, next(outs), cache=limited(tmp_path, 3 * size - 1))
    assert not (tmp_path / ".mcd-cache").exists()
    built(path, next(outs), cache=limited(tmp_path, 3 * size))
    assert len(kept(tmp_path)) == 1


def test_what_was_used_longest_ago_goes_first(full, outs):
    """Three entries that nobody used for long, of which the oldest two make room; what is no entry stays."""
    path, _, entry = full
    folder, size = entry.parent, 100_000
    (folder / "notes.txt").write_text("mine")
    for age, name in enumerate(("a.tokens", ".b.part", "c.tokens")):
        (folder / name).write_bytes(bytes(size))
        os.utime(folder / name, (1000 + age, 1000 + age))
    edited(path, '"{.head}: {.text}"', '"{.text}"')
    built(path, next(outs), cache=limited(path.parent, 2 * size))
    assert held(path.parent) == sorted(
        {*(each.name for each in kept(path.parent)), ".gitignore", "CACHEDIR.TAG", "notes.txt"}
    )
    assert {"c.tokens", entry.name} < set(held(path.parent)) and len(kept(path.parent)) == 3


def test_an_entry_that_is_used_is_the_last_to_go(full, outs):
    path, _, entry = full
    os.utime(entry, (1000, 1000))
    built(path, next(outs))
    assert entry.stat().st_mtime > 1e9


def test_a_build_does_not_push_out_its_own(tmp_path, outs):
    """Its entries turn out larger than it was told: what fits is kept, and stays."""
    path = project(tmp_path, PLAIN.replace("data.jsonl", "*.jsonl"))
    for number in range(8):
        line = json.dumps({"id": str(number), "text": f"the cat {number}"}) + "\n"
        (tmp_path / f"{number}.jsonl").write_text(line)
    plain = built(path, next(outs), cache=None)
    assert built(path, next(outs), cache=limited(tmp_path, 9000)) == plain
    sizes = [path.stat().st_size for path in kept(tmp_path)]
    assert 0 < len(sizes) < 8 and sum(sizes) <= 9000
