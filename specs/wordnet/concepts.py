"""Writes the concept files from the extract: the nouns that definitions use most, each with a relation to its category.

Run from the repository root: `python -m specs.wordnet.concepts [--check]`.

A concept's phrases are the lemmas whose first sense it is, and their plurals, as far as the definitions use them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._generated import formatted, write_or_check
from .extract import CATEGORIES

HERE = Path(__file__).parent
CONCEPTS = 300
TAGGED = 5
"""A word that is tagged as a noun less often than this is mostly another part of speech ("are", a hundredth of a hectare)."""

RESERVED = {
    "attend",
    "concept",
    "frame",
    "keep",
    "model",
    "record",
    "signal",
    "source",
    "span",
    "stage",
    "teacher",
    "use",
}
"""Words of the language that are nouns as well: a concept of that name gets an underscore."""

HEAD = """\
mcd 1

# Written by concepts.py from data/words.jsonl.
"""

CONCEPT_HEAD = """
import "categories.mcd" as category

let half: layers = 50%
let cosine: number = 0.3
let pull: number = 0.02

"""


def plural(noun: str) -> str:
    """The regular plural."""
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + "s"


def forms(record: dict[str, Any], uses: Counter[str], lemmas: set[str]) -> dict[str, int]:
    """The forms of a word that definitions use, and how often. A plural that is a word of its own is left to it."""
    plurals = {plural(lemma): lemma for lemma in record["lemmas"] if plural(lemma) not in lemmas}
    found = sorted([*record["lemmas"], *plurals], key=lambda form: record["lemmas"].index(plurals.get(form, form)))
    return {form: uses[form] for form in found if uses[form]}


def count_uses(records: list[dict[str, Any]]) -> Counter[str]:
    """How often each run of one to three words stands in a definition."""
    uses: Counter[str] = Counter()
    for record in records:
        words = re.findall(r"[\w'-]+", record["definition"])
        for size in (1, 2, 3):
            uses.update(" ".join(words[at : at + size]) for at in range(len(words) - size + 1))
    return uses


def lines(records: list[dict[str, Any]]) -> Iterator[str]:
    """Each concept and its relation, in alphabetical order."""
    uses = count_uses(records)
    lemmas = {lemma for record in records for lemma in record["lemmas"]}
    nouns = (record for record in records if record["count"] >= TAGGED)
    ranked = sorted(nouns, key=lambda record: (-sum(forms(record, uses, lemmas).values()), record["word"]))
    for record in sorted(ranked[:CONCEPTS], key=lambda record: record["word"]):
        name = record["word"] + "_" * (record["word"] in RESERVED)
        phrases = ", ".join(f'"{form}"' for form in forms(record, uses, lemmas))
        yield f"concept {name} {{ spans = phrases({phrases}) }}\n"
        bound = "layers = $half  margin = $cosine  weight = $pull"
        yield f"relate {name} is_a category.{record['category']} {{ {bound} }}\n"


def main() -> None:
    records = [json.loads(line) for line in (HERE / "data" / "words.jsonl").read_text("utf-8").splitlines()]
    categories = "".join(f"concept {name} {{ anchor = orthonormal }}\n" for name in sorted(CATEGORIES.values()))
    files = {
        HERE / "concepts" / "categories.mcd": f"{HEAD}\n{categories}",
        HERE / "concepts" / "nouns.mcd": HEAD + CONCEPT_HEAD + "".join(lines(records)),
    }
    write_or_check(
        {path: formatted(text) for path, text in files.items()}, argparse.ArgumentParser(description=__doc__)
    )


if __name__ == "__main__":
    main()
