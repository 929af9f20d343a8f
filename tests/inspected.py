"""A small project whose shards have a column of every type, sets of every kind, and records that the context cuts."""

from __future__ import annotations

from pathlib import Path

from mcd.compiler.compile import Compiled

from .projects import MODEL, compiled, project

SPEC = """source s = jsonl("data.jsonl") { id = .id  split = .split  text = "{.text}" }
span animal = phrases("cat", "dog")
span cat = phrases("cat")
span dog = phrases("dog")
span word = offsets(.words, of: .text)
span clause = regex("cat and [a-z ]*ran")
concept pet { spans = cat  anchor = orthonormal }
attend links: animal -> animal where linked(.align, query.index, key.index) { layers = 1  heads = [0]  loss = kl }
attend pairs: dog -> cat { layers = 2  heads = any }
attend back: cat -> dog where key before query { layers = 1..2  heads = all  mass = 0.5 }
signal kind: word { layers = 2  classify = kind  classes = ["noun", "verb"] }
signal same: word { layers = 2  contrast = entity }
signal class: animal { layers = 50%  classify = .classes  classes = 3 }
signal near: record { layers = final  toward = .vector }
signal close: record { layers = 2  toward = .vector32  dtype = float32  loss = mse }
signal ahead: tokens { layers = 2  predict = next(2) }
signal first: clause { layers = 1  toward = pet.anchor  pool = first }
signal last: clause { layers = 1  toward = pet.anchor  pool = last }
signal all: clause { layers = 1  toward = pet.anchor }
weigh boost: animal { factor = .factors }
weigh long: clause { factor = 2 }
weigh whole: record { factor = .factor }
keep hard: tokens { score = live.loss  top = 50%  per = record }
relate pet is_a pet2 { layers = 2  margin = 0.1 }
concept pet2 { spans = dog  anchor = orthonormal }
"""

VECTOR = [0.5, -1.0, 0.25, 2.0, 0.0, 1.5, -0.125, 3.0]


def record(name: str, text: str, split: str = "train", **more: object) -> dict[str, object]:
    """A record whose lists run along its animals; `more` replaces any of its fields."""
    animals = [word for word in text.split() if word in ("cat", "dog")]
    fields = {
        "id": name,
        "split": split,
        "text": text,
        "words": [
            {"start": 0, "end": 3, "kind": "noun", "entity": 7},
            {"start": 4, "end": 7, "kind": "odd", "entity": 7},
        ],
        "align": [[at, at - 1, at + 0.5] for at in range(1, len(animals))],
        "classes": [at % 3 for at in range(len(animals))],
        "factors": [1.0 + at for at in range(len(animals))],
        "factor": 0.5,
        "vector": VECTOR,
        "vector32": [value + 0.1 for value in VECTOR],
    }
    return fields | more


LONG = "the cat saw a dog and a cat and a dog ran off because of the rain and the cat and a red dog ran"
"""25 tokens, of which the context holds 16."""

RECORDS = [
    record("a", "the cat and the dog ran"),
    record("b", "dog cat dog cat"),
    record("c", "the bird ran", classes=None, factors=None, vector=None),
    record("long", LONG),
    record("v", "the cat saw the dog", "valid"),
    record("ä 🙂", "cat dog", "valid-2"),
]


def rich(folder: Path, records: list[dict[str, object]] = RECORDS, spec: str = SPEC) -> Compiled:
    """The project compiled to `folder / "out"`."""
    path = project(folder, spec, records)
    text = path.read_text(encoding="utf-8").replace(MODEL, MODEL.replace("}", "  overflow = split(stride: 3)\n}"))
    path.write_text(text, encoding="utf-8")
    return compiled(path, folder / "out")
