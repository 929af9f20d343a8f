"""What grows with a dataset besides its text: the manifest, the list of tasks, listing the sources, opening shards, shuffling.

Each is made at a size that is not (`--shards` of them, a million by default) and measured: seconds of wall time, the size of the
file, and the peak of resident memory of a process that does that and nothing else. docs/scale.md draws from it what a petabyte
would take.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from mcd.benchmarks.command import read
from mcd.compiler.build.finished import TASKS_FILE, Finished, finished_in, line
from mcd.compiler.compile import compile_program, take_stock
from mcd.compiler.files.output import json_text
from mcd.compiler.manifest import Counts, Manifest, ShardEntry, read_manifest

DIGEST = "0123456789abcdef" * 4
SETS = [f"{number:032x}" for number in range(12)]
"""A spec of a dozen sets."""

PROJECT = {
    "mcd.toml": "",
    "spec.mcd": """mcd 1
model m { layers = 2  heads = 2  hidden = 8  vocab = 300  causal = true  tokenizer = "tokenizer.json"  context = 64 }
source s = jsonl("data/*.jsonl") { id = .id  text = .text }
span word = phrases("the")
weigh word { factor = 2 }
""",
}


def shard(number: int) -> ShardEntry:
    """The entry of a shard of 32 MB."""
    return ShardEntry(
        path=f"shards/train/{number:07}.arrow",
        bytes=32_000_000 + number,
        sha256=DIGEST,
        split="train",
        records=10_000,
        tokens=8_000_000,
        source="web",
    )


def manifest(shards: int) -> Manifest:
    """A manifest of that many shards."""
    return Manifest(
        version="0",
        shards_key=DIGEST[:32],
        inputs=(),
        records={"train": 10_000 * shards},
        tokens={"train": 8_000_000 * shards},
        dropped={},
        sets={key: Counts(splits={"train": {"matched": shards, "rows": shards}}) for key in SETS},
        labels={},
        rules={},
        files=(),
        shards=tuple(shard(number) for number in range(shards)),
    )


def task(number: int) -> Finished:
    """What is known of a task of one shard."""
    return Finished(
        number=number,
        key=DIGEST[:32],
        source="web",
        shards=(shard(number),),
        sets={key: {"train": {"matched": 1_000 + number, "rows": 3_000 + number}} for key in SETS},
        labels={},
        counted=(),
        causal=True,
        dropped={},
        seen=(("id",), ("text",)),
        chat={},
    )


def write_manifest(folder: Path, count: int) -> None:
    """manifest.json of `count` shards."""
    (folder / "manifest.json").write_text(json_text(manifest(count)), encoding="utf-8")


def open_manifest(folder: Path, count: int) -> None:
    """What whoever opens a dataset reads first."""
    assert len(read_manifest(folder).shards) == count


def write_tasks(folder: Path, count: int) -> None:
    """tasks.jsonl of `count` tasks."""
    with (folder / TASKS_FILE).open("w", encoding="utf-8") as file:
        file.writelines(line(task(number)) for number in range(count))


def open_tasks(folder: Path, count: int) -> None:
    """What a rebuild reads to know what it may keep, one after another."""
    assert sum(1 for _ in finished_in(folder)) == count


def list_sources(folder: Path, count: int) -> None:
    """A hundredth of `count` files of a source, each read once for its digest."""
    files = max(1, count // 100)
    _project(folder, files)
    start = time.perf_counter()
    take_stock(read(folder / "spec.mcd"))
    print(f"  of that {time.perf_counter() - start:.2f} s for {files:,} files, after writing them")


def open_shards(folder: Path, count: int) -> None:
    """A thousandth of `count` small shards, opened and held against their checksums."""
    from mcd.runtime.dataset import load  # noqa: PLC0415  (the other measurements do without torch)

    shards = max(1, count // 1000)
    _project(folder, shards)
    compile_program(read(folder / "spec.mcd"), folder / "out")
    start = time.perf_counter()
    load(folder / "out")
    print(f"  of that {time.perf_counter() - start:.2f} s for {shards:,} shards, after compiling them")


def shuffle(folder: Path, count: int) -> None:
    """A permutation of a hundred rows per shard, as the sampler draws it for an epoch."""
    assert len(np.random.default_rng([0, 0]).permutation(100 * count)) == 100 * count


def _project(folder: Path, files: int) -> None:
    (folder / "data").mkdir()
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1, "cat": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, text in PROJECT.items():
        (folder / name).write_text(text, encoding="utf-8")
    for number in range(files):
        record = json.dumps({"id": str(number), "text": "the cat saw a dog"}) + "\n"
        (folder / "data" / f"{number:07}.jsonl").write_text(record, encoding="utf-8")


STEPS: dict[str, Callable[[Path, int], None]] = {
    "write manifest.json": write_manifest,
    "open manifest.json": open_manifest,
    "write tasks.jsonl": write_tasks,
    "open tasks.jsonl": open_tasks,
    "list sources": list_sources,
    "open shards": open_shards,
    "shuffle": shuffle,
}


def main() -> None:
    """Every step in a process of its own, in one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1_000_000)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        start = time.perf_counter()
        STEPS[options.step](options.folder, options.shards)
        seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(f"{options.step:<20} {seconds:8.2f} s  peak {peak:8,.0f} MB")
        return
    print(f"{options.shards:,} shards")
    with tempfile.TemporaryDirectory() as name:
        for step in STEPS:
            folder = Path(name) / ("files" if step.endswith(("json", "jsonl")) else step.replace(" ", "-"))
            folder.mkdir(exist_ok=True)
            command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
            subprocess.run([*command, "--shards", str(options.shards)], check=True)
        for file in sorted((Path(name) / "files").iterdir()):
            print(f"{file.name:<20} {file.stat().st_size / 1e6:8,.0f} MB")


if __name__ == "__main__":
    main()
