"""One server for all tests, as an editor has one, and a project per test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..projects import write_tokenizer
from .client import Editor

LOGIC = """mcd 1

## Words that give a reason.
span reason = phrases("because", "since") | _private
concept cause { spans = reason  anchor = orthonormal }
span _private = phrases("hidden")

frame cue(words: span, depth: layers = 50%) {
  span following = $words.next
  attend back: following -> $words { layers = $depth  heads = any }
}
"""

SPEC = """mcd 1

import "lib/logic.mcd" as logic

## Where meaning forms.
let middle: layers = 50%..75%

model small {
  layers = 8  heads = 4  hidden = 16  vocab = 64  causal = true
  tokenizer = "tokenizer.json"
  context = 16
}

source stories = jsonl("data.jsonl") {
  id = .id
  text = "{.premise} {.answer}"
}

span answer = slot(.answer)  # 🙂 says it
span mention = offsets(.mentions, of: .premise)
span pronoun = mention where kind == "pronoun"
span smile = phrases("🙂🙂", "🙃") | answer
concept causality { spans = logic.reason  anchor = orthonormal }

attend coref: pronoun -> mention where query.entity == key.entity and key before query {
  pick = nearest
  layers = $middle
  heads = any
  mass = 0.6
  weight = 0.5
}
signal axis: causality { layers = 50%  toward = causality.anchor  weight = 0.2 }
relate causality is_a logic.cause { layers = 6  margin = 0.3 }

use logic.cue(pronoun, depth: $middle) as anaphora

curriculum {
  stage first 40% { only = [axis, coref] }
  stage second 60% { coref.factor = ramp(1, 0.3, cosine)  anaphora.back.factor = 0.5 }
}

weigh smiles: smile { factor = 2 }
"""

RECORD = '{"id": "1", "premise": "she", "answer": "yes", "mentions": [{"start": 0, "end": 3, "kind": "pronoun", "entity": 7}]}\n'


@pytest.fixture(scope="session")
def server() -> Iterator[Editor]:
    editor = Editor()
    yield editor
    assert not editor.shown, editor.logged
    assert editor.stop() == 0


@pytest.fixture
def editor(server: Editor) -> Iterator[Editor]:
    """The editor, which closes what a test has opened."""
    yield server
    for uri in list(server.texts):
        if uri in server.versions:
            server.close(uri)
    server.texts.clear()
    server.versions.clear()


def lay_out(folder: Path) -> Path:
    """A project in a folder: a root, a file that it imports, data, a tokenizer."""
    (folder / "mcd.toml").touch()
    (folder / "lib").mkdir()
    (folder / "lib" / "logic.mcd").write_text(LOGIC, "utf-8")
    (folder / "main.mcd").write_text(SPEC, "utf-8")
    (folder / "data.jsonl").write_text(RECORD, "utf-8")
    write_tokenizer(folder / "tokenizer.json")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_out(tmp_path)
