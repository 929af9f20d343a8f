"""Trains the demo's tokenizer, a byte-level BPE, on the words and definitions of the extract.

Run from the repository root: `python -m specs.wordnet.train_tokenizer [--check]`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from .._generated import write_or_check

HERE = Path(__file__).parent
VOCAB = 2048


def texts() -> Iterator[str]:
    """The texts as the spec's template renders them."""
    for line in (HERE / "data" / "words.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        yield f"{record['word']}: {record['definition']}"


def main() -> None:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(vocab_size=VOCAB, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts(), trainer)
    written = {HERE / "tokenizer.json": tokenizer.to_str() + "\n"}
    write_or_check(written, argparse.ArgumentParser(description=__doc__))


if __name__ == "__main__":
    main()
