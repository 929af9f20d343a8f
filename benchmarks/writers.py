"""`mcd compile` over other tools that do the same work by user code, in CPU seconds and in wall time of one run.

    python benchmarks/writers.py [--megabytes N] [--rounds N] [--processes 1] [--characters 200 4000]

The work is the spec of `project.py`: render a template of four fields, tokenise, find 1,000 phrases, a pattern and a slot,
intersect two of them, join each to the nearest before it, align all to tokens, add a label and a weight, write. The others run
`by_hand.py` and write by

- `datasets`: Hugging Face `Dataset.map` in batches and `save_to_disk`; `datasets, one by one`: the same with a function of one
  record, which adds a label and a weight for every token, as most people write it,
- `streaming`: `MDSWriter` of mosaicml-streaming,
- `litdata`: its `BinaryWriter` in this process; `litdata.optimize`: the same from workers of its own.

Before anything is timed, the rows that every tool wrote are read back and held against the shards, number by number. The shards
hold more, which the user code does not: the tokens that are white space alone. The sides take turns; a ratio is the median of the
rounds' ratios, lowest to highest in brackets. `mcd compile` divides a file into tasks of 32 MB: two processes need 64 MB to
share; their start counts. The tools come with `mcd-lang[bench]`; one that is not there is said to be missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import pyarrow as pa

from mcd.benchmarks.by_hand import BATCH, ByHand, Row, batches, dense, fields_of
from mcd.benchmarks.command import compiling, read
from mcd.benchmarks.project import LONG, SHORT, write_project
from mcd.compiler.compile import compile_program
from mcd.compiler.sets import BLANK
from mcd.dsl.checked import Program

CHUNK = 64 << 20
"""Bytes of a file that the tools cut into files: the default of two of them."""
LISTS = ("input_ids", "answer", "inside", "link")


@dataclass(frozen=True)
class Job:
    """What every side is given."""

    folder: Path
    program: Program
    hand: ByHand

    @property
    def text(self) -> Path:
        return self.folder / "text.jsonl"


@dataclass(frozen=True)
class Side:
    """A way to do the work. `run(job, out, processes)` writes below `out`, `rows(out)` reads that back. `needs`: the
    distribution that it takes; `processes`: of how many it can make use."""

    name: str
    needs: str | None
    processes: tuple[int, ...]
    run: Callable[[Job, Path, int], object]
    rows: Callable[[Path], Iterable[Row]]


# --- mcd


def with_mcd(job: Job, out: Path, processes: int) -> None:
    if processes == 1:
        compile_program(job.program, out)
    else:
        subprocess.run(compiling(job.folder / "bench.mcd", out, processes), check=True)


def mcd_rows(out: Path) -> Iterator[Row]:
    """The rows of the shards, without the tokens of white space. Fails where they hold a range of another set."""
    plan = {rule["id"]: rule for rule in json.loads((out / "program.json").read_text("utf-8"))["rules"]}
    answer, inside = plan["reply"]["subject"]["set"], plan["kind"]["subject"]["set"]
    for shard in json.loads((out / "manifest.json").read_text("utf-8"))["shards"]:
        with pa.memory_map(str(out / shard["path"])) as file, pa.ipc.open_file(file) as reader:
            keys = json.loads(reader.schema.metadata[b"mcd.sets"])
            for batch in map(reader.get_batch, range(reader.num_record_batches)):
                yield from (of_shard(row, keys, answer, inside) for row in batch.to_pylist())


def of_shard(row: dict[str, Any], keys: list[str], answer: str, inside: str) -> Row:
    spans: dict[str, list[int]] = {answer: [], inside: [], BLANK: []}
    for number, start, end in zip(row["span.set"], row["span.start"], row["span.end"], strict=True):
        spans[keys[number]] += start, end
    edges = (row[f"edge.{end}"] for end in ("query_start", "query_end", "key_start", "key_end"))
    link = [number for edge in zip(*edges, strict=True) for number in edge]
    (label,), (weight,) = row["field.label"], row["field.weight"]
    return Row(row["id"], row["input_ids"], spans[answer], spans[inside], link, label, weight)


# --- datasets


def with_datasets(job: Job, out: Path, processes: int) -> None:
    def columns(batch: Any) -> dict[str, list[Any]]:
        names = list(batch)
        records = [dict(zip(names, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        rows = job.hand.rows(records)
        return {name: [getattr(row, name) for row in rows] for name in Row.__slots__}

    mapped(job, out, columns, processes, {}, batched=True, batch_size=BATCH)


def one_by_one(job: Job, out: Path, processes: int) -> None:
    mapped(job, out, job.hand.example, processes, {"labels": "int32", "weights": "float32"})


def mapped(
    job: Job, out: Path, function: Callable[[Any], dict[str, Any]], processes: int, more: dict[str, str], **how: Any
) -> None:
    """Maps a function over the file and saves what it gives. `more`: the lists that it adds to a row, and their types."""
    datasets = import_module("datasets")
    datasets.disable_progress_bars()
    data = datasets.load_dataset("json", data_files=str(job.text), split="train", cache_dir=str(out / "cache"))
    flat = {"id": "string", "label": "int32", "weight": "float32"}
    features = datasets.Features(
        {name: datasets.Value(kind) for name, kind in flat.items()}
        | {
            name: datasets.Sequence(datasets.Value(kind))
            for name, kind in {**dict.fromkeys(LISTS, "int32"), **more}.items()
        }
    )
    several = {"num_proc": processes} if processes > 1 else {}
    made = data.map(function, remove_columns=data.column_names, features=features, **how, **several)
    made.save_to_disk(str(out / "rows"))


def datasets_rows(out: Path) -> Iterator[Row]:
    for row in import_module("datasets").load_from_disk(str(out / "rows")):
        given = {name: row.pop(name) for name in ("labels", "weights") if name in row}
        assert not given or given == dense(Row(**row)), f"labels or weights of record {row['id']}"
        yield Row(**row)


# --- mosaicml-streaming and litdata, which take one row at a time


def as_sample(row: Row) -> dict[str, Any]:
    """Lists as arrays, which both tools store as their bytes."""
    return {name: np.array(value, np.int32) if name in LISTS else value for name, value in fields_of(row).items()}


def samples(job: Job) -> Iterator[dict[str, Any]]:
    with job.text.open("rb") as lines:
        for records in batches(lines):
            yield from map(as_sample, job.hand.rows(records))


def of_sample(sample: dict[str, Any]) -> Row:
    lists = {name: sample[name].tolist() for name in LISTS}
    return Row(sample["id"], **lists, label=int(sample["label"]), weight=float(sample["weight"]))


def with_streaming(job: Job, out: Path, processes: int) -> None:
    """Lists are written as bytes: as `ndarray:int32` none may be empty."""
    columns = {"id": "str", **dict.fromkeys(LISTS, "bytes"), "label": "int32", "weight": "float32"}
    with import_module("streaming").MDSWriter(columns=columns, out=str(out), size_limit=CHUNK) as writer:
        for sample in samples(job):
            writer.write({**sample, **{name: sample[name].tobytes() for name in LISTS}})


def streaming_rows(out: Path) -> Iterator[Row]:
    data = import_module("streaming").LocalDataset(str(out))
    for sample in map(data.__getitem__, range(len(data))):
        yield of_sample({**sample, **{name: np.frombuffer(sample[name], np.int32) for name in LISTS}})


def with_litdata(job: Job, out: Path, processes: int) -> None:
    writer = import_module("litdata.streaming.writer").BinaryWriter(str(out), chunk_bytes=CHUNK)
    for number, sample in enumerate(samples(job)):
        writer[number] = sample
    writer.done()
    writer.merge()


@dataclass(frozen=True)
class OfRange:
    """The samples of the lines that begin in a range of the file."""

    text: Path
    hand: ByHand

    def __call__(self, span: tuple[int, int]) -> Iterator[dict[str, Any]]:
        with self.text.open("rb") as lines:
            lines.seek(span[0])
            for records in batches(until(lines, span[1])):
                yield from map(as_sample, self.hand.rows(records))


def until(lines: Any, stop: int) -> Iterator[bytes]:
    while lines.tell() < stop:
        yield lines.readline()


def with_optimize(job: Job, out: Path, processes: int) -> None:
    import_module("litdata").optimize(
        fn=OfRange(job.text, job.hand),
        inputs=ranges_of(job.text, 4 * processes),
        output_dir=str(out),
        chunk_bytes=CHUNK,
        num_workers=processes,
        start_method="fork",  # the default starts Python and all imports anew
        keep_data_ordered=True,
        verbose=False,
    )


def ranges_of(text: Path, parts: int) -> list[tuple[int, int]]:
    """About equal ranges of a file that begin at lines."""
    size, cuts = text.stat().st_size, [0]
    with text.open("rb") as lines:
        for part in range(1, parts):
            lines.seek(size * part // parts)
            lines.readline()
            cuts.append(lines.tell())
    return list(zip(cuts, [*cuts[1:], size], strict=True))


def litdata_rows(out: Path) -> Iterator[Row]:
    data = import_module("litdata").StreamingDataset(str(out))
    return (of_sample(data[number]) for number in range(len(data)))


SIDES = (
    Side("mcd", None, (1, 2), with_mcd, mcd_rows),
    Side("datasets", "datasets", (1, 2), with_datasets, datasets_rows),
    Side("datasets, one by one", "datasets", (1, 2), one_by_one, datasets_rows),
    Side("streaming", "mosaicml-streaming", (1,), with_streaming, streaming_rows),
    Side("litdata", "litdata", (1,), with_litdata, litdata_rows),
    Side("litdata.optimize", "litdata", (1, 2), with_optimize, litdata_rows),
)
MODULES = {"mosaicml-streaming": "streaming"}
"""What to import of a distribution, where that is not its name."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one run: of all processors, of those that it started as well, and on the clock."""

    cpu: float
    wall: float


def cost(side: Side, job: Job, out: Path, processes: int) -> Cost:
    """Runs a side into a folder that is made for it."""
    out.mkdir()
    cpu, wall = sum(os.times()[:4]), time.perf_counter()
    side.run(job, out, processes)
    return Cost(sum(os.times()[:4]) - cpu, time.perf_counter() - wall)


def prove(side: Side, job: Job, out: Path, processes: int, expected: list[Row]) -> None:
    """Fails where a side writes other rows than are expected, whatever their order."""
    cost(side, job, out, processes)
    equal(side.rows(out), expected, side.name)
    shutil.rmtree(out)


def equal(rows: Iterable[Row], expected: list[Row], name: str) -> None:
    """Fails where rows differ from those of the shards, which are in the order of their ids."""
    found = sorted(rows, key=lambda row: int(row.id))
    assert len(found) == len(expected), f"{name}: {len(found)} rows, mcd has {len(expected)}"
    for one, other in zip(found, expected, strict=True):
        assert one == other, f"{name}:\n{one}\nmcd:\n{other}"


def available(processes: int) -> list[Side]:
    """The sides that can be measured with so many processes; says of the others why not."""
    sides = []
    for side in SIDES:
        if side.needs and not find_spec(MODULES.get(side.needs, side.needs)):
            print(f"{side.name}: not measured, {side.needs} is not installed (pip install 'mcd-lang[bench]')")
        elif processes not in side.processes:
            print(f"{side.name}: not measured with {processes} processes, it has no option for that")
        else:
            sides.append(side)
    return sides


def compare(characters: int, megabytes: float, rounds: int, processes: int) -> None:
    """Proves the sides equal, lets them take turns, and prints their ratios."""
    print(f"records of about {characters} characters, {megabytes:g} MB, {processes} process{'es' * (processes > 1)}")
    sides = available(processes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = read(write_project(folder, characters, megabytes))
        job = Job(folder, program, ByHand(folder))
        with_mcd(job, folder / "expected", 1)
        expected = sorted(mcd_rows(folder / "expected"), key=lambda row: int(row.id))
        with job.text.open("rb") as lines:
            equal([row for found in batches(lines) for row in job.hand.rows(found)], expected, "by hand")
        for side in sides:
            prove(side, job, folder / "proof", processes, expected)
        ranges = sum(len(row.answer) + len(row.inside) + len(row.link) for row in expected) // 2
        tokens = sum(len(row.input_ids) for row in expected)
        print(f"  all wrote the same {len(expected):,} rows of {tokens:,} tokens and {ranges:,} ranges")
        costs: dict[str, list[Cost]] = {side.name: [] for side in sides}
        for turn in range(rounds):
            for side in sides:
                out = folder / f"{side.name} {turn}"
                costs[side.name].append(cost(side, job, out, processes))
                shutil.rmtree(out)
    table(costs, megabytes)


def table(costs: dict[str, list[Cost]], megabytes: float) -> None:
    mcd = costs["mcd"]
    print(f"  {'':<22}{'MB per CPU s':>13}   {'CPU over mcd':<22}{'wall over mcd'}")
    for name, taken in costs.items():
        rate = megabytes / statistics.median(each.cpu for each in taken)
        cpu = over([each.cpu for each in taken], [each.cpu for each in mcd])
        wall = over([each.wall for each in taken], [each.wall for each in mcd])
        print(f"  {name:<22}{rate:>13.2f}   {cpu:<22}{wall}")


def over(mine: list[float], reference: list[float]) -> str:
    """The median of the rounds' ratios, and the lowest and the highest."""
    ratios = sorted(one / other for one, other in zip(mine, reference, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> None:
    """Every size of records with every number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, nargs="+", default=[1], choices=[1, 2])
    parser.add_argument("--characters", type=int, nargs="+", default=[SHORT, LONG])
    options = parser.parse_args()
    tools = sorted({side.needs for side in SIDES if side.needs and find_spec(MODULES.get(side.needs, side.needs))})
    print(", ".join(f"{tool} {version(tool)}" for tool in (*tools, "numpy", "pyarrow", "tokenizers")))
    for characters in options.characters:
        for processes in options.processes:
            compare(characters, options.megabytes, options.rounds, processes)


if __name__ == "__main__":
    main()
