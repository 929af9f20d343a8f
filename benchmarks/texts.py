"""Texts that benchmarks read: WordNet's definitions, and documentation as people wrote it; and a tokenizer for them."""

from __future__ import annotations

import ast
import json
import random
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

DEFINITIONS = Path(__file__).parent.parent / "specs" / "wordnet" / "data"
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def definitions() -> list[str]:
    """WordNet's definitions, as committed with the spec."""
    lines = (line for path in sorted(DEFINITIONS.glob("*.jsonl")) for line in path.open(encoding="utf-8"))
    return [json.loads(line)["definition"] for line in lines]


def documentation(megabytes: float) -> list[str]:
    """The docstrings of the standard library, then of the installed packages, in the order of their files, each once, until
    there are enough."""
    found: dict[str, None] = {}
    total = 0
    for text in _docstrings():
        if text not in found:
            found[text] = None
            total += len(text)
            if total >= megabytes * 1e6:
                break
    return list(found)


def _docstrings() -> Iterator[str]:
    paths = sysconfig.get_paths()
    packages = Path(paths["purelib"])
    files = [path for path in sorted(Path(paths["stdlib"]).rglob("*.py")) if "site-packages" not in path.parts]
    for path in [*files, *sorted(packages.rglob("*.py"))]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError):
            continue
        nodes = (node for node in ast.walk(tree) if isinstance(node, DOCUMENTED))
        texts = filter(None, map(ast.get_docstring, nodes))
        yield from (
            text for text in texts if "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
        )


def write_tokenizer(texts: Iterable[str], file: Path) -> None:
    """A byte-level BPE of 8,000 tokens, trained on the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=8000, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(file))


def phrases(texts: list[str], count: int) -> list[str]:
    """Words of more than four letters that stand in the texts and, where these are too few, pairs of words."""
    words = sorted({word for text in texts for word in text.split() if len(word) > 4 and word.isalpha()})
    if len(words) < count:
        pairs = {f"{left} {right}" for text in texts for left, right in pairwise(text.split()) if left.isalpha()}
        words += sorted(pairs)[: 2 * count]
    return random.Random(1).sample(words, count)
