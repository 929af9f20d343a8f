"""Files are cut where their content says: an edit changes the ranges around it alone, and a digest says which."""

import hashlib
import json
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcd.compiler.sources import cuts, lines
from mcd.compiler.sources.inventory import inventory
from mcd.dsl.checked import ConstantSplit, Source, Template
from mcd.dsl.diagnostics import Findings
from mcd.dsl.source import Place, SourceText

PLACE = Place(SourceText("spec.mcd", "source s"), 0, 8)
SIZE = 4096


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    monkeypatch.setattr(lines, "TASK_BYTES", SIZE)
    monkeypatch.setattr(cuts, "TASK_BYTES", SIZE)


def ranges_of(file, records=()):
    source = Source(
        "s", file.suffix[1:], (file,), tuple(records), None, ConstantSplit("train"), Template((("text",),)), PLACE
    )
    findings = Findings()
    found = inventory(source, file.parent, findings)
    assert not findings.items
    return [task.range for task in found.tasks]


def jsonl(rng):
    return json.dumps({"text": "x" * int(rng.expovariate(1 / 60)), "n": rng.getrandbits(30), "kind": "same"}) + "\n"


def conllu(rng):
    words = [f"{i + 1}\tw{rng.getrandbits(20)}" + "\t_" * 8 + "\n" for i in range(rng.randrange(1, 6))]
    return "".join(words) + rng.choice(["\n", "\n\n", " \n"])


UNITS = {"jsonl": jsonl, "conllu": conllu}


@pytest.mark.parametrize("format", UNITS)
@pytest.mark.parametrize("edit", ["insert", "delete", "replace", "append", "prepend"])
def test_an_edit_changes_the_ranges_around_it_alone(tmp_path, format, edit, monkeypatch):
    """The range of the edit, and seldom some after it: where it made or took a cut, or a cut stood at the latest place."""
    monkeypatch.setattr(lines, "TASK_BYTES", 8 * SIZE)
    rng = random.Random(f"{format} {edit}")
    file, changes = tmp_path / f"s.{format}", []
    for _ in range(12):
        units = [UNITS[format](rng) for _ in range(4500)]
        file.write_text("".join(units))
        before = ranges_of(file)
        place = {"append": len(units), "prepend": 0}.get(edit) or rng.randrange(len(units))
        stop = place + (rng.randrange(1, 5) if edit in ("delete", "replace") else 0)
        units[place:stop] = [UNITS[format](rng) for _ in range(0 if edit == "delete" else rng.randrange(1, 5))]
        file.write_text("".join(units))
        after = ranges_of(file)
        content = file.read_bytes()
        assert [part.start for part in after] == [0, *(part.stop for part in after[:-1])]
        assert after[-1].stop == len(content)
        assert [part.row for part in after] == [content.count(b"\n", 0, part.start) for part in after]
        assert len(after) > 10
        changes.append(len({part.digest for part in after} - {part.digest for part in before}))
    assert max(changes) <= 4
    assert np.mean(changes) < 1.4


@pytest.mark.parametrize("format", UNITS)
def test_the_digest_is_that_of_the_bytes(tmp_path, format):
    file = tmp_path / f"s.{format}"
    file.write_text("".join(UNITS[format](random.Random(7)) for _ in range(300)))
    content = file.read_bytes()
    for part in ranges_of(file):
        assert part.digest == hashlib.sha256(content[part.start : part.stop]).hexdigest()[:32]


@pytest.mark.parametrize("format", UNITS)
def test_neither_blocks_nor_a_byte_order_mark_matter(tmp_path, format, monkeypatch):
    rng = random.Random(format)
    file = tmp_path / f"s.{format}"
    units = [UNITS[format](rng) for _ in range(200)]
    units[50:50] = (
        ["1\t" + "y" * 1000 + "\t_" * 8 + "\n\n"] if format == "conllu" else ['{"text": "' + "y" * 1000 + '"}\n']
    )
    content = "".join(units).encode()
    file.write_bytes(content)
    expected = ranges_of(file)
    for block in (1, 7, 64, 100, 999, 10_000):
        monkeypatch.setattr("mcd.compiler.sources.inventory._BLOCK", block)
        assert ranges_of(file) == expected
    file.write_bytes(b"\xef\xbb\xbf" + content)
    assert ranges_of(file) == [replace(part, start=part.start + 3, stop=part.stop + 3) for part in expected]


@pytest.mark.parametrize("length", [2, 30, 300, 3000, 30_000])
def test_ranges_are_of_the_wanted_size_whatever_the_length_of_lines(tmp_path, length):
    rng = random.Random(length)
    file = tmp_path / "s.jsonl"
    content = (
        b"\n".join(rng.randbytes(length - 1).hex()[: length - 1].encode() for _ in range(400_000 // length)) + b"\n"
    )
    file.write_bytes(content)
    sizes = [part.stop - part.start for part in ranges_of(file)]
    assert all(SIZE // 2 <= size < SIZE * 3 // 2 + length for size in sizes[:-1])
    if length < SIZE // 4:
        assert SIZE * 0.6 < np.mean(sizes) < SIZE * 1.6
    elif length > SIZE:
        assert set(sizes[:-1]) == {length}


def test_most_cuts_are_chosen_by_content(tmp_path):
    """A cut at the latest place is one that moves with the lines before it: 1 in e^4 = 55."""
    file = tmp_path / "s.jsonl"
    rng = random.Random(3)
    file.write_text("".join(jsonl(rng) for _ in range(20_000)))
    sizes = np.array([part.stop - part.start for part in ranges_of(file)])
    assert (sizes >= SIZE * 3 // 2).mean() < 0.05


# --- row groups and record batches -----------------------------------------------------------------------------------


def table(rng, rows):
    return pa.table({"text": [f"{rng.getrandbits(60):020}" * 3 for _ in range(rows)], "n": list(range(rows))})


def write(file, tables, kind):
    if kind == "parquet":
        with pq.ParquetWriter(file, tables[0].schema) as writer:
            for each in tables:
                writer.write_table(each)
    else:
        new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
        with new(file, tables[0].schema) as writer:
            for each in tables:
                writer.write_table(each)


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_a_row_group_or_record_batch_changes_its_range_alone(tmp_path, kind):
    rng = random.Random(kind)
    tables = [table(rng, rng.randrange(5, 40)) for _ in range(60)]
    file = tmp_path / ("s.parquet" if kind == "parquet" else "s.arrow")
    write(file, tables, kind)
    before = ranges_of(file)
    assert len(before) > 15
    assert [a.stop for a, _ in pairwise(before)] == [b.start for _, b in pairwise(before)]
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / file.name
    changes = []
    for _ in range(20):
        place = rng.randrange(len(tables))
        edited = [*tables]
        edited[place : place + rng.randrange(2)] = [table(rng, rng.randrange(5, 40))]
        write(other, edited, kind)
        changes.append(len({part.digest for part in ranges_of(other)} - {part.digest for part in before}))
    assert np.mean(changes) < 3
    assert min(changes) == 1


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_schema_and_dictionaries_belong_to_the_digest(tmp_path, kind):
    file = tmp_path / ("s.parquet" if kind == "parquet" else "s.arrow")
    digests = set()
    for values in (["a", "b"], ["a", "c"]):
        for name in ("text", "t"):
            coded = pa.DictionaryArray.from_arrays(pa.array([0, 0, 1] * 10, pa.int32()), pa.array(values))
            write(file, [pa.table({name: coded})], kind)
            digests |= {part.digest for part in ranges_of(file)}
    assert len(digests) == 4


def test_where_row_groups_lie_and_what_is_said_of_the_file_do_not_matter(tmp_path):
    data = [table(random.Random(seed), 100) for seed in range(3)]
    digests = []
    for number, tables in enumerate((data, data[1:])):
        file = tmp_path / f"s{number}.parquet"
        write(file, [each.replace_schema_metadata({"pandas": str(number)}) for each in tables], "parquet")
        digests.append([part.digest for part in ranges_of(file)])
    assert len(digests[0]) == 3
    assert digests[1] == digests[0][1:]


def test_other_formats_digest_all_that_they_read(tmp_path):
    file = tmp_path / "s.csv"
    digests = set()
    for content in ("text\na\n", "text\nb\n", "t\na\n"):
        file.write_text(content)
        digests |= {part.digest for part in ranges_of(file)}
    assert len(digests) == 3
