"""Shards are the same bytes whether texts are tokenised by their chunks or whole, and however many were read before."""

import random

import pytest

from mcd.compiler.compile import compile_program
from mcd.compiler.tokens import tokenize

from ..projects import checked, project
from . import test_chunks

SPEC = """
source s = jsonl("data.jsonl") { id = .id  text = "{.head}: {.body} ({.tail})" }
span word = phrases("aB", "B1", "a_B")
span digit = regex("[0-9]+") in slot(.body)
span body = slot(.body)
attend link: word -> digit where key before query { layers = 1  heads = any  pick = nearest }
weigh rest: tokens - word { factor = 0.5 }
"""


def records():
    rng = random.Random(3)

    def text(length):
        return "".join(rng.choices("aB1.'_ \n  é<s>", k=length))

    return [{"id": str(n), "head": text(5), "body": text(rng.randrange(60)), "tail": text(3)} for n in range(400)]


@pytest.mark.parametrize("kind", ["GPT-4, Llama 3", "BERT", "marks"])
def test_shards_are_the_same_bytes(tmp_path, monkeypatch, kind):
    spec = project(tmp_path, SPEC, records())
    tokenizer = test_chunks.added(test_chunks.KINDS[kind](), "<s>")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = (
        (tmp_path / "spec.mcd")
        .read_text()
        .replace("vocab = 64", "vocab = 1000")
        .replace("context = 16", "context = 64")
    )
    spec.write_text(text)
    assert tokenize.Encoder(tmp_path / "tokenizer.json").chunked
    compile_program(checked(spec), tmp_path / "chunks")
    monkeypatch.setattr(tokenize, "chunks_of", lambda *_: None)
    compile_program(checked(spec), tmp_path / "whole")
    names = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert any(path.suffix == ".arrow" for path in names)
    for name in names:
        assert (tmp_path / "chunks" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
