"""Hostile sources of every format end in a diagnostic with file and line, or in a right result, without a crash, a hang, or more
memory than the case says.

Each case runs in a process of its own (`probe`). A case is a file, what is wrong with it, and what is said of it.
"""
# ruff: noqa: E501, since the table is read by rows

import gzip
import json
import os
import random
import socket
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcd.dsl.checked import Chat, ChatTemplate

from .helpers import byte_encoder
from .probe import in_child, read, source_of

MIB = 1 << 20
GOOD = b'{"text": "good"}\n'
TABLE = pa.table({"text": ["one", "two", "three"], "n": [1, 2, 3]})


@dataclass(frozen=True)
class Case:
    """A hostile file. `content`: its bytes, or what makes it. Either `code`, `line` and a part of the message are expected, or
    `texts`. `memory` in MiB is what reading may add to the process."""

    file: str
    content: bytes | Callable[[Path], None]
    code: str = ""
    line: int | None = None
    says: str = ""
    texts: tuple[str, ...] = ()
    memory: float = 600


def repeated(*pieces: tuple[bytes, int]) -> Callable[[Path], None]:
    """A file of pieces, each so many times, which is never held as a whole."""

    def write(file: Path) -> None:
        with file.open("wb") as stream:
            for piece, count in pieces:
                block = piece * max(1, MIB // len(piece))
                stream.writelines(block for _ in range(count // max(1, MIB // len(piece))))
                stream.write(piece * (count % max(1, MIB // len(piece))))

    return write


def sparse(begin: bytes, size: int) -> Callable[[Path], None]:
    """A file of zeros after some bytes, which takes no room."""

    def write(file: Path) -> None:
        file.write_bytes(begin)
        os.truncate(file, size)

    return write


def conllu(*forms: str, columns: int = 10) -> bytes:
    rows = ("\t".join([str(i + 1), form, *["_"] * (columns - 2)]) for i, form in enumerate(forms))
    return "".join(row + "\n" for row in rows).encode() + b"\n"


def zipped(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("s.jsonl", GOOD)


def bound(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(file.parent)
        server.bind(file.name)
        os.chdir(here)


DEEP = 100_000

LINES = {
    "a line of 1 GB": Case("s.jsonl", repeated((GOOD, 2), (b"x", 1000 * MIB)), "MCD515", 3, "a line of more than 16 MiB", memory=100),
    "a line of 1 GB in quotes": Case("s.jsonl", repeated((b'{"text": "', 1), (b"x", 1000 * MIB), (b'"}\n', 1)), "MCD515", 1, memory=100),
    "a sparse file of 1 TB": Case("s.jsonl", sparse(GOOD, 1 << 40), "MCD515", 2, memory=100),
    "a line just beyond the limit": Case("s.jsonl", GOOD * 2 + b'{"text": "' + b"x" * 16 * MIB + b'"}\n' + GOOD, "MCD515", 3),
    "a line within the limit": Case("s.jsonl", GOOD + b'{"n": "' + b"x" * 15 * MIB + b'"}\n' + GOOD, texts=("good", "good")),
    "a paragraph without end": Case("s.conllu", repeated((conllu("a"), 1), (b"1\ta\n", 4 * MIB)), "MCD515", 3, "a paragraph of more than 1 MiB", memory=100),
    "a line of 1 GB of conllu": Case("s.conllu", repeated((conllu("a"), 1), (b"x", 1000 * MIB)), "MCD515", 3, memory=100),
    "a cell of 1 GB": Case("s.csv", repeated((b"text\na\n", 1), (b"x", 1000 * MIB)), "MCD515", 3, "a record of more than 16 MiB", memory=100),
    "a quoted cell of 1 GB": Case("s.csv", repeated((b'text\na\n"', 1), (b"x\n", 500 * MIB), (b'"\n', 1)), "MCD515", 3, memory=100),
    "a cell within the limit": Case("s.csv", b"text,n\na," + b"x" * 15 * MIB + b"\nb,y\n", texts=("a", "b")),
    "only blank lines": Case("s.jsonl", repeated((b"\n", 8 * MIB)), "MCD502", memory=200),
    "blank lines around a record": Case("s.jsonl", b"\n" * MIB + GOOD + b"\n" * MIB, texts=("good",), memory=500),
    "an empty file": Case("s.jsonl", b"", "MCD502"),
    "an empty file of csv": Case("s.csv", b"", "MCD502"),
    "an empty file of conllu": Case("s.conllu", b"", "MCD502"),
    "no final line break": Case("s.jsonl", GOOD + b'{"text": "last"}', texts=("good", "last")),
    "no final line break of conllu": Case("s.conllu", conllu("good") + b"1\tlast" + b"\t_" * 8, texts=("good", "last")),
    "no final line break of csv": Case("s.csv", b"text\ngood\nlast", texts=("good", "last")),
}  # fmt: skip

ENCODING = {
    "mixed line breaks": Case("s.jsonl", b'{"text": "a"}\r\n{"text": "b"}\n\r\n{"text": "c"}\n', texts=("a", "b", "c")),
    "carriage returns alone": Case("s.jsonl", b'{"text": "a"}\r{"text": "b"}\r', "MCD504", 1, "broken JSON at column 15: Extra data"),
    "carriage returns alone in csv": Case("s.csv", b"text\ra\rb\r", texts=("a", "b")),
    "mixed line breaks in csv": Case("s.csv", b"text\r\na\nb\r\n", texts=("a", "b")),
    "carriage returns alone in conllu": Case("s.conllu", conllu("a", "b").replace(b"\n", b"\r"), "MCD513", 1),
    "mixed line breaks in conllu": Case("s.conllu", conllu("a").replace(b"\n", b"\r\n") + conllu("b"), texts=("a", "b")),
    "line separators of Unicode": Case("s.jsonl", '{"text": "a\u2028b\u0085c"}\n'.encode(), texts=("a\u2028b\x85c",)),
    "line separators of Unicode in csv": Case("s.csv", "text\na\u2028b\u0085c\n".encode(), texts=("a\u2028b\x85c",)),
    "line separators of Unicode in conllu": Case("s.conllu", conllu("a\u2028b"), texts=("a\u2028b",)),
    "a byte order mark": Case("s.jsonl", b"\xef\xbb\xbf" + GOOD, texts=("good",)),
    "a byte order mark alone": Case("s.jsonl", b"\xef\xbb\xbf", "MCD502"),
    "a byte order mark in the middle": Case("s.jsonl", GOOD + b"\xef\xbb\xbf" + GOOD, "MCD504", 2),
    "two byte order marks": Case("s.jsonl", b"\xef\xbb\xbf" * 2 + GOOD, "MCD504", 1),
    "UTF-16": Case("s.jsonl", GOOD.decode().encode("utf-16"), "MCD516", None, "in UTF-16"),
    "UTF-16 without a mark": Case("s.jsonl", GOOD.decode().encode("utf-16-le"), "MCD504", 1),
    "UTF-32": Case("s.csv", "text\na\n".encode("utf-32"), "MCD516", None, "in UTF-16 or UTF-32"),
    "half a character at the end of the file": Case("s.jsonl", GOOD + b'{"text": "\xf0\x9f\x98', "MCD506", 2, "invalid UTF-8 at byte 11"),
    "half a character at the end of a line": Case("s.jsonl", GOOD + b'{"text": "\xe2\x82"}\n' + GOOD, "MCD506", 2),
    "Latin-1 after 5 MB": Case("s.jsonl", GOOD * 300_000 + b'{"text": "\xe9"}\n', "MCD506", 300_001, "(0xe9)"),
    "a raw surrogate": Case("s.jsonl", b'{"text": "\xed\xa0\x80"}\n', "MCD506", 1),
    "a raw surrogate in csv": Case("s.csv", b"text\na\n\xed\xa0\x80\n", "MCD503"),
    "a raw surrogate in conllu": Case("s.conllu", conllu("a") + b"1\t\xed\xa0\x80" + b"\t_" * 8 + b"\n", "MCD506", 3),
    "an escaped surrogate": Case("s.jsonl", GOOD + rb'{"text": "\ud800"}', "MCD506", 2),
    "an escaped surrogate in a list": Case("s.jsonl", rb'{"text": "a", "n": [{"k": ["\udfff"]}]}', "MCD506", 1),
    "a pair of surrogates": Case("s.jsonl", rb'{"text": "\ud83d\ude00"}', texts=("😀",)),
    "a NUL": Case("s.jsonl", GOOD + rb'{"text": "\u0000"}', "MCD506", 2, "NUL"),
    "a raw NUL": Case("s.jsonl", GOOD + b'{"text": "\0"}', "MCD504", 2),
    "a file of NULs": Case("s.jsonl", bytes(1000), "MCD504", 1),
    "a NUL in csv": Case("s.csv", b"text\na\nb\0\n", "MCD506", None, "NUL"),
    "a NUL in conllu": Case("s.conllu", conllu("a") + conllu("b\0"), "MCD506", 3, "NUL"),
    "a NUL in a field": Case("s.jsonl", rb'{"text": "a", "n": "\u0000"}', texts=("a",)),
}  # fmt: skip

SHAPES = {
    "an array deep in arrays": Case("s.jsonl", b'{"text": "a", "n": ' + b"[" * DEEP + b"]" * DEEP + b"}\n", "MCD504", 1, "recursion"),
    "an object deep in objects": Case("s.jsonl", GOOD + b'{"n":' * DEEP + b"1" + b"}" * DEEP, "MCD504", 2, "recursion"),
    "arrays as deep as JSON goes": Case("s.jsonl", b'{"text": "a", "n": ' + b"[" * 900 + b"]" * 900 + b"}\n", "MCD517", 1, "deeper than 64"),
    "a number of many digits": Case("s.jsonl", GOOD + b'{"text": ' + b"9" * MIB + b"}", "MCD504", 2),
    "a number beyond all": Case("s.jsonl", b'{"text": "a", "n": 1e999}\n', texts=("a",)),
    "a million keys": Case("s.jsonl", json.dumps({"text": "a", **{f"k{i}": 1 for i in range(10**6)}}).encode(), texts=("a",)),
    "a million keys in a field": Case("s.jsonl", GOOD + json.dumps({"n": {f"k{i}": 1 for i in range(10**6)}}).encode(), "MCD517", 2, "`.n`: objects have more than 4096 different names"),
    "keys that differ in every record": Case("s.jsonl", b"".join(json.dumps({"text": "a", "n": {f"k{i}.{j}": 1 for j in range(200)}}).encode() + b"\n" for i in range(1000)), "MCD517", 21),
    "a million empty lists": Case("s.jsonl", b'{"text": "a", "n": [' + b"[]," * 10**6 + b"[]]}", texts=("a",)),
    "the limit in empty objects": Case("s.jsonl", b'{"text": "a", "n": [' + b"{}," * 5 * 10**6 + b"{}]}", texts=("a",), memory=900),
    "a key twice": Case("s.jsonl", b'{"text": "a", "text": "b"}', texts=("b",)),
    "a million columns": Case("s.csv", b",".join(b"c%d" % i for i in range(10**6)) + b"\n1\n", "MCD517", None, "columns, where 16384 are the limit", memory=100),
    "a ragged row": Case("s.csv", b"text,n\na,1\nb\n", "MCD503", None, "Row #3"),
    "a ragged row of a million cells": Case("s.csv", b"text\na\n" + b"," * 10**6 + b"\n", "MCD503"),
    "a quote that never closes": Case("s.csv", b'text\na\n"b\nc\n' + b"d\n" * 1000, "MCD503", 3, "never ends"),
    "a quote in a cell": Case("s.csv", b'text\na "b" c\n"d ""e"" f"\n', texts=('a "b" c', 'd "e" f')),
    "no column of the name": Case("s.csv", b"\n\n\n", "MCD502"),
    "a sentence of the limit": Case("s.conllu", conllu(*["w"] * 40_000), texts=("w " * 50,)),
    "too few columns": Case("s.conllu", conllu("a") + conllu("b", columns=9), "MCD513", 3),
    "huge ids": Case("s.conllu", b"99999999999999999999\ta" + b"\t_" * 8 + b"\n", "MCD513", 1),
    "a token over all": Case("s.conllu", b"1-999999999\ta" + b"\t_" * 8 + b"\n1\ta" + b"\t_" * 8 + b"\n", "MCD513", 1),
}  # fmt: skip


def folder(file: Path) -> None:
    file.mkdir()


def looping(file: Path) -> None:
    file.symlink_to(file)


def dangling(file: Path) -> None:
    file.symlink_to("nowhere")


KINDS = {
    "a pipe": (os.mkfifo, "it is a pipe, where a file is expected"),
    "a folder": (folder, "it is a folder, where a file is expected"),
    "a socket": (bound, "it is a socket, where a file is expected"),
    "a device without end": (lambda file: file.symlink_to("/dev/zero"), "it is a device, where a file is expected"),
    "a link to nothing": (dangling, "No such file or directory"),
    "a link to itself": (looping, "Too many levels of symbolic links"),
}
FOREIGN = {
    "gzip": (lambda file: file.write_bytes(gzip.compress(GOOD)), "compressed by gzip"),
    "zip": (zipped, "a zip archive"),
    "zstd": (lambda file: file.write_bytes(pa.compress(GOOD, "zstd", asbytes=True)), "compressed by zstd"),
    "bzip2": (lambda file: file.write_bytes(b"BZh91AY&SY"), "compressed by bzip2"),
    "parquet": (lambda file: pq.write_table(TABLE, file), "a Parquet file"),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_encoder(folder)
    return folder / "tokenizer.json"


SLOW = {
    "a line of 1 GB in quotes",
    "a line of 1 GB of conllu",
    "a cell of 1 GB",
    "a quoted cell of 1 GB",
    "the limit in empty objects",
    "a million empty lists",
    "a million keys",
    "keys that differ in every record",
}


def named(table: dict[str, Case]) -> list:
    """The names of a table's cases, those marked that take long."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in table]


def check(case: Case, folder: Path, tokenizer: Path) -> None:
    file = folder / case.file
    if isinstance(case.content, bytes):
        file.write_bytes(case.content)
    else:
        case.content(file)
    found = in_child(read, source_of(file), folder, tokenizer)
    if case.code:
        assert [(code, line) for code, line, _ in found.findings][:1] == [(case.code, case.line)], found.findings
        assert case.says in found.findings[0][2]
        assert len(found.findings[0][2]) < 300
    else:
        assert not found.findings
        assert tuple(found.texts) == case.texts
    assert found.memory < case.memory


@pytest.mark.slow
@pytest.mark.parametrize("name", named(LINES))
def test_lengths(tmp_path, tokenizer, name):
    check(LINES[name], tmp_path, tokenizer)


@pytest.mark.parametrize("name", named(ENCODING))
def test_encodings(tmp_path, tokenizer, name):
    check(ENCODING[name], tmp_path, tokenizer)


@pytest.mark.parametrize("name", named(SHAPES))
def test_shapes(tmp_path, tokenizer, name):
    check(SHAPES[name], tmp_path, tokenizer)


@pytest.mark.parametrize("format", ["jsonl", "csv", "conllu", "parquet", "arrow"])
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_files(tmp_path, tokenizer, kind, format):
    make, says = KINDS[kind]
    check(Case(f"s.{format}", make, "MCD501", None, f"cannot be read: {says}"), tmp_path, tokenizer)


@pytest.mark.parametrize("format", ["jsonl", "csv", "conllu"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_files_of_another_format(tmp_path, tokenizer, kind, format):
    make, says = FOREIGN[kind]
    check(
        Case(f"s.{format}", make, "MCD516", None, f"`s.{format}`: {says}, where {format} is expected"),
        tmp_path,
        tokenizer,
    )


def test_a_file_without_permission(tmp_path, tokenizer):
    file = tmp_path / "s.jsonl"
    file.write_bytes(GOOD)
    file.chmod(0)
    found = in_child(_as_nobody, source_of(file), tmp_path, tokenizer)
    assert [(code, says) for code, _, says in found.findings] == [
        ("MCD501", "`s.jsonl`: cannot be read: Permission denied")
    ]


def _as_nobody(source, root, tokenizer):
    if os.getuid() == 0:
        for each in (root, *root.parents, tokenizer.parent, *tokenizer.parents):
            if each.stat().st_uid == 0 and each not in (Path("/"), Path("/tmp")):
                each.chmod(each.stat().st_mode | 0o055)
        os.seteuid(65534)
    return read(source, root, tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["jsonl", "parquet", "inline"])
@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([{"role": "user", "content": "\0"}], "MCD506"),
        ([{"role": "user", "content": "x" * 1000}] * 2000, ""),
        ({"role": "user"}, "MCD561"),
        ([{"role": "user", "content": [{"type": "text", "text": [[]]}]}], ""),
        ([{"content": "a"}], "MCD562"),
        ("text", "MCD561"),
        ([[]] * 1000, "MCD562"),
    ],
)
def test_messages(tmp_path, tokenizer, format, messages, code):
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    text = Chat(("text",), ChatTemplate((("default", template),)))
    line, file = json.dumps({"text": messages}), tmp_path / f"s.{format}"
    if format == "jsonl":
        file.write_text(line)
    elif format == "parquet":
        pq.write_table(pa.Table.from_pylist([{"text": messages}]), file)
    found = in_child(read, source_of(file, (line,) if format == "inline" else (), text), tmp_path, tokenizer)
    assert {each[0] for each in found.findings} == ({code} if code else set())
    assert found.memory < 300


def test_half_surrogates_in_messages(tmp_path, tokenizer):
    text = Chat(("text",), ChatTemplate((("default", "{{ messages[0]['content'] }}"),)))
    line = r'{"text": [{"role": "user", "content": "\ud800"}]}'
    found = in_child(read, source_of(tmp_path / "s", (line,), text), tmp_path, tokenizer)
    assert [each[0] for each in found.findings] == ["MCD506"]


@pytest.mark.slow
def test_random_bytes_between_good_lines(tmp_path, tokenizer):
    """Every break that random bytes have counts as one, and the first bad line is named."""
    rng = random.Random(11)
    for number in range(20):
        noise = rng.randbytes(rng.randrange(1, 50)).replace(b"\n", b"")
        if not noise.strip():
            continue
        check(
            Case(f"s{number}.jsonl", GOOD * number + noise + b"\n" + GOOD, _code_of(noise), number + 1),
            tmp_path,
            tokenizer,
        )


def _code_of(noise: bytes) -> str:
    try:
        noise.decode()
    except UnicodeDecodeError:
        return "MCD506"
    return "MCD504"
