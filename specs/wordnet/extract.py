"""Reads WordNet's noun files and writes the extract that the demo uses: data/words.jsonl.

Run from the repository root, with Debian's package wordnet-base installed: `python -m specs.wordnet.extract`.

A word stands for its first (most frequent) sense, and a sense for its best-known word. Words are ranked by their count in
WordNet's tagged texts, then by how often the definitions themselves use them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .._generated import write_or_check

HERE = Path(__file__).parent
CATEGORIES = {
    4: "act",
    5: "animal",
    6: "artifact",
    7: "attribute",
    8: "body",
    9: "cognition",
    10: "communication",
    11: "event",
    12: "feeling",
    13: "food",
    14: "group",
    15: "location",
    17: "object",
    18: "person",
    19: "phenomenon",
    20: "plant",
    21: "possession",
    22: "process",
    23: "quantity",
    24: "relation",
    25: "shape",
    26: "state",
    27: "substance",
    28: "time",
}
"""The lexicographer files of nouns, but for `Tops` (the roots of the others) and `motive` (42 senses)."""

PER_CATEGORY = 200
MIN_WORDS, MAX_WORDS = 4, 15
WORD = re.compile(r"[a-z]{3,}")


@dataclass(frozen=True, slots=True)
class Sense:
    """A noun synset: its lemmas in WordNet's order, the definition without its examples, its first hypernym's offset."""

    offset: str
    category: str
    lemmas: tuple[str, ...]
    definition: str
    hypernym: str | None


def read_senses(wordnet: Path) -> dict[str, Sense]:
    """Every noun synset of a known category, by offset. A root is of the category that is named after it."""
    senses = {}
    for line in (wordnet / "data.noun").read_text("utf-8").splitlines():
        if line.startswith(" "):
            continue
        head, _, gloss = line.partition(" | ")
        columns = head.split()
        size = int(columns[3], 16)
        lemmas = tuple(name.replace("_", " ") for name in columns[4 : 4 + 2 * size : 2])
        pointers = columns[5 + 2 * size :]
        hypernyms = [pointers[at + 1] for at in range(0, len(pointers), 4) if pointers[at] in ("@", "@i")]
        roots = [lemma for lemma in lemmas if lemma in CATEGORIES.values()] if columns[1] == "03" else []
        category = roots[0] if roots else CATEGORIES.get(int(columns[1]))
        if category is not None:
            definition = re.split(r';\s+"', gloss)[0].strip().rstrip(";")
            senses[columns[0]] = Sense(columns[0], category, lemmas, definition, next(iter(hypernyms), None))
    return senses


def first_senses(wordnet: Path) -> dict[str, str]:
    """The offset of the most frequent sense of every noun."""
    first = {}
    for line in (wordnet / "index.noun").read_text("utf-8").splitlines():
        if not line.startswith(" "):
            columns = line.split()
            first[columns[0].replace("_", " ")] = columns[6 + int(columns[3])]
    return first


def tagged(wordnet: Path) -> Counter[str]:
    """How often a noun stands in WordNet's tagged texts, in any sense."""
    counts: Counter[str] = Counter()
    for line in (wordnet / "cntlist.rev").read_text("utf-8").splitlines():
        key, _, count = line.split()
        lemma, _, place = key.partition("%")
        if place.startswith("1:"):
            counts[lemma.replace("_", " ")] += int(count)
    return counts


def choose(senses: dict[str, Sense], first: dict[str, str], counts: Counter[str]) -> Iterator[dict[str, object]]:
    """One record per chosen word, in alphabetical order."""
    used = Counter(word for sense in senses.values() for word in WORD.findall(sense.definition))
    ranked = sorted(first, key=lambda lemma: (-counts[lemma], -used[lemma], lemma))
    taken: dict[str, list[tuple[str, Sense]]] = defaultdict(list)
    seen: set[str] = set()
    for word in ranked:
        sense = senses.get(first[word])
        if sense is None or sense.offset in seen or not WORD.fullmatch(word):
            continue
        length = len(sense.definition.split())
        if word in sense.lemmas and MIN_WORDS <= length <= MAX_WORDS and len(taken[sense.category]) < PER_CATEGORY:
            seen.add(sense.offset)
            taken[sense.category].append((word, sense))
    for word, sense in sorted((pair for pairs in taken.values() for pair in pairs), key=lambda pair: pair[0]):
        parent = senses.get(sense.hypernym or "")
        yield {
            "word": word,
            "synset": f"{sense.offset}-n",
            "count": counts[word],
            "category": sense.category,
            "hypernym": parent.lemmas[0] if parent else None,
            "lemmas": [lemma for lemma in sense.lemmas if first.get(lemma.lower()) == sense.offset],
            "definition": sense.definition,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="folder of the WordNet files")
    wordnet = parser.parse_known_args()[0].wordnet
    chosen = choose(read_senses(wordnet), first_senses(wordnet), tagged(wordnet))
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in chosen)
    write_or_check({HERE / "data" / "words.jsonl": "".join(lines)}, parser)


if __name__ == "__main__":
    main()
