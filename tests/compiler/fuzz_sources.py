"""Random damage to small valid sources of every format: each variant is read to its end, or gives findings.

    python -m tests.compiler.fuzz_sources --count 20000 --seed 1

Variants are read in child processes, so that a crash of a C library is found, with the bytes that did it.
"""

import argparse
import io
import json
import random
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .helpers import byte_encoder
from .probe import in_child, read, source_of

RECORDS = [{"text": f"word {i} é", "n": [{"start": i, "end": i + 1, "kind": "k"}]} for i in range(6)]
SENTENCE = (
    b"# text = a b\n1\ta\t_\t_\t_\t_\t0\t_\t_\t_\n2-3\tb\t_\t_\t_\t_\t_\t_\t_\t_\n"
    b"2\tb\t_\t_\t_\tA=B\t1\t_\t_\t_\n3\tc\t_\t_\t_\t_\t1\t_\t_\t_\n\n"
)
PER_CHILD = 50
MEMORY = 300
"""MiB that no variant of a file of a few KB may take."""


def seeds() -> list[tuple[str, bytes]]:
    """A valid file of every format and way of writing it."""
    table = pa.Table.from_pylist(RECORDS)
    coded = table.set_column(0, "text", table["text"].dictionary_encode())
    found = [
        ("jsonl", "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()),
        ("csv", b'text,n\n"a, ""b""\nc",1\nd,2.5\n,\n"",x\n'),
        ("conllu", SENTENCE * 2),
    ]
    for each in (table, coded):
        for codec in ("none", "snappy", "zstd"):
            sink = io.BytesIO()
            pq.write_table(each, sink, row_group_size=3, compression=codec, use_dictionary=codec != "none")
            found.append(("parquet", sink.getvalue()))
        for new in (pa.ipc.new_file, pa.ipc.new_stream):
            for codec in (None, "lz4", "zstd"):
                sink = io.BytesIO()
                with new(sink, each.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
                    writer.write_table(each, max_chunksize=2)
                found.append(("arrow", sink.getvalue()))
    return found


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content with a few bytes flipped, set, removed, repeated or moved."""
    text = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        at = rng.randrange(max(1, len(text)))
        stop = min(len(text), at + rng.choice([1, 1, 2, 4, 8, rng.randrange(1, 200)]))
        match rng.randrange(7):
            case 0:
                text[at:stop] = bytes(byte ^ 1 << rng.randrange(8) for byte in text[at:stop])
            case 1:
                text[at:stop] = rng.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * (stop - at)
            case 2:
                del text[at:stop]
            case 3:
                text[at:at] = text[at:stop] * rng.choice([1, 2, 50])
            case 4:
                text[at:at] = rng.choice(
                    [b"\n", b"\r", b'"', b"\t", b"{", b"[" * 50, b"\xf0\x9f", b"\xed\xa0\x80", b"\0", b"\xe2\x80\xa8"]
                )
            case 5:
                text[at:stop] = rng.randbytes(stop - at)
            case 6:
                text[at : at + 8] = rng.choice([2**31 - 1, 2**63 - 1, -1, 0, 2**32]).to_bytes(8, "little", signed=True)
    return bytes(text)


def variant(number: int, seed: int) -> tuple[str, bytes]:
    """One damaged file, the same for the same numbers."""
    rng = random.Random(f"{seed} {number}")
    format, content = _SEEDS[number % len(_SEEDS)]
    return format, damaged(content, rng)


_SEEDS = seeds()


def read_some(numbers: range, seed: int, folder: Path, tokenizer: Path, progress: Path) -> tuple[int, int]:
    """Reads variants; gives how many were read without a finding, and how many with one. Notes in `progress` where it is."""
    clean = 0
    for number in numbers:
        format, content = variant(number, seed)
        file = folder / f"v.{format}"
        file.write_bytes(content)
        progress.write_text(str(number))
        found = read(source_of(file), folder, tokenizer)
        assert found.memory < MEMORY, f"{found.memory} MiB"
        clean += not found.findings
    return clean, len(numbers) - clean


def run(count: int, seed: int, folder: Path) -> tuple[int, int]:
    """Reads `count` variants; gives how many were clean and how many had findings. Raises AssertionError, with the number of the
    one that failed."""
    byte_encoder(folder)
    progress, totals = folder / "progress", [0, 0]
    for start in range(0, count, PER_CHILD):
        numbers = range(start, min(count, start + PER_CHILD))
        try:
            clean, found = in_child(read_some, numbers, seed, folder, folder / "tokenizer.json", progress)
        except AssertionError as error:
            raise AssertionError(f"variant {progress.read_text()} of seed {seed}: {error}") from error
        totals = [totals[0] + clean, totals[1] + found]
    return totals[0], totals[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clean, found = run(options.count, options.seed, Path(folder))
    print(f"{options.count} variants: {clean} read without a finding, {found} with one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
