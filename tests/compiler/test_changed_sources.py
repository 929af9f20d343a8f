"""A file that changes between survey and reading, or while it is read, is a finding, however it changed."""

import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcd.compiler.sources.base import Limits, Tally
from mcd.compiler.sources.inventory import inventory
from mcd.compiler.sources.reader import read_batches
from mcd.dsl.checked import ConstantSplit, Source, Template
from mcd.dsl.diagnostics import Failure, Findings
from mcd.dsl.source import DataPlace, Place, SourceText

from .helpers import byte_encoder

PLACE = Place(SourceText("spec.mcd", "source s"), 0, 8)
FORMATS = ["jsonl", "csv", "parquet", "arrow", "conllu"]
COUNT = 50


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return byte_encoder(tmp_path_factory.mktemp("tokenizer"))


def write(file, texts):
    table = pa.table({"text": texts})
    match file.suffix:
        case ".jsonl":
            file.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
        case ".csv":
            file.write_text("".join(f"{text}\n" for text in ["text", *texts]))
        case ".conllu":
            file.write_text("".join(f"1\t{text}\t_\t_\t_\t_\t_\t_\t_\t_\n\n" for text in texts))
        case ".parquet":
            pq.write_table(table, file, compression="none", row_group_size=10)
        case ".arrow":
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table, max_chunksize=10)


def texts(changed=None):
    return [f"{'other' if number == changed else 'plain'}{number:03}" for number in range(COUNT)]


@pytest.fixture(params=FORMATS)
def file(request, tmp_path):
    path = tmp_path / f"s.{request.param}"
    write(path, texts())
    return path


def batches(file, encoder, change, after):
    """The texts that are read, where `change` happens to the file after so many batches."""
    source = Source("s", file.suffix[1:], (file,), (), None, ConstantSplit("train"), Template((("text",),)), PLACE)
    (task,) = inventory(source, file.parent, Findings()).tasks
    if after == 0:
        change()
    found = []
    reading = read_batches(source, file.parent, task, (), encoder, Tally(), Limits(records=10, bytes=100))
    for number, (batch, _) in enumerate(reading, 1):
        found += [batch.text(record) for record in range(batch.records)]
        if number == after:
            change()
    return found


def changed(file, encoder, change, after):
    with pytest.raises(Failure) as caught:
        batches(file, encoder, change, after)
    (found,) = caught.value.diagnostics
    return found


def in_place(file, changed):
    """Another record of the same length, with the same size and the same time."""
    state = file.stat()
    other = file.with_name(f"other{file.suffix}")
    write(other, texts(changed))
    assert other.stat().st_size == state.st_size
    with file.open("r+b") as stream:
        stream.write(other.read_bytes())
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    return file.stat() == state


def test_a_file_that_is_left_alone(file, encoder):
    assert batches(file, encoder, lambda: None, 0) == texts()


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("place", [0, COUNT // 2, COUNT - 1])
def test_an_edit_in_place_that_keeps_size_and_time(file, encoder, after, place):
    """It is found, or it came after its bytes were read."""
    try:
        found = batches(file, encoder, lambda: in_place(file, place), after)
    except Failure as failure:
        (finding,) = failure.diagnostics
        assert (finding.code.id, finding.place) == ("MCD501", DataPlace(file.name))
        assert finding.message.startswith(
            f"`{file.name}`: changed while it was compiled: other bytes than before in [0, "
        )
    else:
        assert after > 0
        assert found == texts()


@pytest.mark.parametrize("after", [0, 1])
def test_a_file_that_is_replaced(file, encoder, after):
    def change():
        other = file.with_name(f"other{file.suffix}")
        write(other, texts(changed=COUNT - 1))
        other.replace(file)

    try:
        found = batches(file, encoder, change, after)
    except Failure as failure:
        assert failure.diagnostics[0].code.id == "MCD501"
    else:
        assert after > 0
        assert found == texts()


@pytest.mark.parametrize("after", [0, 1])
def test_a_file_that_grows(file, encoder, after):
    def change():
        with file.open("ab") as stream:
            stream.write(b"more")

    size = file.stat().st_size
    found = changed(file, encoder, change, after)
    assert found.code.id == "MCD501"
    assert found.message == f"`{file.name}`: changed while it was compiled: {size + 4} bytes, {size} before"


@pytest.mark.parametrize("kept", [0, 1, 100])
@pytest.mark.parametrize("after", [0, 1])
def test_a_file_that_shrinks(file, encoder, kept, after):
    """No reader waits for bytes that never come, and none touches a page of a map that is gone."""
    found = changed(file, encoder, lambda: os.truncate(file, kept), after)
    assert found.code.id in ("MCD501", "MCD503", "MCD504", "MCD513")


def test_a_file_that_goes(file, encoder):
    assert changed(file, encoder, file.unlink, 0).code.id == "MCD501"
    shutil.rmtree(file.parent)


def test_a_range_stays_what_it_is_where_others_change(tmp_path, encoder, monkeypatch):
    """Of several ranges the one that was edited alone is refused, in formats that digest a range on its own."""
    monkeypatch.setattr("mcd.compiler.sources.lines.TASK_BYTES", 200)
    file = tmp_path / "s.jsonl"
    write(file, texts())
    source = Source("s", "jsonl", (file,), (), None, ConstantSplit("train"), Template((("text",),)), PLACE)
    tasks = inventory(source, tmp_path, Findings()).tasks
    assert len(tasks) > 3
    in_place(file, 0)
    with pytest.raises(Failure):
        list(read_batches(source, tmp_path, tasks[0], (), encoder, Tally()))
    for task in tasks[1:]:
        assert list(read_batches(source, tmp_path, task, (), encoder, Tally()))
