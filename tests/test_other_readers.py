"""Shards and exports in the hands of other tools: every row of real specs, as the shard reader has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from mcd.compiler.export.export import export
from mcd.compiler.inspect.opened import open_dataset
from mcd.compiler.manifest import ShardEntry

from .inspected import rich
from .projects import compiled

ROOT = Path(__file__).parent.parent
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Made:
    """A dataset, its export, and by split what the shard reader finds in it."""

    out: Path
    hub: Path
    rows: dict[str, Rows]

    def shards(self, split: str) -> list[Path]:
        return sorted((self.out / "shards" / split).glob("*.arrow"))

    def files(self, split: str) -> list[Path]:
        return sorted((self.hub / "data").glob(f"{split.replace('-', '_')}-*.parquet"))


LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("recall", "control")]


@pytest.fixture(scope="module", params=["rich", "wordnet", *LARGE])
def made(request, tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "rich":
        rich(folder)
    else:
        where = "wordnet" if request.param == "wordnet" else "recall"
        compiled(ROOT / "specs" / where / f"{request.param}.mcd", folder / "out")
    opened = open_dataset(folder / "out")
    export(opened, folder / "hub", None, False, lambda done, total: None)
    rows: dict[str, Rows] = {}
    for shard in opened.shards():
        rows.setdefault(shard.split, []).extend(read(opened, shard))
    return Made(folder / "out", folder / "hub", rows)


def read(opened, shard: ShardEntry) -> Iterator[dict[str, Any]]:
    """The rows of a shard from the numpy views and the columns of the shard reader."""
    for chunk in opened.chunks(shard):
        views = {"input_ids": chunk.tokens}
        views |= dict(zip(("span.set", "span.start", "span.end"), chunk.spans, strict=True))
        ends = ("edge.set", "edge.query_start", "edge.query_end", "edge.key_start", "edge.key_end")
        views |= dict(zip(ends, chunk.edges, strict=True)) if chunk.edges else {}
        views |= {"edge.weight": chunk.weights} if chunk.weights is not None else {}
        for at in range(chunk.rows):
            row = {"id": chunk.id(at), "part": int(chunk.part[at]), "source": chunk.source(at)}
            row |= {name: view.values[view.offsets[at] : view.offsets[at + 1]].tolist() for name, view in views.items()}
            row |= {name: chunk.arrow(name)[at].as_py() for name in chunk.wanted.columns}
            yield row


def same(found: Rows, wanted: Rows) -> None:
    """Equal rows, whatever the order of columns."""
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert one == other


# --- pyarrow


def test_pyarrow_reads_shards(made):
    for split, rows in made.rows.items():
        found: Rows = []
        for path in made.shards(split):
            with pa.memory_map(str(path)) as file:
                found += pa.ipc.open_file(file).read_all().to_pylist()
        same(found, rows)
        dataset = pyarrow.dataset.dataset([str(path) for path in made.shards(split)], format="ipc")
        same(dataset.to_table().to_pylist(), rows)
        assert dataset.count_rows(filter=pyarrow.dataset.field("part") == 0) == sum(row["part"] == 0 for row in rows)


def test_pyarrow_reads_an_export(made):
    for split, rows in made.rows.items():
        same([row for path in made.files(split) for row in pq.read_table(path).to_pylist()], rows)
        same(pyarrow.dataset.dataset([str(path) for path in made.files(split)]).to_table().to_pylist(), rows)


# --- polars


def test_polars_reads_shards(made):
    for split, rows in made.rows.items():
        same(polars.scan_ipc(made.shards(split)).collect().to_dicts(), rows)
        same([row for path in made.shards(split) for row in polars.read_ipc(path).to_dicts()], rows)


def test_polars_reads_an_export(made):
    for split, rows in made.rows.items():
        same(polars.scan_parquet(made.files(split)).collect().to_dicts(), rows)
        long = polars.scan_parquet(made.files(split)).filter(polars.col("input_ids").list.len() > 20).collect()
        assert long.height == sum(len(row["input_ids"]) > 20 for row in rows)


# --- duckdb


def test_duckdb_reads_shards_through_arrow(made):
    """All columns but those of float16, which it does not take from Arrow."""
    for split, rows in made.rows.items():
        shards = pyarrow.dataset.dataset([str(path) for path in made.shards(split)], format="ipc")
        columns = [field.name for field in shards.schema if field.type != pa.list_(pa.float16())]
        with duckdb.connect() as connection:
            connection.register("shards", shards.scanner(columns).to_reader())
            found = connection.sql("SELECT * FROM shards").to_arrow_table().to_pylist()
            same(found, [{name: row[name] for name in columns} for row in rows])


def test_duckdb_reads_an_export(made):
    for split, rows in made.rows.items():
        with duckdb.connect() as connection:
            files = [str(path) for path in made.files(split)]
            found = connection.read_parquet(files)
            same(found.to_arrow_table().to_pylist(), rows)
            ((count,),) = found.aggregate("sum(len(input_ids))").fetchall()
            assert count == sum(len(row["input_ids"]) for row in rows)


# --- Hugging Face datasets

LOAD = """
import json, socket, sys

def refused(*arguments):
    raise AssertionError(f"a connection is opened: {arguments}")

socket.socket.connect = socket.getaddrinfo = refused
import datasets

given = json.load(open(sys.argv[1], encoding="utf-8"))
cache = {"cache_dir": given["cache"]}


def same(found, wanted):
    assert len(found) == len(wanted) > 0, (len(found), len(wanted))
    for one, other in zip(found, wanted):
        assert one == other, (one, other)


for split, rows in given["rows"].items():
    shards, files, name = given["shards"][split], given["files"][split], split.replace("-", "_")
    for kind, paths in (("arrow", shards), ("parquet", files)):
        for streaming in (False, True):
            found = datasets.load_dataset(kind, data_files={name: paths}, split=name, streaming=streaming, **cache)
            same(list(found), rows)
    for path, more in ((given["hub"], {}), ("parquet", {"data_dir": given["hub"]})):
        for streaming in (False, True):
            found = datasets.load_dataset(path, split=name, streaming=streaming, **cache, **more)
            same(list(found), rows)

builder = datasets.load_dataset_builder(given["hub"], **cache)
loaded = datasets.load_dataset(given["hub"], **cache)
assert set(loaded) == {split.replace("-", "_") for split in given["rows"]}
for name, split in loaded.items():
    assert builder.info.features == split.features, (builder.info.features, split.features)
    assert builder.info.splits[name].num_examples == len(split)
assert builder.info.download_size == given["bytes"]
print("the same")
"""
"""Run in a process of its own, which opens no connection and keeps its files in a folder that is given."""


def test_datasets_reads_shards_and_exports(made, tmp_path):
    given = {
        "rows": made.rows,
        "shards": {split: [str(path) for path in made.shards(split)] for split in made.rows},
        "files": {split: [str(path) for path in made.files(split)] for split in made.rows},
        "hub": str(made.hub),
        "cache": str(tmp_path / "cache"),
        "bytes": sum(path.stat().st_size for path in made.hub.rglob("*.parquet")),
    }
    (tmp_path / "given.json").write_text(json.dumps(given), encoding="utf-8")
    alone = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
    alone |= {"HF_HOME": str(tmp_path / "home"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "USE_TORCH": "0"}
    result = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "given.json")],
        env=os.environ | alone,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.endswith("the same\n")
