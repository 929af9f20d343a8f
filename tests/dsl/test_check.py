"""Many small programs in few files, each with its findings on their lines.

A program starts at `=== title`. `#! MCD301 `marked` message` at the end of a line expects that code there, with that text
underlined, and (where more follows) a message that contains it. A program without any must check clean. A model and a source
are added at the end, since order carries no meaning, unless the title says `(bare)`, `(no model)` or `(no source)`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mcd.dsl.check import check
from mcd.dsl.codes import model, names, values
from mcd.dsl.diagnostics import Code, Diagnostic, Severity
from mcd.dsl.render import render_text
from mcd.dsl.source import Place

DATA = Path(__file__).parent / "data" / "check"
LINT = Path(__file__).parent / "data" / "lint"

MODEL = """
model m { layers = 4  heads = 2  hidden = 8  vocab = 100  causal = true  tokenizer = "tokenizer.json"  context = 64 }
"""
SOURCE = """
source s = jsonl("data.jsonl") { text = "{.premise} {.answer}" }
"""

EXPECTED = re.compile(r"#! (MCD\d+) `(.*?)`([^#]*)")

FILES = {
    "mcd.toml": "",
    "tokenizer.json": json.dumps(
        {
            "added_tokens": [{"id": 0, "content": "<s>", "special": True}],
            "post_processor": {
                "type": "Sequence",
                "processors": [
                    {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
                    {"type": "ByteLevel"},
                ],
            },
        }
    ),
    "data.jsonl": "{}\n",
    "data/part-2.jsonl": "{}\n",
    "data/part-1.jsonl": "{}\n",
    "words.txt": "hence\n\n  thus \nhence\n",
    "blank.txt": "\n \n",
    "lib.mcd": """mcd 1
let depth = 50%
let _secret = 1
span word = phrases("hence")
span _hidden = word
concept cause { spans = word  anchor = orthonormal }
concept bare {}
signal pull: word { layers = 1  toward = cause.anchor }
weigh word { factor = 2 }
""",
    "frames.mcd": """mcd 1
let strength = 2
let depth: layers = 50%
span word = phrases("hence")
concept goal { anchor = orthonormal }
frame words(s: span, depth: layers = $depth) {
  let twice = $strength * 2
  span mine = $s & word
  span _own = word
  signal pull: $s { layers = $depth  toward = goal.anchor }
}
frame outer(s: span) { use words($s.first) as inner }
frame _hidden(s: span) { use words($s) as inner }
use _hidden(word) as _quiet
use words(word) as own
""",
    "gpt2.json": json.dumps(
        {"model_type": "gpt2", "n_layer": 4, "n_head": 2, "n_embd": 8, "vocab_size": 100, "n_positions": 64}
    ),
    "short.json": json.dumps(
        {"model_type": "gpt2", "n_layer": 4, "n_head": 2, "n_embd": 8, "vocab_size": 100, "n_positions": 32}
    ),
    "window.json": json.dumps(
        {
            "model_type": "mistral",
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "hidden_size": 8,
            "vocab_size": 100,
            "sliding_window": 16,
        }
    ),
    "kinds.json": json.dumps(
        {
            "model_type": "gemma2",
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "hidden_size": 8,
            "vocab_size": 100,
            "layer_types": ["sliding_attention", "full_attention"],
        }
    ),
    "lacks.json": json.dumps({"model_type": "gpt2", "n_layer": 0, "n_head": 2, "n_embd": 8}),
    "t5.json": json.dumps(
        {"model_type": "t5", "is_encoder_decoder": True, "num_layers": 4, "num_heads": 2, "d_model": 8, "vocab_size": 9}
    ),
    "broken.json": "{",
    "heads.json": "[[1, 0], [4, 1]]",
    "versioned.json": '{"format": 1, "heads": [[1, 0]], "scores": [0.9]}',
    "newer.json": '{"format": 2, "heads": {}}',
    "odd.json": "[[1, 0], [1, true]]",
    "deep.json": "[[1, 0], [5, 1]]",
    "wide.json": "[[1, 2]]",
    "twice.json": "[[1, 0], [1, 0]]",
    "nested.json": "[" * 100_000,
    "large.json": "[" + "[1, 0]," * 200_000 + "[1, 0]]",
    "folder/keep.txt": "",
}


TEACHERS = {
    "peer": {"n_layer": 6},
    "wide": {"n_layer": 6, "n_embd": 12},
    "short": {"n_positions": 32},
    "few": {"vocab_size": 50},
    "reader": {"model_type": "bert", "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8},
    "bare": {"model_type": "t5", "is_encoder_decoder": True},
}
"""Folders of teachers, by what their configs have beside what GPT-2's has."""


def write_teachers(folder: Path) -> None:
    """The check reads a config, a tokenizer and the name of a file of weights, which may be empty."""
    base = {"model_type": "gpt2", "n_layer": 4, "n_head": 2, "n_embd": 8, "vocab_size": 100, "n_positions": 64}
    for name, config in TEACHERS.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(base | config))
        (folder / name / "model.safetensors").touch()
    same = json.loads(FILES["tokenizer.json"]) | {"truncation": {"max_length": 8}}
    (folder / "peer" / "tokenizer.json").write_text(json.dumps(same))
    (folder / "reader" / "tokenizer.json").write_text("{}")


def lay_out(folder: Path) -> None:
    """The files that the programs name, in a new `folder`."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder.parent / "outside.txt").write_text("x\n")
    (folder / "link.txt").symlink_to("../outside.txt")
    save_file({"cause": np.ones(8, np.float32), "wide": np.ones((2, 8), np.float32)}, folder / "dirs.safetensors")
    weights = folder / "weights"
    weights.mkdir()
    save_file({"wte.weight": np.ones((100, 8), np.float32)}, weights / "model.safetensors")
    write_teachers(folder)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "project"
    lay_out(folder)
    return folder


def programs(folder: Path) -> Iterator[tuple[str, str]]:
    """The programs of the files in `folder`, each with its title."""
    for path in sorted(folder.glob("*.txt")):
        for part in path.read_text().split("\n=== ")[1:]:
            title, _, text = part.partition("\n")
            yield f"{path.stem}: {title}", text


def whole(title: str, text: str) -> str:
    if "(bare)" in title:
        return text
    model = "" if "(no model)" in title else MODEL
    source = "" if "(no source)" in title else SOURCE
    return f"mcd 1\n{text}\n{model}{source}"


PROGRAMS = list(programs(DATA))


def assert_found(spec: Path, items: Iterable[Diagnostic]) -> None:
    """What was found is what the lines of the spec expect: the code, the marked text, and a part of the message."""
    expected = [
        (number, code, marked, message.strip())
        for number, line in enumerate(spec.read_text().split("\n"), 1)
        for code, marked, message in EXPECTED.findall(line)
    ]
    found = []
    for item in items:
        assert isinstance(item.place, Place), item
        number, _ = item.place.source.position(item.place.start)
        found.append((number, item.code.id, item.place.text.split("\n")[0], item.message))
    shown = "\n".join(map(str, found))
    assert sorted(x[:3] for x in found) == sorted(x[:3] for x in expected), shown
    for number, code, marked, message in expected:
        assert any(x[:3] == (number, code, marked) and message in x[3] for x in found), f"{message!r} not in\n{shown}"


@pytest.mark.parametrize(("title", "text"), PROGRAMS, ids=[title for title, _ in PROGRAMS])
def test_program(root: Path, title: str, text: str) -> None:
    spec = root / "spec.mcd"
    spec.write_text(whole(title, text))
    program, findings = check(spec)
    assert_found(spec, findings.items)
    assert (program is None) == any(item.severity is Severity.ERROR for item in findings.items)
    assert render_text(findings.items).count(" --> ") == len(findings.items)


def test_every_code_has_a_program() -> None:
    """Codes of the check are all in the programs, but for those that other tests of the check name."""
    seen = {
        code for path in [*DATA.glob("*.txt"), *LINT.glob("*.txt")] for code, _, _ in EXPECTED.findall(path.read_text())
    }
    elsewhere = "".join(
        (Path(__file__).parents[1] / f"{name}.py").read_text()
        for name in (
            "dsl/test_load",
            "dsl/test_check_parts",
            "dsl/test_frames",
            "dsl/test_chat",
            "compiler/test_sample",
            "compiler/test_windowed",
        )
    )
    declared = {code for module in (names, values, model) for code in vars(module).items() if isinstance(code[1], Code)}
    missing = [
        code.id
        for name, code in declared
        if code.id not in seen and f".{name}" not in elsewhere and code.id not in elsewhere
    ]
    assert missing == []
