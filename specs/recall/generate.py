"""Writes the sequences of key-value pairs, the tokenizer of their symbols and the model's config.

Run from the repository root: `python -m specs.recall.generate [--check]`.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from .._generated import write_or_check

HERE = Path(__file__).parent
SEED = 1
KEYS = [f"k{number}" for number in range(32)]
VALUES = [f"v{number}" for number in range(32)]
PAIRS = 8
RECORDS = {"train": 6144, "valid": 256}

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 66,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": None,
}


def records(split: str, count: int, rng: random.Random) -> Iterator[dict[str, str]]:
    """`PAIRS` different keys with a random value each, then the same pairs again in another order, as questions."""
    for number in range(count):
        pairs = [f"{key} {rng.choice(VALUES)}" for key in rng.sample(KEYS, PAIRS)]
        questions = rng.sample(pairs, PAIRS)
        yield {
            "id": f"{split}-{number:04}",
            "split": split,
            "pairs": " ".join(pairs),
            "questions": " ".join(questions),
        }


def tokenizer() -> str:
    """One token per symbol."""
    symbols = ["<unk>", "?", *KEYS, *VALUES]
    model = WordLevel({symbol: number for number, symbol in enumerate(symbols)}, unk_token="<unk>")
    made = Tokenizer(model)
    made.pre_tokenizer = WhitespaceSplit()
    return str(made.to_str(pretty=True)) + "\n"


def main() -> None:
    rng = random.Random(SEED)
    files = {HERE / "config.json": json.dumps(CONFIG, indent=2) + "\n", HERE / "tokenizer.json": tokenizer()}
    for split, count in RECORDS.items():
        lines = (json.dumps(record) + "\n" for record in records(split, count, rng))
        files[HERE / "data" / f"{split}.jsonl"] = "".join(lines)
    write_or_check(files, argparse.ArgumentParser(description=__doc__))


if __name__ == "__main__":
    main()
