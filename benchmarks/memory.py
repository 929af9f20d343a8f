"""The peak of resident memory while `mcd compile` runs: for little and for much text, for one huge record, for very many spans.

    python benchmarks/memory.py [--megabytes 100 1000] [--workers 1 2] [--characters N] [--cases text record spans]

- `text`: the project of `project.py` in every size; the ratio of the largest to the smallest is what should be 1,
- `record`: one record of 15 MB,
- `spans`: 100,000 records of 1,000 spans each.

Two numbers: the peak of the largest process, which the kernel keeps, and that of all processes together. The second is a sum of
shares (a page that n processes have in common counts 1/n in each), so that a spike may fall between two looks, 0.2 s apart. Needs
Linux. Memory does not depend on how busy the machine is; the seconds do.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mcd.benchmarks.command import compiling
from mcd.benchmarks.project import LONG, write_project

PAUSE = 0.2
"""Seconds between two looks at the processes: adding up the pages of a large one takes some 20 ms."""

HUGE = 15
"""Megabytes of the one record."""
MANY, EACH = 100_000, 1000
"""Records, and spans in each."""

LETTERS = """mcd 1
model bench {
  layers = 6  heads = 6  hidden = 384  vocab = 8000  causal = true
  tokenizer = "tokenizer.json"
  context = 2048
}
source text = jsonl("text.jsonl") { id = .id  text = "{.text}" }
span letter = regex("[a-z]")
signal each: letter { layers = 3  classify = .label  classes = 4 }
"""


@dataclass(frozen=True, slots=True)
class Peak:
    """Megabytes at the peak of the largest process and of all together, and seconds on the clock."""

    largest: float
    together: float
    seconds: float


def peak(arguments: list[str]) -> Peak:
    """Runs a command to its end. Fails with what it says where it fails."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=said)
        watcher = Watcher(process.pid)
        watcher.start()
        process.wait()
        watcher.stop()
        said.seek(0)
        assert process.returncode == 0, said.read().decode(errors="replace")
    return Peak(watcher.largest, max(watcher.together, watcher.largest), time.perf_counter() - begin)


class Watcher(threading.Thread):
    """Looks at a process and all below it until told to stop, and keeps the most megabytes seen.

    `largest` is read from the kernel's mark, since what `wait4` tells begins at the size of the process that started this one.
    """

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.largest = self.together = 0.0
        self._process = process
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(PAUSE):
            found = list(family(self._process))
            self.largest = max(self.largest, *(megabytes(each, "status", "VmHWM:") for each in found))
            self.together = max(self.together, sum(megabytes(each, "smaps_rollup", "Pss:") for each in found))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def family(process: int) -> Iterator[int]:
    """A process and all that it started, as far as they are there."""
    yield process
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from family(int(child))


def megabytes(process: int, file: str, key: str) -> float:
    """A line of what the kernel tells of a process; 0 where that has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/{file}").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) / 1024
    return 0.0


def one_record(folder: Path, megabytes: float) -> Path:
    """A project with one record of so many megabytes."""
    spec = write_project(folder, LONG, megabytes)
    lines = (folder / "text.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    whole = {**records[0], "premise": " ".join(record["premise"] + " " + record["answer"] for record in records)}
    (folder / "text.jsonl").write_text(json.dumps(whole) + "\n", encoding="utf-8")
    return spec


def many_spans(folder: Path, records: int) -> Path:
    """A project with so many records of 1,000 spans, each of one letter."""
    spec = write_project(folder, LONG, 0)
    rng = random.Random(0)
    with (folder / "text.jsonl").open("w", encoding="utf-8") as lines:
        for number in range(records):
            text = " ".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=EACH))
            lines.write(json.dumps({"id": str(number), "text": text, "label": 1}) + "\n")
    spec.write_text(LETTERS, encoding="utf-8")
    return spec


def report(name: str, spec: Path, workers: int) -> Peak:
    """Compiles with so many workers, and prints what that took."""
    with tempfile.TemporaryDirectory(dir=spec.parent) as out:
        found = peak(compiling(spec, Path(out) / "out", workers))
    print(f"{name:<34}{workers:>8}{found.largest:>12.0f}{found.together:>12.0f}{found.seconds:>10.0f}", flush=True)
    return found


def texts(sizes: list[float], characters: int, workers: list[int]) -> None:
    """Every size, and the ratio of the largest to the smallest."""
    found: dict[int, list[Peak]] = {count: [] for count in workers}
    for size in sorted(sizes):
        with tempfile.TemporaryDirectory() as folder:
            spec = write_project(Path(folder), characters, size)
            for count in workers:
                found[count].append(report(f"{size:g} MB of text", spec, count))
    for count, peaks in found.items():
        if len(peaks) > 1:
            ratio, together = peaks[-1].largest / peaks[0].largest, peaks[-1].together / peaks[0].together
            print(f"{max(sizes):g} MB over {min(sizes):g} MB, {count} workers: {ratio:.2f}, together {together:.2f}")


def main() -> None:
    """The cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[100.0, 1000.0], help="of text")
    parser.add_argument("--characters", type=int, default=LONG, help="of a record of text, about")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--huge", type=float, default=HUGE, help="megabytes of the one record")
    parser.add_argument("--many", type=int, default=MANY, help="records of 1,000 spans")
    parser.add_argument("--cases", nargs="+", default=["text", "record", "spans"], choices=["text", "record", "spans"])
    options = parser.parse_args()
    print(f"{'MB at the peak':<34}{'workers':>8}{'largest':>12}{'together':>12}{'seconds':>10}")
    if "text" in options.cases:
        texts(options.megabytes, options.characters, options.workers)
    made = {
        "record": (f"one record of {options.huge:g} MB", one_record, options.huge),
        "spans": (f"{options.many:,} records of {EACH:,} spans", many_spans, options.many),
    }
    for case, (name, make, size) in made.items():
        if case in options.cases:
            with tempfile.TemporaryDirectory() as folder:
                spec = make(Path(folder), size)
                for count in options.workers:
                    report(name, spec, count)


if __name__ == "__main__":
    main()
