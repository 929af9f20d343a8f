"""What compiling again costs after an edit, over the first time and over a bare `encode_batch_fast` of the same text.

The project is that of benchmarks/compile.py (records of about 400 characters), in files of one task each, or in one file that is
cut into about as many tasks as one of gigabytes. Times are CPU seconds of one process. Each edit is made, compiled, and undone,
in turn, so that what is compared ran within the same minutes. Printed: medians, and the ratios of the first compilation with the
cache, and of the library, over each.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from mcd.benchmarks.command import read
from mcd.benchmarks.compile import cpu_seconds, make_project
from mcd.compiler.cache.cache import CacheFolder
from mcd.compiler.compile import compile_program
from mcd.compiler.sources import lines
from mcd.compiler.tokens.tokenize import Encoder

TASKS = 100
RECORD = 400
FIRST, FIRST_PLAIN, BARE = "first, with the cache", "first, --no-cache", "encode_batch_fast"

SPEC_EDITS = {
    "a changed span": ('regex("[0-9]+|', 'regex("[0-9]{2,}|'),
    "a changed attention rule": ("pick = nearest", "pick = last"),
    "a field that no rule read before": ("classify = .label", "classify = .mark"),
    "layers and weights": ("factor = 0.5", "factor = 0.25"),
}


@dataclass(frozen=True)
class Bench:
    """A project on disk: its folder, the dataset that is compiled again and again, and the rendered texts."""

    folder: Path
    texts: list[str]

    def compile(self, cached: bool = True) -> None:
        cache = CacheFolder.of_project(self.folder) if cached else None
        compile_program(read(self.folder / "bench.mcd"), self.folder / "out", cache=cache)

    def fresh(self) -> None:
        """Nothing is compiled or kept."""
        for name in ("out", ".mcd-cache"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def after(self, edits: dict[Path, bytes]) -> float:
        """CPU seconds of compiling with other contents of files; what stood there, and was compiled of it, is put back."""
        before = {path: path.read_bytes() for path in edits}
        shutil.copytree(self.folder / "out", self.folder / "kept")
        shutil.copytree(self.folder / ".mcd-cache", self.folder / "kept-cache")
        for path, content in edits.items():
            path.write_bytes(content)
        seconds = cpu_seconds(self.compile)
        for path, content in before.items():
            path.write_bytes(content)
        self.fresh()
        (self.folder / "kept").rename(self.folder / "out")
        (self.folder / "kept-cache").rename(self.folder / ".mcd-cache")
        return seconds


def tokenizers() -> dict[str, Callable[[], tuple[Tokenizer, trainers.Trainer]]]:
    """Kinds of tokenizer, untrained, and what trains them."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()

    def byte_level(normalizer: normalizers.Normalizer | None = None) -> tuple[Tokenizer, trainers.Trainer]:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        return tokenizer, trainers.BpeTrainer(vocab_size=8000, initial_alphabet=alphabet, show_progress=False)

    def word_piece() -> tuple[Tokenizer, trainers.Trainer]:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return tokenizer, trainers.WordPieceTrainer(vocab_size=8000, special_tokens=["[UNK]"], show_progress=False)

    def byte_fallback() -> tuple[Tokenizer, trainers.Trainer]:
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
        return tokenizer, trainers.BpeTrainer(vocab_size=8000, special_tokens=special, show_progress=False)

    return {
        "byte-level BPE": byte_level,
        "WordPiece": word_piece,
        "BPE with byte fallback": byte_fallback,
        "byte-level BPE, lower case": lambda: byte_level(normalizers.Lowercase()),
    }


def prepare(folder: Path, kind: str, megabytes: float, files: int) -> Bench:
    """The project, in `files` files, with a tokenizer of this kind."""
    texts = make_project(folder, RECORD, megabytes)
    tokenizer, trainer = tokenizers()[kind]()
    tokenizer.train_from_iterator(texts[:5000], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    records = (folder / "text.jsonl").read_text("utf-8").splitlines()
    marked = [json.dumps({**json.loads(record), "mark": number % 4}) + "\n" for number, record in enumerate(records)]
    for number in range(files):
        part = marked[number * len(marked) // files : (number + 1) * len(marked) // files]
        (folder / f"text-{number:03}.jsonl").write_text("".join(part), encoding="utf-8")
    (folder / "text.jsonl").unlink()
    spec = (folder / "bench.mcd").read_text("utf-8").replace('jsonl("text.jsonl")', 'jsonl("text-*.jsonl")')
    (folder / "bench.mcd").write_text(spec, encoding="utf-8")
    return Bench(folder, texts)


def edits(bench: Bench) -> dict[str, dict[Path, bytes]]:
    """What is edited: contents by file."""
    spec = bench.folder / "bench.mcd"
    text = spec.read_text("utf-8")
    found: dict[str, dict[Path, bytes]] = {"nothing": {}}
    for name, (old, new) in SPEC_EDITS.items():
        assert old in text, old
        found[name] = {spec: text.replace(old, new).encode()}
    files = sorted(bench.folder.glob("text-*.jsonl"))
    first = files[len(files) // 2]
    records = first.read_bytes().splitlines(keepends=True)
    count = max(1, len(bench.texts) // 100)
    middle = max(0, len(records) // 2 - count // 2)
    changed = [_edited(line) if middle <= number < middle + count else line for number, line in enumerate(records)]
    found["1% of the records, in one place"] = {first: b"".join(changed)}
    found["1% of the records, scattered"] = {
        file: b"".join(
            _edited(line) if number % 100 == 50 else line
            for number, line in enumerate(file.read_bytes().splitlines(keepends=True))
        )
        for file in files
    }
    return found


def _edited(line: bytes) -> bytes:
    return line.replace(b'"body": "', b'"body": "so ', 1)


def compare(kind: str, megabytes: float, files: int, rounds: int) -> None:
    """Alternate all sides and print their ratios."""
    with tempfile.TemporaryDirectory() as name:
        bench = prepare(Path(name), kind, megabytes, files)
        tokenizer = Tokenizer.from_file(str(bench.folder / "tokenizer.json"))

        def bare() -> None:
            for start in range(0, len(bench.texts), 1024):
                tokenizer.encode_batch_fast(bench.texts[start : start + 1024])

        sides: dict[str, list[float]] = {}
        for _ in range(rounds):
            bench.fresh()
            sides.setdefault(FIRST_PLAIN, []).append(cpu_seconds(lambda: bench.compile(cached=False)))
            bench.fresh()
            sides.setdefault(FIRST, []).append(cpu_seconds(bench.compile))
            sides.setdefault(BARE, []).append(cpu_seconds(bare))
            for edit, contents in edits(bench).items():
                sides.setdefault(edit, []).append(bench.after(contents))
        kept = sum(path.stat().st_size for path in (bench.folder / ".mcd-cache").glob("*.tokens"))
        read_bytes = sum(path.stat().st_size for path in bench.folder.glob("text-*.jsonl"))
        fast = Encoder(bench.folder / "tokenizer.json").fast
    size = sum(len(text.encode()) for text in bench.texts)
    print(
        f"{kind} ({'places by length' if fast else 'places by the library'}), {files} files, {size / 1e6:.1f} MB of text"
    )
    print(f"  the cache holds {kept / read_bytes:.2f} of the sources' bytes")
    print(f"  {'':<34} {'seconds':>8} {'first/it':>9} {'bare/it':>8}")
    for side, seconds in sides.items():
        ratios = (
            statistics.median(other / own for own, other in zip(seconds, sides[name], strict=True))
            for name in (FIRST, BARE)
        )
        first, library = ratios
        print(f"  {side:<34} {statistics.median(seconds):8.2f} {first:9.2f} {library:8.2f}")


def main() -> None:
    """Every kind of tokenizer with many files, and the first with one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=16.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=TASKS)
    parser.add_argument("--kind", choices=list(tokenizers()), action="append")
    options = parser.parse_args()
    kinds = options.kind or list(tokenizers())
    for kind in kinds:
        compare(kind, options.megabytes, options.files, options.rounds)
    lines.TASK_BYTES = max(1, int(options.megabytes * 1e6 / TASKS))
    compare(kinds[0], options.megabytes, 1, options.rounds)


if __name__ == "__main__":
    main()
