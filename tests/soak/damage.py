"""Damage done to a dataset at random: bits that flip, files that end early. Every one has to be found before a row is served.

`python -m tests.soak.damage --count 1000` does that many of each, each by its number: `--first NUMBER --count 1` tries one again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from mcd.compiler.audit.dataset import verify_dataset
from mcd.dsl.diagnostics import Failure
from mcd.runtime.dataset import load

from .everything import write_everything


def files(out: Path) -> list[Path]:
    """All of a dataset, in order."""
    return sorted(path for path in out.rglob("*") if path.is_file())


@contextmanager
def holding(path: Path, data: bytes) -> Iterator[None]:
    """A file with another content, for a while."""
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)


def served(out: Path) -> bool:
    """Whether the runtime serves a row."""
    try:
        load(out).rows([0])
    except Failure:
        return False
    return True


def passed(out: Path, path: Path, data: bytes) -> list[str]:
    """Who does not see that a file has another content."""
    with holding(path, data):
        found = verify_dataset(out)
        blind = ["runtime"] if served(out) else []
        return blind if found.failed else [*blind, "verify"]


def flipped(data: bytes, random: np.random.Generator) -> bytes:
    """A content with one bit that flipped."""
    changed = bytearray(data)
    changed[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def cut_short(data: bytes, random: np.random.Generator) -> bytes:
    """The beginning of a content."""
    return data[: int(random.integers(len(data)))]


def boundaries(path: Path) -> list[int]:
    """Where the record batches of an Arrow file begin and end."""
    with pa.memory_map(str(path)) as source:
        pa.ipc.open_file(source).get_batch(0)
        source.seek(8)  # behind the first bytes, the file is a stream
        places = []
        for message in pa.ipc.MessageReader.open_stream(source):
            places.append(source.tell())
            del message
    return places


def damages(out: Path, numbers: range) -> Iterator[tuple[str, Path, list[str]]]:
    """Flips a bit and cuts a file for each number: what was done, to which file, and who did not see it."""
    for number in numbers:
        for what, change in (("flip", flipped), ("cut", cut_short)):
            random = np.random.default_rng((number, what == "cut"))
            path = files(out)[int(random.integers(len(files(out))))]
            yield what, path, passed(out, path, change(path.read_bytes(), random))


def cuts_at_batches(out: Path) -> Iterator[tuple[Path, int, list[str]]]:
    """Cuts every Arrow file of a dataset at each boundary of its record batches."""
    for path in (path for path in files(out) if path.suffix == ".arrow"):
        for place in boundaries(path):
            yield path, place, passed(out, path, path.read_bytes()[:place])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    begin, done, missed = time.monotonic(), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        out = write_everything(Path(folder))
        for what, path, blind in damages(out, range(given.first, given.first + given.count)):
            done[f"{what} {path.relative_to(out).parts[0]}"] += 1
            missed += [(what, path, blind)] if blind else []
        for path, place, blind in cuts_at_batches(out):
            done["cut at a batch"] += 1
            missed += [(place, path, blind)] if blind else []
    for what, count in sorted(done.items()):
        print(f"{what:<28} {count:>6}")
    print(f"{sum(done.values())} in {time.monotonic() - begin:.0f} s, {len(missed)} not seen: {missed[:5]}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
