"""Compile throughput over a bare `encode_batch_fast` of the same rendered text, in CPU seconds of one process.

The spec has 1,000 or 10,000 phrases, a regular expression, a slot, an algebra of them and one join, over a template of four
fields; a second one adds a rule on every token outside the phrases. Two texts, in records of about 200 and about 4,000
characters: WordNet's definitions (specs/wordnet), drawn with replacement, so that few words are new; and the docstrings of the
standard library and of installed packages, each once, in the order of their files. The tokenizer is a byte-level BPE of 8,000
tokens trained on the text. Printed: the median of the paired ratios, lowest to highest, and the shares of the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer

from mcd.benchmarks.command import read
from mcd.benchmarks.steps import steps
from mcd.benchmarks.texts import definitions, documentation, phrases, write_tokenizer
from mcd.compiler.compile import compile_program

SPEC = """mcd 1
model bench { layers = 6  heads = 6  hidden = 384  vocab = 8000  causal = true  tokenizer = "tokenizer.json"  context = 2048 }
source text = jsonl("text.jsonl") { id = .id  text = "{.head} ({.kind}): {.body} -- {.note}" }
span term = phrases(file: "phrases.txt")
span number = regex("[0-9]+|[A-Z][a-z]+")
span body = slot(.body)
span inside = term in body
attend link: inside -> number where key before query { pick = nearest  layers = 3  heads = any }
signal same: inside { layers = 3  classify = .label  classes = 4 }
weigh half: inside { factor = 0.5 }
"""

EVERY_TOKEN = "weigh rest: tokens - inside { factor = 0.5 }\n"
"""A rule that stores a span for nearly every token: the dearest thing that a spec can ask for."""


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call, of all threads of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def make_project(
    folder: Path, size: int, megabytes: float, texts: Sequence[str] | None = None, count: int = 1000
) -> list[str]:
    """A project with records of about `size` characters; gives the rendered texts. `texts` are used once each, in order; without
    them WordNet's definitions are drawn. `count`: of phrases."""
    rng = random.Random(0)
    known = definitions() if texts is None else list(texts)
    stream = map(rng.choice, repeat(known)) if texts is None else iter(known)
    records = list(_records(stream, rng, size, megabytes * 1e6))
    (folder / "phrases.txt").write_text("\n".join(phrases(known, count)) + "\n", encoding="utf-8")
    (folder / "text.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    write_tokenizer(known, folder / "tokenizer.json")
    (folder / "bench.mcd").write_text(SPEC, encoding="utf-8")
    (folder / "every.mcd").write_text(SPEC + EVERY_TOKEN, encoding="utf-8")
    (folder / "mcd.toml").touch()
    return [_rendered(record) for record in records]


def _records(stream: Iterator[str], rng: random.Random, size: int, total: float) -> Iterator[dict[str, object]]:
    """Records until their texts have `total` characters, or the texts are used up."""
    number = written = 0
    body = ""
    for text in chain.from_iterable(_pieces(text, size) for text in stream):
        body = f"{body}; {text}" if body else text
        if len(body) < size:
            continue
        head, note = body[:30].split("\n")[0], body[-20:]
        kind = rng.choice(("noun", "verb", "adverb"))
        record = {"id": str(number), "head": head, "kind": kind, "body": body[:size], "note": note, "label": 1}
        yield record
        number, written, body = number + 1, written + len(_rendered(record)), ""
        if written >= total:
            return


def _pieces(text: str, size: int) -> list[str]:
    """A text in pieces of a record at most."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def _rendered(record: dict[str, object]) -> str:
    """What the template of the spec gives."""
    return "{head} ({kind}): {body} -- {note}".format_map(record)


def compare(name: str, texts: Sequence[str] | None, size: int, count: int, options: argparse.Namespace) -> None:
    """Alternate the sides and print their ratios."""
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        rendered = make_project(folder, size, options.megabytes, texts, count)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        programs = {"compile": read(folder / "bench.mcd"), "compile, every token": read(folder / "every.mcd")}

        def bare() -> None:
            for start in range(0, len(rendered), 1024):
                tokenizer.encode_batch_fast(rendered[start : start + 1024])

        sides: dict[str, list[float]] = {name: [] for name in ("encode_batch_fast", *programs)}
        for turn in range(options.rounds):
            sides["encode_batch_fast"].append(cpu_seconds(bare))
            for side, program in programs.items():
                out = folder / f"{side} {turn}"
                sides[side].append(cpu_seconds(lambda: compile_program(program, out)))  # noqa: B023
        with steps() as found:
            compile_program(programs["compile"], folder / "steps")
    megabytes = sum(len(text.encode()) for text in rendered) / 1e6
    print(f"{name}, records of about {size} characters, {megabytes:.1f} MB, {count:,} phrases")
    for side, seconds in sides.items():
        ratios = sorted(bare / mine for bare, mine in zip(sides["encode_batch_fast"], seconds, strict=True))
        rate = f"{megabytes / statistics.median(seconds):6.2f} MB per CPU second"
        print(f"  {side:<20} {rate}, ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    whole = found.seconds.total()
    order = ("read", "render", "tokenise", "match", "align", "write", "other")
    print("  " + "  ".join(f"{step} {found.seconds[step] / whole:.0%}" for step in order))


def main() -> None:
    """Both texts, both record sizes, both numbers of phrases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    documented = documentation(options.megabytes * 1.2)
    for name, texts in (("WordNet's definitions", None), ("documentation", documented)):
        for size in (200, 4000):
            for count in (1000, 10_000):
                compare(name, texts, size, count, options)


if __name__ == "__main__":
    main()
