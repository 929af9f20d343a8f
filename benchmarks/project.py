"""A project to compile: a spec, a tokenizer, 1,000 phrases, and as much text as is asked for, the same every time.

    python benchmarks/project.py DIR [--characters N] [--megabytes N]

The text is sentences, each a definition of WordNet (specs/wordnet), drawn anew for every record, so that no record comes twice
but by chance. A record has four fields that a template joins. The spec finds phrases, a pattern and a slot, intersects two of
them, joins two, and reads a label and a weight of every record. The tokenizer is a byte-level BPE of 8,000 tokens.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from mcd.benchmarks.texts import definitions, write_tokenizer

SHORT, LONG = 200, 4000
"""Characters of a record, about."""

SPEC = """mcd 1

model bench {
  layers = 6  heads = 6  hidden = 384  vocab = 8000  causal = true
  tokenizer = "tokenizer.json"
  context = 2048
}
source text = jsonl("text.jsonl") {
  id   = .id
  text = "{.title}: {.premise} Question: {.question} Answer: {.answer}"
}

span term   = phrases(file: "phrases.txt")
span name   = regex("[0-9]+|[A-Z][a-z]+")
span answer = slot(.answer)
span inside = term in answer

attend link: inside -> name where key before query { pick = nearest  layers = 3  heads = any }
signal kind: inside { layers = 3  classify = .label  classes = 4 }
weigh reply: answer { factor = .weight }
"""


def records(characters: int, megabytes: float) -> Iterator[dict[str, str | int | float]]:
    """Records of about `characters` each, in all at least so many megabytes of rendered text."""
    rng = random.Random(0)
    sentences = [f"{text[0].upper()}{text[1:]}." for text in definitions()]
    typical = sum(map(len, sentences)) / len(sentences) + 1
    count = max(1, round((characters - typical) / typical / 2))
    number, left = 0, megabytes * 1e6
    while left > 0:
        title, *rest = rng.choices(sentences, k=2 * count + 1)
        record = {
            "id": str(number),
            "title": title.split(";")[0].rstrip(".")[:40].rstrip(),
            "premise": " ".join(rest[:count]),
            "question": f"what did they say of it in {rng.randrange(1500, 2000)}?",
            "answer": " ".join(rest[count:]),
            "label": rng.randrange(4),
            "weight": rng.randrange(1, 9) / 2,
        }
        yield record
        left -= sum(len(value) for value in record.values() if isinstance(value, str)) + len(":  Question:  Answer: ")
        number += 1


def write_project(folder: Path, characters: int, megabytes: float) -> Path:
    """The project in a folder that is there; gives the path of its spec."""
    texts = definitions()
    words = sorted({word for text in texts for word in text.split() if len(word) > 4 and word.isalpha()})
    chosen = random.Random(0).sample(words, 1000)
    (folder / "phrases.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    with (folder / "text.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records(characters, megabytes))
    write_tokenizer(texts, folder / "tokenizer.json")
    (folder / "mcd.toml").touch()
    spec = folder / "bench.mcd"
    spec.write_text(SPEC, encoding="utf-8")
    return spec


def main() -> None:
    """Write one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--characters", type=int, default=LONG, help="of a record, about")
    parser.add_argument("--megabytes", type=float, default=8.0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(write_project(options.folder, options.characters, options.megabytes))


if __name__ == "__main__":
    main()
