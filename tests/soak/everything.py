"""A small dataset that has all that one can have: anchors, fields, edges with weights, parts, states of a teacher, a measure."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np

from mcd.compiler.compile import compile_program
from mcd.compiler.files.measures import MeasureWriter
from mcd.runtime.dataset import load
from mcd.runtime.teach import Teaching

from ..projects import checked, write_tokenizer
from ..teachers import write_teacher

SPEC = """mcd 1
model m {
  layers = 4  heads = 2  hidden = 8  vocab = 64  causal = true
  tokenizer = "tokenizer.json"  context = 12  overflow = split(stride: 3)
}
teacher big { config = "big/config.json"  weights = "big" }
source s = jsonl("data.jsonl") { id = .id  split = .split  text = "{.text}" }
span cat   = phrases("cat", "a red bird")
span dog   = phrases("dog", "it")
span named = offsets(.named)
concept pet { spans = cat  anchor = orthonormal }
signal axis:  pet    { layers = 2  toward = pet.anchor  loss = cosine }
signal teach: cat    { layers = 2  toward = big.hidden(layer: 2)  loss = mse }
signal read:  named  { layers = 2  classify = kind  classes = ["x", "y"] }
signal group: named  { layers = 2  contrast = kind }
signal vec:   record { layers = 2  toward = .vector  loss = mse }
signal early: tokens { layers = 2  predict = next(1) }
attend see:   cat -> dog where key before query { layers = 1  heads = any }
attend align: cat -> dog where linked(.links, query.index, key.index) { layers = 2  heads = all  loss = kl }
weigh more: dog { factor = .factor }
keep hard:  tokens { score = live.loss - measure("ref", loss)  top = 60%  per = batch }
"""


def records(count: int) -> list[dict[str, object]]:
    """Texts of 6 to 30 words with two or more of each span; every fourth is in split `valid`."""
    random = np.random.default_rng(5)
    words = "the cat dog saw a red bird and it ran off because of rain . ,".split()  # noqa: SIM905
    return [
        {
            "id": f"r{number}",
            "split": "valid" if number % 4 == 3 else "train",
            "text": " ".join(["the dog saw a red bird", *random.choice(words, random.integers(1, 24))]),
            "named": [
                {"start": 0, "end": 3, "kind": "x"},
                {"start": 4, "end": 7, "kind": str(random.choice(["x", "y"]))},
            ],
            "vector": random.standard_normal(8).round(3).tolist(),
            "links": [[0, 0, 0.5]],
            "factor": float(random.integers(1, 4)),
        }
        for number in range(count)
    ]


def write_everything(folder: Path, count: int = 40) -> Path:
    """The dataset, compiled in `folder`, with the measure that its plan reads, in record batches of at most 200 tokens."""
    (folder / "mcd.toml").touch()
    write_tokenizer(folder / "tokenizer.json", begin="[BOS]")
    write_teacher(folder / "big", max_position_embeddings=64)
    (folder / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records(count)))
    (folder / "spec.mcd").write_text(SPEC)
    out = folder / "out"
    with patch("mcd.compiler.files.shards.MAX_TOKENS", 200):
        compile_program(checked(folder / "spec.mcd"), out, teach=Teaching("cpu"))
    dataset = load(out)
    shards = {shard.path: shard for shard in dataset.manifest.shards}
    with MeasureWriter(out, "ref", {"loss": "loss of a model"}) as writer:
        for chunk in sorted(dataset.chunks, key=lambda chunk: chunk.shard):
            values = np.linspace(0, 1, len(chunk.tokens.used), dtype=np.float32)
            writer.write(shards[chunk.shard], chunk, {"loss": values})
    return out
