"""Hostile Parquet and Arrow files: forged footers, sizes, offsets and types end in a diagnostic, in a process of their own."""

import io
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .helpers import byte_encoder
from .probe import MIB, in_child, read, source_of

pytestmark = pytest.mark.slow

TABLE = pa.table({"text": ["one", "two", "three"] * 10, "n": list(range(30))})
TEXTS = ["one", "two", "three"] * 10


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_encoder(folder)
    return folder / "tokenizer.json"


def parquet(table=TABLE, **options) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def arrow(table=TABLE, new=pa.ipc.new_file, size=None, **options) -> bytes:
    sink = io.BytesIO()
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=size)
    return sink.getvalue()


def seen(file, content, tokenizer, memory=600):
    file.write_bytes(content)
    found = in_child(read, source_of(file), file.parent, tokenizer)
    assert found.memory < memory
    return found


def only(found, code):
    """The message of the one finding, which is of that code."""
    ((id, line, message),) = found.findings
    assert (id, line) == (code, None), message
    assert len(message) < 300
    return message


# --- thrift ----------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def number(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def with_footer(footer: bytes, body: bytes = b"") -> bytes:
    return b"PAR1" + body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def element(name: bytes, children: int = 0) -> bytes:
    """An element of a schema: a type, `optional`, a name, and children."""
    kind = b"" if children else b"\x15\x02"
    repetition = b"\x25\x02" if kind else b"\x35\x00"
    return (
        kind
        + repetition
        + b"\x18"
        + varint(len(name))
        + name
        + (b"\x15" + number(children) if children else b"")
        + b"\x00"
    )


def schema(*elements: bytes) -> bytes:
    return b"\x15\x02\x19" + bytes([0xFC]) + varint(len(elements)) + b"".join(elements) + b"\x16\x00\x19\x0c\x00"


# --- parquet ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 100, 2**31 - 1, 2**32 - 1])
def test_lengths_of_footers(tmp_path, tokenizer, length):
    content = parquet()[:-8] + struct.pack("<I", length) + b"PAR1"
    assert only(seen(tmp_path / "s.parquet", content, tokenizer, 100), "MCD503").startswith(
        "`s.parquet`: broken parquet: "
    )


@pytest.mark.parametrize(
    "footer",
    [
        b"\x19\xfc" + varint(2**60),
        b"\x49\xfc" + varint(2**60) + bytes(MIB),
        b"\x1c" * 10_000,
        b"\x19" * 100_000,
        b"\xff" * 1000,
        schema() + b"\x00",
        b"\x18" + varint(2**60) + b"x",
    ],
)
def test_footers_that_promise_what_they_do_not_hold(tmp_path, tokenizer, footer):
    only(seen(tmp_path / "s.parquet", with_footer(footer), tokenizer, 300), "MCD503")


def test_types_deep_in_types(tmp_path, tokenizer):
    elements = [element(b"g", 1)] * 100_000 + [element(b"leaf")]
    found = seen(tmp_path / "s.parquet", with_footer(schema(*elements)), tokenizer, 100)
    assert "nested deeper than 64" in only(found, "MCD517")


def test_a_million_columns(tmp_path, tokenizer):
    elements = [element(b"root", 10**6), *(element(b"c%d" % i) for i in range(10**6))]
    found = seen(tmp_path / "s.parquet", with_footer(schema(*elements)), tokenizer, 200)
    assert "columns, where 16384 are the limit" in only(found, "MCD517")


@pytest.mark.parametrize("format", ["parquet", "arrow", "csv"])
def test_columns_below_the_limit(tmp_path, tokenizer, format):
    table = pa.table({"text": ["a"], **{f"c{i}": ["x"] for i in range(10_000)}})
    if format == "csv":
        content = (",".join(table.column_names) + "\na" + ",x" * 10_000 + "\n").encode()
    else:
        content = parquet(table) if format == "parquet" else arrow(table)
    assert seen(tmp_path / f"s.{format}", content, tokenizer).texts == ["a"]


@pytest.mark.slow
def test_every_number_of_a_footer_may_lie(tmp_path, tokenizer):
    """Each byte of a footer in turn becomes 0, 1, 127 or 255: sizes, offsets, counts and codecs among them."""
    content = parquet(TABLE.slice(0, 3), compression="none")
    (length,) = struct.unpack("<I", content[-8:-4])
    places = range(len(content) - 8 - length, len(content) - 8)
    variants = [content[:i] + bytes([value]) + content[i + 1 :] for i in places for value in (0, 1, 127, 255)]
    assert all_end(tmp_path, "parquet", variants[:: max(1, len(variants) // 600)], tokenizer) < 600


def test_an_encrypted_footer(tmp_path, tokenizer):
    content = b"PARE" + parquet()[4:-4] + b"PARE"
    assert "encrypted" in only(seen(tmp_path / "s.parquet", content, tokenizer), "MCD503")


def test_a_codec_that_nobody_knows(tmp_path, tokenizer):
    content = parquet(TABLE.slice(0, 3), compression="snappy", use_dictionary=False)
    codec = content.rindex(b"\x15\x02\x16")
    found = seen(tmp_path / "s.parquet", content[: codec + 1] + b"\x2a" + content[codec + 2 :], tokenizer)
    only(found, "MCD503")


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["zstd", "gzip", "none"])
def test_a_text_that_unpacks_to_more_than_the_limit(tmp_path, tokenizer, codec):
    table = pa.table({"text": ["a", "x" * 100 * MIB]})
    found = seen(tmp_path / "s.parquet", parquet(table, compression=codec), tokenizer, 900)
    ((code, _, message),) = found.findings
    assert (code, message) == ("MCD515", "`s.parquet` row 1: `.text` is longer than 16 MiB")


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_dictionary_that_stands_for_gigabytes(tmp_path, tokenizer, format):
    """A text of 1 MiB, 1,500 times: read in pieces, of which none holds them all."""
    column = pa.DictionaryArray.from_arrays(np.zeros(1500, np.int32), ["y " * (MIB // 2)])
    table = pa.table({"n": column, "text": ["a"] * 1500})
    content = parquet(table) if format == "parquet" else arrow(table)
    assert len(content) < 2 * MIB
    found = seen(tmp_path / f"s.{format}", content, tokenizer, 500)
    assert not found.findings
    assert len(found.texts) == 100


@pytest.mark.slow
def test_texts_that_share_a_dictionary(tmp_path, tokenizer):
    """As before, where the schema says strings and the pages say a dictionary."""
    table = pa.table({"n": pa.array(["y " * (MIB // 4)] * 3000), "text": ["a"] * 3000})
    content = parquet(table, dictionary_pagesize_limit=64 * MIB, write_batch_size=10)
    assert len(content) < 2 * MIB
    assert not seen(tmp_path / "s.parquet", content, tokenizer, 800).findings


@pytest.mark.slow
def test_a_page_beyond_the_limit(tmp_path, tokenizer):
    table = pa.table({"text": pa.array(["y " * (MIB // 4)] * 600)})
    content = parquet(table, use_dictionary=False, write_batch_size=600)
    found = seen(tmp_path / "s.parquet", content, tokenizer, 100)
    assert "bytes, where 256 MiB are the limit" in only(found, "MCD517")


# --- arrow -----------------------------------------------------------------------------------------------------------

KINDS = {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_messages_may_lie(tmp_path, tokenizer, kind):
    content = arrow(TABLE.slice(0, 3), KINDS[kind])
    variants = [
        content[:i] + bytes([value]) + content[i + 1 :] for i in range(len(content)) for value in (0, 1, 127, 255)
    ]
    assert all_end(tmp_path, "arrow", variants[:: max(1, len(variants) // 600)], tokenizer) < 600


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_and_lengths_of_strings(tmp_path, tokenizer, kind):
    offsets = np.array([0, 3, 6, 11], np.int32).tobytes()
    content = arrow(TABLE.slice(0, 3), KINDS[kind])
    at = content.index(offsets)
    for forged in ([0, 2**31 - 1, 6, 11], [0, -5, 6, 11], [5, 3, 6, 11], [0, 3, 6, 2**30]):
        found = seen(
            tmp_path / "s.arrow", content[:at] + np.array(forged, np.int32).tobytes() + content[at + 16 :], tokenizer
        )
        ((code, _, message),) = found.findings
        assert code == "MCD503"
        assert message.startswith("`s.arrow` row 0: `text` is broken") or "`text` is broken" in message


@pytest.mark.parametrize("rows", [2**62, 2**40, -1])
def test_rows_that_a_batch_does_not_have(tmp_path, tokenizer, rows):
    content = arrow(pa.table({"text": pa.nulls(77), "n": pa.nulls(77)}), pa.ipc.new_stream)
    places = [i for i in range(len(content) - 8) if content[i : i + 8] == struct.pack("<q", 77)]
    assert places
    for at in places:
        content = content[:at] + struct.pack("<q", rows) + content[at + 8 :]
    assert "rows in" in only(seen(tmp_path / "s.arrow", content, tokenizer, 100), "MCD503")


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_buffers_that_unpack_to_more_than_they_say(tmp_path, tokenizer, codec):
    table = pa.table({"text": ["z" * 1000] * 100})
    content = arrow(table, compression=codec)
    at = content.index(struct.pack("<q", 100_000))
    for size in (1, 2**40, 2**62, -7):
        found = seen(tmp_path / "s.arrow", content[:at] + struct.pack("<q", size) + content[at + 8 :], tokenizer)
        assert {code for code, _, _ in found.findings} == {"MCD503"}


@pytest.mark.slow
def test_a_batch_beyond_the_limit(tmp_path, tokenizer):
    file = tmp_path / "s.arrow"
    batch = pa.RecordBatch.from_arrays([pa.array([b"x" * (600 * MIB)], pa.large_binary())], names=["text"])
    with pa.ipc.new_stream(file, batch.schema) as writer:
        writer.write_batch(batch)
    found = in_child(read, source_of(file), tmp_path, tokenizer)
    assert found.memory < 100
    assert "512 MiB are the limit" in only(found, "MCD517")


@pytest.mark.parametrize("depth", [50, 200])
def test_types_deep_in_arrow(tmp_path, tokenizer, depth):
    """pyarrow writes and reads no deeper types than 64: a schema alone may have them."""
    kind = pa.string()
    for _ in range(depth):
        kind = pa.list_(kind)
    schema = pa.schema({"text": pa.string(), "n": kind})
    message = schema.serialize().to_pybytes()
    content = arrow(pa.table({"text": ["a"], "n": pa.nulls(1, kind)}), pa.ipc.new_stream) if depth < 64 else message
    found = seen(tmp_path / "s.arrow", content, tokenizer)
    assert {code for code, _, _ in found.findings} == (set() if depth < 64 else {"MCD503"})


# --- many variants in one process ------------------------------------------------------------------------------------


def all_end(folder, format, variants, tokenizer):
    """Reads every variant; gives the memory that they took."""
    return in_child(_all, folder, format, variants, tokenizer, seconds=300)


def _all(folder, format, variants, tokenizer):
    memory = 0
    for number, content in enumerate(variants):
        file = folder / f"v{number}.{format}"
        file.write_bytes(content)
        memory = max(memory, read(source_of(file), folder, tokenizer).memory)
        file.unlink()
    return memory
