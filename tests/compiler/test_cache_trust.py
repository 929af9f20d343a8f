"""Entries of the cache that cannot be trusted, folders that cannot be written, and how large the folder may become."""

import functools
import json
import os
import shutil
import threading
from itertools import count

import numpy as np
import pyarrow as pa
import pytest

from mcd.compiler import execute
from mcd.compiler.cache import entry as entries
from mcd.compiler.cache.cache import CacheFolder
from mcd.compiler.files import disk
from mcd.compiler.sources.base import Limits
from mcd.dsl.diagnostics import Failure

from ..projects import project
from .cached import BASE, PLAIN, built, edited, held, kept, records

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
