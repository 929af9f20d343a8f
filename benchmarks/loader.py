"""Batches of a shuffled dataset, by `mcd` and by others, in million tokens per CPU second of one process.

    python benchmarks/loader.py [--tokens MILLIONS] [--rounds N] [--batches N] [--folder DIR]

The data are records of 512 to 1,024 random tokens, written once in each tool's own format. Every side makes the same batches of 8
records in the same shuffled order: `input_ids` [8, 1024] in int64, padded on the right, and what goes with them:

- `by hand`: Arrow record batches mapped into memory, a list of their arrays, one slice per record copied into the batch;
  `with a mask`: and an attention mask beside it,
- `mcd`: `dataset.rows` and `Collator` of the plan without rules, which gives the mask and which tokens have a loss as well;
  `with supervision`: of the plan with three attention rules over stored edges, two rules on hidden states and a relation over
  stored spans, 8 rows of each in every record,
- `datasets`: torch format and `pad_sequence`; `padding collator`: transformers' `DataCollatorWithPadding`, where it is there,
- `litdata`: `StreamingDataset` of arrays, by index; `streaming`: the same of mosaicml-streaming.

Before anything is timed every side's first batches are held against those made by hand. The sides take turns; a number is the
median of the rounds. What is not installed is said to be missing; the tools come with `mcd-lang[bench]`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from mcd.compiler.files.output import building, finish
from mcd.compiler.files.shard_reader import EDGE_COLUMNS, SPAN_COLUMNS
from mcd.compiler.files.shards import ShardWriter
from mcd.compiler.manifest import Manifest
from mcd.compiler.plan import (
    AttendPlan,
    ClassifyPlan,
    Contract,
    EdgeSetRef,
    Line,
    Plan,
    RelatePlan,
    SetInfo,
    SpanSetRef,
    Tokenizer,
    TowardPlan,
)
from mcd.runtime.collate import Collator
from mcd.runtime.dataset import load

BATCH, WIDTH, SHORTEST, VOCAB, HIDDEN, ROWS = 8, 1024, 512, 32000, 64, 8
SPANS, EDGES = ("a", "b"), ("e", "f", "g")
SHARD = 20_000
"""Records of a shard."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """A way to make the batches of `order`, places of records. `run(folder, order)` gives them; `write(folder, data)` has been
    called once before. `needs`: the module that it takes."""

    name: str
    run: Callable[[Path, Ints], Iterator[torch.Tensor]]
    write: Callable[[Path, Path], None] | None = None
    needs: str | None = None


# --- the data


def make_plan(rules: bool = True) -> Plan:
    """The plan of three attention rules, two on hidden states and a relation; or without rules."""
    base: Any = {"line": Line(file="bench.mcd", line=1), "lost": "warn", "weight": 1.0, "per": "row"}
    attend: Any = {**base, "heads": "any", "loss": "nll", "mass": None, "avoid": False, "each": False}
    on_a: Any = {**base, "subject": SpanSetRef(set="a"), "layers": (4,), "pool": "each"}
    on_b: Any = {**base, "subject": SpanSetRef(set="b"), "layers": (4,), "pool": "mean"}
    found = [AttendPlan(id=key, layers=(2 + i,), edges=EdgeSetRef(edges=key), **attend) for i, key in enumerate(EDGES)]
    found += [
        TowardPlan(id="axis", anchor="axis", field=None, loss="cosine", **on_a),
        ClassifyPlan(id="carry", field="label", attribute=None, classes=4, labels=None, **on_b),
        RelatePlan(id="kin", relation="is_a", anchor="axis", margin=0.3, **on_a),
    ]
    sets = {key: SetInfo(kind="edge" if key in EDGES else "span", written=key) for key in (*SPANS, *EDGES)}
    columns = ("id", "part", "source", "input_ids", *SPAN_COLUMNS, "span.at.index", *EDGE_COLUMNS, "field.label")
    return Plan(
        version="0", edition=1, spec="bench.mcd",
        model=Contract(architecture=None, layers=6, heads=6, hidden=HIDDEN, vocab=VOCAB, context=WIDTH, causal=True),
        tokenizer=Tokenizer(digest="0"), columns=columns, sets=sets, anchors={"axis": "orthonormal"}, learned=(),
        rules=tuple(found) if rules else (), stages=(),
    )  # fmt: skip


def schema() -> pa.Schema:
    flat = [("id", pa.string()), ("part", pa.int32()), ("source", pa.string())]
    lists = ("input_ids", *SPAN_COLUMNS, "span.at.index", *EDGE_COLUMNS, "field.label")
    columns = [*flat, *((name, pa.list_(pa.int32())) for name in lists)]
    metadata = {"mcd.format": "1", "mcd.sets": '["a", "b", "e", "f", "g"]'}
    return pa.schema([pa.field(name, kind, nullable=name.startswith("field.")) for name, kind in columns], metadata)


def records(random: np.random.Generator, first: int, count: int) -> pa.RecordBatch:
    """Records of 512 to 1,024 tokens, with 8 spans of 3 tokens in each span set, 8 edges in each edge set and a label."""
    length = random.integers(SHORTEST, WIDTH + 1, count)

    def lists(values: Ints, each: Ints) -> pa.Array:
        return pa.ListArray.from_arrays(
            pa.array(np.append(0, np.cumsum(each)), pa.int32()), pa.array(values, pa.int32())
        )

    def places(sets: int) -> Ints:
        return np.sort(random.integers(1, SHORTEST - 4, (count, sets, ROWS)), axis=2)

    def several(values: Ints) -> pa.Array:
        return lists(
            np.broadcast_to(values, (count, values.shape[1], ROWS)).ravel(), np.full(count, values.shape[1] * ROWS)
        )

    start, query = places(len(SPANS)), places(len(EDGES))
    key = query - random.integers(0, 2, query.shape)
    numbers = np.arange(5)[None, :, None]
    found = {
        "id": pa.array([f"r{number}" for number in range(first, first + count)]),
        "part": pa.array(np.zeros(count, np.int32)),
        "source": pa.array(["texts"] * count),
        "input_ids": lists(random.integers(0, VOCAB, int(length.sum())), length),
        "span.set": several(numbers[:, :2]), "span.start": several(start), "span.end": several(start + 3),
        "span.at.index": several(np.broadcast_to(np.arange(ROWS), (1, 2, ROWS))),
        "edge.set": several(numbers[:, 2:]),
        "edge.query_start": several(query), "edge.query_end": several(query + 1),
        "edge.key_start": several(key), "edge.key_end": several(key + 1),
        "field.label": lists(random.integers(0, 4, count), np.ones(count, np.int64)),
    }  # fmt: skip
    made = schema()
    return pa.RecordBatch.from_arrays([found[name] for name in made.names], schema=made)


def write_shards(out: Path, tokens: int) -> None:
    """A compiled directory of about `tokens` tokens."""
    random, plan, first = np.random.default_rng(0), make_plan(), 0
    left = 2 * tokens // (SHORTEST + WIDTH)
    entries = []
    with building(out) as work:
        while left:
            count = min(SHARD, left)
            with ShardWriter(work / "shards" / "train" / f"{len(entries):05}.arrow", schema()) as writer:
                writer.write(records(random, first, count))
                entries.append(writer.close("train", work))
            first, left = first + count, left - count
        counts = {name: {"train": sum(getattr(entry, name) for entry in entries)} for name in ("records", "tokens")}
        manifest = Manifest(
            version="0", shards_key="bench", inputs=(), dropped={}, sets={}, labels={}, rules={}, files=(),
            shards=tuple(entries), **counts,
        )  # fmt: skip
        finish(work, plan, {"axis": np.ones(HIDDEN, np.float32)}, manifest)


def pieces(out: Path) -> list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
    """Offsets and token ids of every record batch, mapped into memory."""
    found = []
    for path in sorted((out / "shards/train").iterdir()):
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        for number in range(reader.num_record_batches):
            column = reader.get_batch(number).column("input_ids")
            found.append((column.offsets.to_numpy(), column.values.to_numpy()))
    return found


def rows_of(out: Path) -> Iterator[npt.NDArray[np.int32]]:
    for offsets, values in pieces(out):
        yield from (values[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))


# --- the sides


def by_hand(out: Path, order: Ints, mask: bool = False) -> Iterator[torch.Tensor]:
    found = pieces(out)
    ends = np.cumsum([len(offsets) - 1 for offsets, _ in found])
    begins = np.append(0, ends)
    for first in range(0, len(order), BATCH):
        places = order[first : first + BATCH]
        piece = np.searchsorted(ends, places, side="right")
        at = (places - begins[piece]).tolist()
        ids = np.zeros((BATCH, WIDTH), dtype=np.int64)
        there = np.zeros((BATCH, WIDTH), dtype=np.int64) if mask else None
        for row, (number, place) in enumerate(zip(piece.tolist(), at, strict=True)):
            offsets, values = found[number]
            start, end = offsets.item(place), offsets.item(place + 1)
            ids[row, : end - start] = values[start:end]
            if there is not None:
                there[row, : end - start] = 1
        if there is not None:
            torch.from_numpy(there)
        yield torch.from_numpy(ids)


def with_mask(out: Path, order: Ints) -> Iterator[torch.Tensor]:
    return by_hand(out, order, mask=True)


def with_mcd(out: Path, order: Ints, rules: bool = False) -> Iterator[torch.Tensor]:
    plan = make_plan(rules)
    dataset = load(out, split="train", verify="size").with_plan(plan)
    collate = Collator(plan, multiple=WIDTH)
    for first in range(0, len(order), BATCH):
        yield collate(dataset.rows(order[first : first + BATCH])).input_ids


def with_supervision(out: Path, order: Ints) -> Iterator[torch.Tensor]:
    return with_mcd(out, order, rules=True)


def write_datasets(folder: Path, out: Path) -> None:
    datasets = import_module("datasets")
    datasets.disable_progress_bars()
    arrays = [pa.ListArray.from_arrays(pa.array(offsets), pa.array(values)) for offsets, values in pieces(out)]
    table = pa.table({"input_ids": pa.chunked_array(arrays)})
    datasets.Dataset(datasets.table.InMemoryTable(table)).save_to_disk(str(folder / "datasets"))


def with_datasets(out: Path, order: Ints) -> Iterator[torch.Tensor]:
    data = import_module("datasets").load_from_disk(str(out.parent / "datasets")).with_format("torch")
    for first in range(0, len(order), BATCH):
        found = torch.nn.utils.rnn.pad_sequence(data[order[first : first + BATCH]]["input_ids"], batch_first=True)
        yield torch.nn.functional.pad(found, (0, WIDTH - found.shape[1]))


def with_padding_collator(out: Path, order: Ints) -> Iterator[torch.Tensor]:
    data = import_module("datasets").load_from_disk(str(out.parent / "datasets"))
    transformers = import_module("transformers")
    from_backend = import_module("tokenizers")
    words = from_backend.Tokenizer(from_backend.models.WordLevel({"[PAD]": 0}, unk_token="[PAD]"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]")
    collate = transformers.DataCollatorWithPadding(tokenizer, padding="max_length", max_length=WIDTH)
    for first in range(0, len(order), BATCH):
        yield collate([data[place] for place in order[first : first + BATCH].tolist()])["input_ids"]


def padded(rows: list[Any]) -> torch.Tensor:
    ids = torch.zeros(BATCH, WIDTH, dtype=torch.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.as_tensor(row)
    return ids


def write_litdata(folder: Path, out: Path) -> None:
    litdata = import_module("litdata.streaming.writer")
    writer = litdata.BinaryWriter(str(folder / "litdata"), chunk_bytes="64MB")
    for number, row in enumerate(rows_of(out)):
        writer.add_item(number, torch.from_numpy(row.copy()))
    writer.done()
    writer.merge()


def with_litdata(out: Path, order: Ints) -> Iterator[torch.Tensor]:
    data = import_module("litdata").StreamingDataset(str(out.parent / "litdata"))
    for first in range(0, len(order), BATCH):
        yield padded([data[place] for place in order[first : first + BATCH].tolist()])


def write_streaming(folder: Path, out: Path) -> None:
    streaming = import_module("streaming")
    with streaming.MDSWriter(out=str(folder / "streaming"), columns={"ids": "ndarray:int32"}) as writer:
        for row in rows_of(out):
            writer.write({"ids": row})


def with_streaming(out: Path, order: Ints) -> Iterator[torch.Tensor]:
    streaming = import_module("streaming")
    data = streaming.StreamingDataset(local=str(out.parent / "streaming"), shuffle=False, batch_size=BATCH)
    for first in range(0, len(order), BATCH):
        yield padded([data[place]["ids"] for place in order[first : first + BATCH].tolist()])


SIDES = (
    Side("by hand", by_hand),
    Side("by hand, with a mask", with_mask),
    Side("mcd", with_mcd),
    Side("mcd, with supervision", with_supervision),
    Side("datasets, torch format, pad_sequence", with_datasets, write_datasets, "datasets"),
    Side("datasets, padding collator", with_padding_collator, None, "transformers"),
    Side("litdata", with_litdata, write_litdata, "litdata"),
    Side("streaming", with_streaming, write_streaming, "streaming"),
)
SLOW = 10
"""The others run over one batch in so many: they take that much longer."""


def timed(side: Side, out: Path, order: Ints, lengths: Ints) -> float:
    """Million tokens per CPU second. Opening and the first batch are not timed."""
    batches = side.run(out, order)
    next(batches)
    start = time.process_time()
    for _ in batches:
        pass
    return float(lengths[order[BATCH:]].sum() / 1e6 / (time.process_time() - start))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=float, default=100, help="millions of tokens (100)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=0, help="batches of a round; all by default")
    parser.add_argument("--folder", type=Path, help="where the data are written and removed again")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        compare(Path(folder), int(given.tokens * 1e6), given.rounds, given.batches)


def compare(folder: Path, tokens: int, rounds: int, most: int) -> None:
    out = folder / "out"
    write_shards(out, tokens)
    lengths = np.concatenate([np.diff(offsets) for offsets, _ in pieces(out)]).astype(np.int64)
    order = np.random.default_rng(1).permutation(len(lengths))
    order = order[: (min(most, len(order) // BATCH) or len(order) // BATCH) * BATCH]
    sides = [side for side in SIDES if side.needs is None or find_spec(side.needs)]
    for side in SIDES:
        if side not in sides:
            print(f"{side.name}: `{side.needs}` is not installed")
    for side in sides:
        if side.write is not None:
            side.write(folder, out)
        for one, other, _ in zip(by_hand(out, order), side.run(out, order), range(20), strict=False):
            assert torch.equal(one, other), side.name
    found: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            part = order if side.needs is None else order[: max(len(order) // SLOW // BATCH, 2) * BATCH]
            found[side.name].append(timed(side, out, part, lengths))
    print(
        f"{lengths.sum() / 1e6:.0f} million tokens, {len(order) // BATCH} batches of {BATCH} x {WIDTH}, {rounds} rounds"
    )
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name, values in found.items():
        ratio = medians[name] / medians["by hand, with a mask"]
        print(
            f"{name:40} {medians[name]:8.1f} ({min(values):.1f} to {max(values):.1f})  {ratio:.3f} of by hand with a mask"
        )


if __name__ == "__main__":
    main()
