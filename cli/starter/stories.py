"""The records of the starter project, and a tokenizer of one token per word of theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

from tokenizers import Tokenizer, models, pre_tokenizers

PEOPLE = ("Anna", "Ben", "Carla", "David", "Emma", "Finn")
THINGS = ("key", "book", "lamp", "coat", "ring", "map", "cup", "bell")
RECORDS = 2000


def stories() -> Iterator[str]:
    """Lines of JSON: four people, each with a thing; the thing that is asked for, and who has it."""
    random = Random(0)
    for number in range(RECORDS):
        pairs = list(zip(random.sample(PEOPLE, 4), random.sample(THINGS, 4), strict=True))
        holder, thing = pairs[random.randrange(4)]
        record = {
            "id": f"story-{number:04}",
            "story": " ".join(f"{person} has the {held} ." for person, held in pairs),
            "thing": thing,
            "holder": holder,
        }
        yield json.dumps(record) + "\n"


def tokenizer() -> Tokenizer:
    """One token per word; `[UNK]` for any other."""
    words = ["[UNK]", ".", "Who", "has", "the", *PEOPLE, *THINGS]
    found = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return found
