"""Every format gives the same records, and says where a record is broken."""

import csv
import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcd.compiler.sources import cuts
from mcd.compiler.sources import lines as line_formats
from mcd.compiler.sources.base import Limits, Tally, Want
from mcd.compiler.sources.inventory import inventory, origin_of
from mcd.compiler.sources.registry import FORMATS
from mcd.dsl.checked import ConstantSplit, Source, Template
from mcd.dsl.diagnostics import Failure, Findings
from mcd.dsl.source import DataPlace, Place, SourceText

SPEC = SourceText("spec.mcd", 'mcd 1\nsource s = jsonl("s.jsonl")\n')
PLACE = Place(SPEC, 6, 30)
TEXT, NUMBER, NESTED, LIST, LACKING = ("text",), ("n",), ("a", "b"), ("spans",), ("lacking", "x")
RECORDS = [
    {"text": "one", "n": 1, "a": {"b": "x"}, "spans": [{"start": 0, "end": 3, "kind": "k"}]},
    {"text": "né 😀", "n": None, "a": None, "spans": []},
    {"text": None, "n": 3, "a": {"b": None}, "spans": None},
    {"text": "", "n": 4, "a": {"b": "y"}, "spans": [{"start": 1, "end": 2, "kind": None}]},
]


def source_of(format, *files, records=()):
    return Source("s", format, tuple(files), tuple(records), None, ConstantSplit("train"), Template((TEXT,)), PLACE)


def write(folder, format, records=RECORDS):
    file = folder / f"s.{format}"
    if format == "jsonl":
        file.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    elif format == "parquet":
        pq.write_table(pa.Table.from_pylist(records), file, row_group_size=2)
    elif format == "arrow":
        table = pa.Table.from_pylist(records)
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    elif format == "csv":
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "n"])
            for record in records:
                writer.writerow([record["text"], record["n"]])
    return source_of(format, file)


def read(source, root, texts=(TEXT,), fields=(), limits=None, tally=None):
    findings = Findings()
    found = inventory(source, root, findings)
    assert not findings.items
    tally = tally or Tally()
    rows, columns = [], {path: [] for path in (*texts, *fields)}
    for task in found.tasks:
        origin = origin_of(source, root, task.file)
        for part in FORMATS[source.format].read(task, origin, Want(texts, fields), limits or Limits(), tally):
            rows += part.rows.tolist()
            for path in texts:
                assert part.texts[path].type == pa.string()
                columns[path] += part.texts[path].to_pylist()
            for path in fields:
                columns[path] += part.fields[path].to_pylist() if path in part.fields else [None] * len(part.rows)
    return rows, columns


def broken(source, root, texts=(TEXT,), fields=()):
    """The findings of surveying or reading a source that is broken."""
    findings = Findings()
    inventory(source, root, findings)
    if findings.items:
        return findings.items
    with pytest.raises(Failure) as caught:
        read(source, root, texts, fields)
    return list(caught.value.diagnostics)


def one(diagnostics, code, line=None):
    (diagnostic,) = diagnostics
    assert diagnostic.code.id == code
    if diagnostic.place is not PLACE:
        assert isinstance(diagnostic.place, DataPlace)
        assert diagnostic.place.line == line
    return diagnostic.message


def values(path, records=RECORDS):
    found = records
    for name in path:
        found = [None if record is None else record.get(name) for record in found]
    return found


# --- every format ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [Limits(), Limits(1, 1), Limits(3, 100)])
@pytest.mark.parametrize("format", ["jsonl", "parquet", "arrow", "inline"])
def test_formats_give_the_same_columns(tmp_path, format, limits):
    lines = [json.dumps(record) for record in RECORDS]
    source = source_of("inline", records=lines) if format == "inline" else write(tmp_path, format)
    tally = Tally()
    rows, columns = read(source, tmp_path, (TEXT, NESTED), (NUMBER, LIST, LACKING), limits, tally)
    assert rows == [0, 1, 2, 3]
    for path in (TEXT, NESTED, NUMBER, LIST):
        assert columns[path] == values(path), path
    assert columns[LACKING] == [None] * 4
    assert tally.seen == {TEXT, NESTED, NUMBER, LIST}


@pytest.mark.parametrize("limits", [Limits(), Limits(1, 1)])
def test_csv_keeps_texts_as_written_and_reads_numbers(tmp_path, limits):
    file = tmp_path / "s.csv"
    file.write_bytes(
        b'\xef\xbb\xbftext,n,zip,f,t\n"a, ""b""\nc",1,007,1.5,true\n,2,1,2,false\n"",,2,,\nnull,4,3,1,true\n'
    )
    fields = (NUMBER, ("zip",), ("f",), ("t",))
    rows, columns = read(source_of("csv", file), tmp_path, (TEXT, ("f",)), fields, limits)
    assert rows == [0, 1, 2, 3]
    assert columns[TEXT] == ['a, "b"\nc', None, "", "null"]
    assert columns[NUMBER] == [1, 2, None, 4]
    assert columns[("zip",)] == ["007", "1", "2", "3"]
    assert columns[("t",)] == [True, False, None, True]


def test_csv_slots_of_number_columns_keep_their_spelling(tmp_path):
    file = tmp_path / "s.csv"
    file.write_text("text\n1.50\n2\n")
    assert read(source_of("csv", file), tmp_path)[1][TEXT] == ["1.50", "2"]


def test_arrow_streams_are_read_like_files(tmp_path):
    table, file = pa.Table.from_pylist(RECORDS), tmp_path / "s.arrow"
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    assert read(source_of("arrow", file), tmp_path, fields=(LIST,))[1][LIST] == values(LIST)


@pytest.mark.parametrize("format", ["jsonl", "parquet", "arrow"])
def test_numbers_and_booleans_become_texts(tmp_path, format):
    for found, expected in (
        ([3, -1, None], ["3", "-1", None]),
        ([True, False, None], ["true", "false", None]),
        ([1.5, 2.0, float("nan")], ["1.5", "2.0", None]),
    ):
        source = write(tmp_path, format, [{"text": value} for value in found])
        assert read(source, tmp_path)[1][TEXT] == expected


def test_arrow_types_become_plain(tmp_path):
    table = pa.table(
        {
            "text": pa.array(["a", "b", "a"]).dictionary_encode(),
            "n": pa.array(["x", None, "y"], pa.large_string()),
            "spans": pa.array([["u"], [], None], pa.large_list(pa.string_view())),
            "raw": pa.array([b"r", b"s", None]),
        }
    )
    pq.write_table(table, tmp_path / "s.parquet")
    source = source_of("parquet", tmp_path / "s.parquet")
    task = inventory(source, tmp_path, Findings()).tasks[0]
    want = Want((TEXT, ("raw",)), (TEXT, NUMBER, LIST))
    (rows,) = FORMATS["parquet"].read(task, origin_of(source, tmp_path, 0), want, Limits(), Tally())
    assert [rows.fields[path].type for path in want.fields] == [pa.string(), pa.string(), pa.list_(pa.string())]
    assert rows.texts[("raw",)].to_pylist() == ["r", "s", None]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_list_is_no_text(tmp_path, format):
    source = write(tmp_path, format, [{"text": ["a"]}])
    assert "`.text` is list" in one(broken(source, tmp_path), "MCD508")


@pytest.mark.parametrize("format", ["parquet", "arrow", "csv"])
@pytest.mark.parametrize("damage", ["truncated", "garbage"])
def test_corrupt_files_are_findings(tmp_path, format, damage):
    source = write(tmp_path, format)
    content = source.files[0].read_bytes()
    garbage = b'text,n\n"open,1\nb,2\n' if format == "csv" else b"\x00garbage" * 10
    shortened = b"text,n\na,1\nb\n" if format == "csv" else content[: len(content) // 2]
    source.files[0].write_bytes(shortened if damage == "truncated" else garbage)
    line = 2 if format == "csv" and damage == "garbage" else None
    message = one(broken(source, tmp_path), "MCD503", line)
    assert message.startswith(f"`s.{format}`{f' line {line}' if line else ''}: broken {format}: ")


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_every_flipped_byte_gives_records_or_a_finding(tmp_path, format):
    source = write(tmp_path, format)
    content = source.files[0].read_bytes()
    for position in range(0, len(content), 7):
        source.files[0].write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        findings = Findings()
        inventory(source, tmp_path, findings)
        if not findings.items:
            try:
                read(source, tmp_path, (TEXT,), (LIST,))
            except Failure as failure:
                assert failure.diagnostics


@pytest.mark.parametrize("format", ["parquet", "arrow", "csv"])
def test_invalid_utf8_in_columns_is_a_finding(tmp_path, format):
    file = tmp_path / f"s.{format}"
    bad = pa.array([b"ok", b"n\xffo"], pa.binary()).cast(pa.string(), safe=False)
    table = pa.table({"text": bad})
    if format == "csv":
        file.write_bytes(b"text\nok\nn\xffo\n")
        assert "invalid UTF8" in one(broken(source_of(format, file), tmp_path), "MCD503")
        return
    if format == "parquet":
        pq.write_table(table, file)
    else:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    assert one(broken(source_of(format, file), tmp_path), "MCD506") == f"`s.{format}` row 1: `text` is no valid UTF-8"


@pytest.mark.parametrize("format", ["parquet", "arrow", "csv"])
def test_a_repeated_column_is_a_finding(tmp_path, format):
    file = tmp_path / f"s.{format}"
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    if format == "csv":
        file.write_text("text,text\na,b\n")
    elif format == "parquet":
        pq.write_table(table, file)
    else:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    assert one(broken(source_of(format, file), tmp_path), "MCD512") == f"`s.{format}`: two columns are named `text`"


# --- json lines ------------------------------------------------------------------------------------------------------


def lines(folder, content):
    file = folder / "s.jsonl"
    file.write_bytes(content)
    return source_of("jsonl", file)


@pytest.mark.parametrize("limits", [Limits(), Limits(2, 1)])
def test_bom_blank_lines_and_crlf(tmp_path, limits):
    source = lines(tmp_path, b'\xef\xbb\xbf\r\n{"text": "a\xe2\x80\xa8b"}\r\n\n  \n  {"text": "c"} \n{"text": "d"}')
    rows, columns = read(source, tmp_path, limits=limits)
    assert rows == [1, 4, 5]
    assert columns[TEXT] == ["a\u2028b", "c", "d"]


@pytest.mark.parametrize(
    ("line", "code", "fact"),
    [
        (b'{"text": "a" "b"}', "MCD504", "broken JSON at column 14: Expecting ',' delimiter"),
        (b'{"text": "a"} {}', "MCD504", "broken JSON at column 15: Extra data"),
        (b'{"text": "a', "MCD504", "broken JSON at column 10: Unterminated string starting at"),
        (b'{"text": "a\x00"}', "MCD504", "broken JSON at column 12: Invalid control character at"),
        (b"[" * 100_000, "MCD504", "JSON that cannot be read: maximum recursion depth exceeded"),
        (b'{"text": ' + b"9" * 5000 + b"}", "MCD504", "JSON that cannot be read: Exceeds the limit"),
        (b'["a"]', "MCD505", "a list, where a JSON object is expected"),
        (b"null", "MCD505", "null, where a JSON object is expected"),
        (b'{"text": "\xe9"}', "MCD506", "invalid UTF-8 at byte 11 (0xe9)"),
        (rb'{"text": "\ud83d"}', "MCD506", "`.text` holds half of a surrogate pair"),
        (b'{"text": ["a"]}', "MCD508", "`.text` is a list, where a text is expected"),
        (b'{"text": {"a": 1}}', "MCD508", "`.text` is an object, where a text is expected"),
        (b'{"n": "x"}', "MCD507", "`.n` is a string that does not go with the type of the records before"),
        (b'{"n": 99999999999999999999}', "MCD507", "`.n` holds a whole number beyond 64 bits"),
        (rb'{"n": "\udc00"}', "MCD506", "`.n` holds half of a surrogate pair"),
        (rb'{"n": {"\udc00": 1}}', "MCD506", "`.n` holds half of a surrogate pair"),
    ],
)
@pytest.mark.parametrize("limits", [Limits(), Limits(1, 1)])
def test_a_broken_line_is_named(tmp_path, line, code, fact, limits):
    source = lines(tmp_path, b'{"text": "a", "n": 1}\n\n' + line + b'\n{"text": "b", "n": 2}\n')
    with pytest.raises(Failure) as caught:
        read(source, tmp_path, (TEXT,), (NUMBER,), limits)
    message = one(caught.value.diagnostics, code, 3)
    assert message.startswith(f"`s.jsonl` line 3: {fact}")


def test_half_a_surrogate_pair_in_a_field(tmp_path):
    source = lines(tmp_path, b'{"n": "a"}\n' + rb'{"n": "\udc00"}')
    assert "`.n` holds half" in one(broken(source, tmp_path, (), (NUMBER,)), "MCD506", 2)


def test_several_broken_lines_are_reported_together(tmp_path):
    found = broken(lines(tmp_path, b'{}\n{\n[]\n{"text": 1}\nx\n'), tmp_path)
    assert [(d.code.id, d.place.line) for d in found] == [("MCD504", 2), ("MCD505", 3), ("MCD504", 5)]
    assert len(broken(lines(tmp_path, b"x\n" * 100), tmp_path)) == 8


def test_types_widen_from_one_block_to_the_next(tmp_path):
    source = lines(tmp_path, b'{"n": null}\n{"n": 1}\n{"n": 2.5}\n{"n": 3}\n')
    assert read(source, tmp_path, (), (NUMBER,), Limits(1, 1))[1][NUMBER] == [None, 1, 2.5, 3.0]


def test_keys_of_nested_objects_may_differ(tmp_path):
    source = lines(tmp_path, b'{"spans": [{"start": 1}]}\n{"spans": [{"end": 2, "kind": "x"}]}\n')
    last = read(source, tmp_path, (), (LIST,), Limits(1, 1))[1][LIST][-1]
    assert last == [{"start": None, "end": 2, "kind": "x"}]


def test_inline_records_point_at_the_spec(tmp_path):
    source = source_of("inline", records=('{"text": "a"}', "{"))
    (diagnostic,) = broken(source, tmp_path)
    assert diagnostic.code.id == "MCD504"
    assert diagnostic.place == PLACE
    assert diagnostic.place.text == 'source s = jsonl("s.json'
    assert diagnostic.message.startswith("source `s` record 1: broken JSON at column 2")


# --- inventory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["jsonl", "parquet", "arrow", "csv"])
def test_the_digest_is_that_of_all_bytes(tmp_path, format):
    source = write(tmp_path, format)
    (entry,) = inventory(source, tmp_path, Findings()).inputs
    assert entry.path == f"s.{format}"
    assert entry.digest == hashlib.sha256(source.files[0].read_bytes()).hexdigest()[:32]


@pytest.mark.parametrize("size", [1, 7, 40, 100, 10_000])
@pytest.mark.parametrize("block", [1, 3, 64, 1 << 20])
@pytest.mark.parametrize("last", ["", "\n", "\n\n"])
def test_jsonl_tasks_begin_at_lines_and_hold_every_line_once(tmp_path, monkeypatch, size, block, last):
    monkeypatch.setattr(line_formats, "TASK_BYTES", size)
    monkeypatch.setattr("mcd.compiler.sources.inventory._BLOCK", block)
    content = "\n".join(json.dumps({"text": "x" * (i % 11), "n": i}) for i in range(20)) + last
    source = lines(tmp_path, content.encode())
    found = inventory(source, tmp_path, Findings())
    ranges = [task.range for task in found.tasks]
    assert [r.start for r in ranges] == [0, *(r.stop for r in ranges[:-1])]
    assert ranges[-1].stop == len(content)
    for part in ranges:
        assert part.row == content.encode().count(b"\n", 0, part.start)
        assert part.start == 0 or content[part.start - 1] == "\n"
        assert part is ranges[-1] or size // 2 <= part.stop - part.start < size * 3 // 2 + 40
    assert found.rows == len(content.splitlines())
    assert read(source, tmp_path, (), (NUMBER,))[1][NUMBER] == list(range(20))


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_row_groups_and_record_batches_are_grouped(tmp_path, monkeypatch, format):
    records = [{"text": "x" * 50, "n": i} for i in range(20)]
    source = write(tmp_path, format, records)
    assert len(inventory(source, tmp_path, Findings()).tasks) == 1
    monkeypatch.setattr(cuts, "TASK_BYTES", 300)
    tasks = inventory(source, tmp_path, Findings()).tasks
    assert 2 < len(tasks) <= 20
    assert [task.number for task in tasks] == list(range(len(tasks)))
    rows, columns = read(source, tmp_path, (), (NUMBER,))
    assert rows == list(range(20))
    assert columns[NUMBER] == list(range(20))


def test_rows_are_numbered_over_the_files_of_a_source(tmp_path):
    files = []
    for name in "ab":
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text('{"text": "x"}\n\n{"text": "y"}\n')
    found = inventory(source_of("jsonl", *files), tmp_path, Findings())
    assert [(task.number, task.file, task.base) for task in found.tasks] == [(0, 0, 0), (1, 1, 3)]
    assert [entry.path for entry in found.inputs] == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize("format", ["jsonl", "parquet", "arrow", "csv", "inline"])
def test_a_source_without_records_is_a_finding(tmp_path, format):
    source = source_of("inline") if format == "inline" else write(tmp_path, format, [])
    assert one(broken(source, tmp_path), "MCD502") == "source `s` holds no record"


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n \r\n\t\n"])
def test_a_file_of_white_space_holds_no_record(tmp_path, content):
    one(broken(lines(tmp_path, content), tmp_path), "MCD502")


@pytest.mark.parametrize("content", ["", "\n", "text\n"])
def test_an_empty_file_beside_a_full_one_is_fine(tmp_path, content):
    empty, full = tmp_path / "a.csv", tmp_path / "b.csv"
    empty.write_text(content)
    full.write_text("text\nx\n")
    assert read(source_of("csv", empty, full), tmp_path)[1][TEXT] == ["x"]


@pytest.mark.parametrize("format", ["jsonl", "parquet", "arrow", "csv"])
def test_a_missing_file_is_a_finding(tmp_path, format):
    source = source_of(format, tmp_path / "s.x", tmp_path / "t.x")
    found = broken(source, tmp_path)
    assert [d.code.id for d in found] == ["MCD501", "MCD501"]
    assert found[0].message == "`s.x`: cannot be read: No such file or directory"
    assert found[0].place == DataPlace("s.x")


def test_rows_are_int64(tmp_path):
    source = write(tmp_path, "jsonl")
    task = inventory(source, tmp_path, Findings()).tasks[0]
    (rows,) = FORMATS["jsonl"].read(task, origin_of(source, tmp_path, 0), Want((), ()), Limits(), Tally())
    assert rows.rows.dtype == np.int64
