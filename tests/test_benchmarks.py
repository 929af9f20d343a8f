"""Benchmarks are run by hand; that they still start, and that they compare what is equal, is seen here at the smallest sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from mcd.benchmarks import memory, workers, writers
from mcd.benchmarks.by_hand import ByHand, Row, batches, dense
from mcd.benchmarks.command import read
from mcd.benchmarks.project import LONG, SHORT, records, write_project

FOLDER = Path(__file__).parents[1] / "benchmarks"
BENCHMARKS = [path for path in sorted(FOLDER.glob("*.py")) if "\ndef main()" in path.read_text(encoding="utf-8")]


def run(name: str, *arguments: str) -> str:
    """What a benchmark prints."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_starts(path: Path) -> None:
    """Everything that it imports is there."""
    assert run(path.stem, "--help").startswith("usage: ")


@pytest.mark.parametrize("characters", [SHORT, LONG])
def test_texts_are_the_same_every_time_and_none_comes_twice(characters: int) -> None:
    found = list(records(characters, 0.1))
    assert found == list(records(characters, 0.1))
    texts = [
        f"{each['title']}: {each['premise']} Question: {each['question']} Answer: {each['answer']}" for each in found
    ]
    assert len(set(texts)) == len(texts)
    assert sum(map(len, texts)) == pytest.approx(100_000, rel=0.05)
    assert sum(map(len, texts)) / len(texts) == pytest.approx(characters, rel=0.1)


# --- writers


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> writers.Job:
    folder = tmp_path_factory.mktemp("writers")
    return writers.Job(folder, read(write_project(folder, SHORT, 0.02)), ByHand(folder))


@pytest.fixture(scope="module")
def shards(job: writers.Job) -> list[Row]:
    writers.with_mcd(job, job.folder / "expected", 1)
    return list(writers.mcd_rows(job.folder / "expected"))


def test_user_code_gives_what_the_shards_hold(job: writers.Job, shards: list[Row]) -> None:
    with job.text.open("rb") as lines:
        found = [record for some in batches(lines) for record in some]
    rows = job.hand.rows(found)
    writers.equal(rows, shards, "by hand")
    examples = [job.hand.example(record) for record in found]
    assert examples == [{**writers.fields_of(row), **dense(row)} for row in rows]
    assert any(row.inside and row.link for row in rows)


def test_labels_and_weights_of_every_token() -> None:
    row = Row("a", [5, 6, 7, 8], answer=[1, 4], inside=[2, 3], link=[], label=3, weight=0.5)
    assert dense(row) == {"labels": [-100, -100, 3, -100], "weights": [1.0, 0.5, 0.5, 0.5]}


@pytest.mark.parametrize("change", [{"input_ids": [1]}, {"inside": [0, 1]}, {"link": [0, 1, 0, 1]}, {"weight": 9.0}])
def test_a_row_that_differs_is_found(shards: list[Row], change: dict[str, object]) -> None:
    with pytest.raises(AssertionError, match="by hand"):
        writers.equal([*shards[:-1], replace(shards[-1], **change)], shards, "by hand")


@pytest.mark.parametrize("side", writers.SIDES, ids=lambda side: side.name)
def test_a_tool_writes_what_the_shards_hold(
    side: writers.Side, job: writers.Job, shards: list[Row], tmp_path: Path
) -> None:
    if side.needs and not find_spec(writers.MODULES.get(side.needs, side.needs)):
        pytest.skip(f"{side.needs} is not installed")
    writers.prove(side, job, tmp_path / "out", 1, shards)


def test_writers_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    writers.compare(SHORT, 0.02, 1, 1)
    printed = capsys.readouterr().out
    assert "all wrote the same" in printed
    assert "  mcd " in printed
    for side in writers.SIDES[1:]:
        there = find_spec(writers.MODULES.get(side.needs, side.needs)) is not None
        assert (f"{side.name}: not measured" in printed) is not there


# --- memory, workers


TWO = """
import subprocess, sys, time
grow = [sys.executable, "-c", "x = bytearray(100 << 20); print(flush=True); input()"]
both = [subprocess.Popen(grow, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
for each in both:
    each.stdout.readline()
time.sleep(1.5)
for each in both:
    each.communicate(b"\\n")
"""


def test_the_peak_is_that_of_the_largest_process_and_of_all() -> None:
    found = memory.peak([sys.executable, "-c", TWO])
    assert 100 < found.largest < 150
    assert 200 < found.together < 300


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(AssertionError, match="no such thing"):
        memory.peak([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_memory_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = memory.report("little text", write_project(tmp_path, SHORT, 0.02), 1)
    assert 30 < found.largest <= found.together < 500
    assert capsys.readouterr().out.split()[:3] == ["little", "text", "1"]


@pytest.mark.slow
def test_memory_is_measured_in_every_case() -> None:
    printed = run("memory", "--megabytes", "0.02", "0.04", "--workers", "1", "--huge", "0.02", "--many", "2")
    assert [line[:33].strip() for line in printed.splitlines()[1:]] == [
        "0.02 MB of text",
        "0.04 MB of text",
        "0.04 MB over 0.02 MB, 1 workers:",
        "one record of 0.02 MB",
        "2 records of 1,000 spans",
    ]


def test_workers_are_not_measured_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (5.0, 5.0, 5.0))
    given = ["workers.py", "--workers", "1", "--rounds", "1", "--megabytes", "0.02", "--characters", "200"]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit, match="nothing is measured"):
        workers.main()
    monkeypatch.setattr(sys, "argv", [*given, "--anyway"])
    workers.main()
    printed = capsys.readouterr().out
    assert "1 workers: " in printed
    assert printed.endswith("no conclusion\n")


# --- step


@pytest.mark.slow
def test_a_step_is_timed_and_weighed_on_every_side() -> None:
    printed = run("step", "--shape", "tiny", "--tokens", "16", "--batch", "2", "--rounds", "1")
    assert printed.startswith("16 tokens x 2 records: plain ")
    assert [line.split()[0] for line in printed.splitlines()[1:]] == ["supervised", "weights", "states"]
