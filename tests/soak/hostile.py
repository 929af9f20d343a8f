"""Files of a dataset that an attacker wrote, whose digests an attacker's manifest states: in a child process, each ends in a
`Failure` or in rows that can be collated, in less memory than twice the file and a constant.

`python -m tests.soak.hostile --count 10000` tries so many, bombs first, each by its number: `--first NUMBER --count 1` does so
again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import mcd
from mcd.compiler.audit.dataset import verify_dataset
from mcd.compiler.stored import sealed
from mcd.dsl.diagnostics import Failure

from .everything import write_everything
from .forged import ARROW, BOMBS, anywhere, moved
from .forged_text import other_json, other_tensors

ROOT = Path(__file__).parents[2]
CONSTANT = 192 << 20
"""Bytes of memory that opening may take whatever a file has."""
CHUNK = 500
"""How many files a child process tries."""


def forged(out: Path, number: int) -> tuple[Path, str, bytes]:
    """File `number`: in the place of which of the dataset, made how, its content. Below 0 are the bombs, counted from the end."""
    if number < 0:
        path = out / "shards/train/00000.arrow"
        return path, BOMBS[number].__name__, BOMBS[number](path.read_bytes())
    random = Random(number)
    files = sorted(path for path in out.rglob("*") if path.is_file())
    arrow = [path for path in files if path.suffix == ".arrow" and "shards" in path.parts]
    others = [path for path in files if path not in arrow]
    path = random.choice(arrow) if random.random() < 0.6 else random.choice(others)
    kinds = {".arrow": ARROW, ".json": (other_json,), ".jsonl": (anywhere, moved), ".safetensors": (other_tensors,)}
    way = random.choice(kinds[path.suffix])
    return path, way.__name__, way(path.read_bytes(), random)


def stated(good: Path, bad: Path, path: Path, data: bytes) -> None:
    """Write a file into the dataset `bad`, a copy of `good`, and let its manifest, and what tells of its measures, state it."""
    bad.joinpath(path.relative_to(good)).write_bytes(data)
    if path.name != "manifest.json":
        _restate(good, bad, "manifest.json", path, data)
    if path.suffix == ".arrow":
        _restate(good, bad, "measures/ref.json", path, data)
    elif path.parent.name == "measures" or path.name == "manifest.json":
        text = data.decode(errors="replace")
        bad.joinpath(path.relative_to(good)).write_bytes(
            data if text.count('\n "checksum": null') != 1 else _seal(text)
        )


def _seal(text: str) -> bytes:
    return sealed(text).encode()


def _restate(good: Path, bad: Path, name: str, path: Path, data: bytes) -> None:
    found = json.loads((good / name).read_text()) | {"checksum": None}
    _entries(found, path.relative_to(good).as_posix(), data)
    (bad / name).write_bytes(_seal(json.dumps(found, indent=1, sort_keys=True) + "\n"))


def _entries(value: Any, path: str, data: bytes) -> None:
    """Let every entry of a path state its new content."""
    if isinstance(value, dict):
        if value.get("path") == path and "sha256" in value:
            value |= {"sha256": hashlib.sha256(data).hexdigest()} | ({"bytes": len(data)} if "bytes" in value else {})
        for inner in value.values():
            _entries(inner, path, data)
    elif isinstance(value, list):
        for inner in value:
            _entries(inner, path, data)


def tried(out: Path) -> str:
    """How opening a dataset and collating its rows ends."""
    try:
        dataset = mcd.load(out)
        rows = dataset.rows(range(len(dataset)))
        mcd.Collator(dataset.plan)(rows)
    except Failure as failure:
        return failure.diagnostics[0].code.id
    return "valid"


def peak() -> int:
    """The most resident memory since `forget`, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def forget() -> int:
    """Begin to measure anew; the resident memory now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def child(good: Path, first: int, count: int) -> None:
    """Tries files one after another, and prints a line for each: its number, how it ended, and what it was."""
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    with tempfile.TemporaryDirectory() as folder:
        bad = Path(folder) / "bad"
        shutil.copytree(good, bad)
        tried(bad)
        for number in range(first, first + count):
            path, way, data = forged(good, number)
            print(json.dumps({"number": number, "began": True}), flush=True)
            stated(good, bad, path, data)
            said: dict[str, Any] = {"number": number, "way": way, "file": path.relative_to(good).parts[0]}
            before = forget()
            try:
                said["end"] = tried(bad)
                said["memory"] = peak() - before - 2 * len(data)
                said["verify"] = bool(verify_dataset(bad).findings)
            except BaseException as error:
                said["end"] = f"{type(error).__name__}: {error}"[:200]
                said["trace"] = traceback.format_exc()[-1500:]
            print(json.dumps(said), flush=True)
            for changed in (path.relative_to(good), "manifest.json", "measures/ref.json"):
                bad.joinpath(changed).write_bytes((good / changed).read_bytes())


def run(good: Path, first: int, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """What came of files `first` to `first + count`, and what of it must not be."""
    found: list[dict[str, Any]] = []
    wrong: list[str] = []
    while count > 0:
        chunk = min(count, CHUNK)
        command = [
            sys.executable,
            "-m",
            __spec__.name,
            "--child",
            str(good),
            "--first",
            str(first),
            "--count",
            str(chunk),
        ]
        environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        found += [line for line in lines if "end" in line]
        last = max((line["number"] for line in lines), default=first)
        if ended.returncode:
            wrong.append(f"{last}: the process ended with {ended.returncode}: {ended.stderr[-300:]}")
        count -= last + 1 - first
        first = last + 1
    for one in found:
        if one["end"] != "valid" and not one["end"].startswith("MCD"):
            wrong.append(f"{one['number']}: {one['way']} of {one['file']}: {one['end']}\n{one.get('trace', '')}")
        elif one["memory"] > CONSTANT:
            wrong.append(
                f"{one['number']}: {one['way']} of {one['file']}: {one['memory'] >> 20} MiB more than twice the file"
            )
        elif one["end"] != "valid" and not one["verify"]:
            wrong.append(f"{one['number']}: {one['way']} of {one['file']}: {one['end']}, and `mcd verify` sees nothing")
    return found, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=-len(BOMBS), help="the bombs come before 0")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        child(given.child, given.first, given.count)
        return 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found, wrong = run(write_everything(Path(folder)), given.first, given.count)
    ends = Counter(
        (one["file"], one["end"] if one["end"] == "valid" or one["end"][:3] == "MCD" else "wrong") for one in found
    )
    for (file, end), count in sorted(ends.items()):
        print(f"{file:<20} {end:<8} {count:>6}")
    most = max((one["memory"] for one in found if "memory" in one), default=0) >> 20
    print(
        f"{len(found)} in {time.monotonic() - begin:.0f} s, at most {most} MiB more than twice the file, {len(wrong)} wrong"
    )
    print("\n".join(wrong[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
