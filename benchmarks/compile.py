"""Compile throughput over a bare `encode_batch` of the same text, in CPU seconds of one process.

The spec has 1,000 phrases, a regular expression, a slot, an algebra of them and one join; a second one adds a rule on every
token outside the phrases. The text is WordNet's definitions
(specs/wordnet), strung together to records of about 200 and about 4,000 characters; the tokenizer is a byte-level BPE of 8,000
tokens trained on it. Both sides get the same rendered text. Printed: the median of the paired ratios, lowest to highest.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mcd.compiler.compile import compile_program
from mcd.dsl.check import check
from mcd.dsl.checked import Program

DEFINITIONS = Path(__file__).parent.parent / "specs" / "wordnet" / "data"

SPEC = """mcd 1
model bench {{ layers = 6  heads = 6  hidden = 384  vocab = 8000  causal = true  tokenizer = "tokenizer.json"  context = 2048 }}
source text = jsonl("text.jsonl") {{ id = .id  text = "{{.head}}: {{.body}}" }}
span term = phrases(file: "phrases.txt")
span number = regex("[0-9]+|[A-Z][a-z]+")
span body = slot(.body)
span inside = term in body
attend link: inside -> number where key before query {{ pick = nearest  layers = 3  heads = any }}
signal same: inside {{ layers = 3  classify = .label  classes = 4 }}
weigh half: inside {{ factor = 0.5 }}
"""

EVERY_TOKEN = "weigh rest: tokens - inside { factor = 0.5 }\n"
"""A rule that stores a span for nearly every token: the dearest thing that a spec can ask for."""


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call, of all threads of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def definitions() -> list[str]:
    """WordNet's definitions, as committed with the spec."""
    lines = (line for path in sorted(DEFINITIONS.glob("*.jsonl")) for line in path.open(encoding="utf-8"))
    return [json.loads(line)["definition"] for line in lines]


def read(spec: Path) -> Program:
    """The checked program of a spec that has no error."""
    program, findings = check(spec)
    assert program is not None, [f"{item.code.id} {item.message}" for item in findings.items]
    return program


def make_project(folder: Path, size: int, megabytes: float) -> list[str]:
    """A project with records of about `size` characters; gives the rendered texts."""
    rng = random.Random(0)
    texts = definitions()
    rendered, records = [], []
    total = 0
    while total < megabytes * 1e6:
        body: list[str] = []
        while sum(map(len, body)) < size:
            body.append(rng.choice(texts))
        record = {"id": str(len(records)), "head": rng.choice(texts)[:30], "body": "; ".join(body)[:size], "label": 1}
        records.append(record)
        rendered.append(f"{record['head']}: {record['body']}")
        total += len(rendered[-1])
    words = sorted({word for text in texts for word in text.split() if len(word) > 4})
    (folder / "phrases.txt").write_text("\n".join(rng.sample(words, 1000)) + "\n", encoding="utf-8")
    (folder / "text.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=8000, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "bench.mcd").write_text(SPEC.format(), encoding="utf-8")
    (folder / "every.mcd").write_text(SPEC.format() + EVERY_TOKEN, encoding="utf-8")
    (folder / "mcd.toml").touch()
    return rendered


def compare(size: int, megabytes: float, rounds: int) -> None:
    """Alternate the two sides and print their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rendered = make_project(folder, size, megabytes)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        programs = {"compile": read(folder / "bench.mcd"), "compile, every token": read(folder / "every.mcd")}

        def bare(encode: Callable[[list[str]], object]) -> None:
            for start in range(0, len(rendered), 1024):
                encode(rendered[start : start + 1024])

        sides: dict[str, list[float]] = {name: [] for name in (*programs, "encode_batch", "encode_batch_fast")}
        for turn in range(rounds):
            for name, program in programs.items():
                out = folder / f"{name} {turn}"
                sides[name].append(cpu_seconds(lambda: compile_program(program, out)))  # noqa: B023
            sides["encode_batch"].append(cpu_seconds(lambda: bare(tokenizer.encode_batch)))
            sides["encode_batch_fast"].append(cpu_seconds(lambda: bare(tokenizer.encode_batch_fast)))
    size_mb = sum(len(text.encode()) for text in rendered) / 1e6
    print(f"records of about {size} characters, {size_mb:.1f} MB")
    for side, seconds in sides.items():
        print(f"  {side:<20} {size_mb / statistics.median(seconds):6.2f} MB per CPU second")
    for name in programs:
        for reference in ("encode_batch", "encode_batch_fast"):
            ratios = sorted(r / c for c, r in zip(sides[name], sides[reference], strict=True))
            print(f"  {name} over {reference}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def main() -> None:
    """Both record sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for size in (200, 4000):
        compare(size, options.megabytes, options.rounds)


if __name__ == "__main__":
    main()
