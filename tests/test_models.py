"""Specs compiled for other models by their configs, and models trained from them, by the commands."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

import mcd
from mcd.cli.main import mcd as commands

from .projects import project
from .runtime.models import KINDS

SPEC = """source pets = jsonl("data.jsonl") { id = .id  text = .text }
span cat = phrases("cat", "dog")
attend look: cat -> tokens where key before query { layers = [1, -1]  heads = any  lost = drop }
signal early: cat { layers = 50%  predict = next(1)  weight = 0.2 }
signal near: cat { layers = final  classify = .label  classes = 2 }
"""
MASKED = """source pets = jsonl("data.jsonl") { id = .id  text = .text }
span cat = phrases("cat", "dog")
attend look: cat -> tokens where key before query { layers = 2  heads = any  lost = drop }
signal near: cat { layers = final  classify = .label  classes = 2 }
"""
CONFIG = 'config = "model/config.json"'
RULES = ("look", "early", "near")
RECORDS = [
    {"id": str(n), "text": "the red bird saw a cat and it ran off because of the dog", "label": n % 2} for n in range(8)
]
CAUSAL = [name for name, kind in KINDS.items() if kind.causal and " " not in name]


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_spec_is_compiled_for_a_model_by_its_config(tmp_path: Path, name: str) -> None:
    """`mcd compile --model`; T5's two stacks are told apart by the `causal` of the spec. what comes supervises the model."""
    kind = KINDS[name]
    spec = SPEC if kind.body.read is not None else SPEC.replace("signal early", "# signal early")
    path = project(tmp_path, spec, RECORDS)
    text = path.read_text().replace("causal = true", f"causal = {str(kind.causal).lower()}")
    path.write_text(text.replace("context = 16", "context = 20"))
    model = kind.make()
    model.config.save_pretrained(tmp_path / "model")
    out = tmp_path / "out"
    given = ["compile", str(path), "--model", str(tmp_path / "model" / "config.json"), "-o", str(out)]
    result = CliRunner().invoke(commands, given)
    assert result.exit_code == 0, result.output
    dataset = mcd.load(out, split="train")
    assert (dataset.plan.model.layers, dataset.plan.model.windows) == (3, kind.windows)
    with mcd.supervise(model, dataset) as supervised:
        found = supervised.train()(mcd.Collator(dataset.plan)(list(dataset)), time=0.0)
    assert all(loss > 0 for loss in found.rules.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", CAUSAL)
def test_model_is_trained_from_its_config(tmp_path: Path, name: str) -> None:
    """`mcd compile` with `config`, then `mcd train --config`."""
    path = project(tmp_path, SPEC, RECORDS)
    KINDS[name].make().config.save_pretrained(tmp_path / "model")
    lines = path.read_text().splitlines()
    start = lines.index("model m {") + 1
    lines[start] = '  config = "model/config.json"'
    path.write_text("\n".join(lines) + "\n")
    result = CliRunner().invoke(commands, ["compile", str(path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    given = ["train", str(tmp_path / "out"), "--config", str(tmp_path / "model" / "config.json"), "--steps", "3"]
    result = CliRunner().invoke(commands, [*given, "--batch-size", "4", "-o", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    log = [json.loads(line) for line in (tmp_path / "run" / "train.jsonl").read_text().splitlines()]
    assert all(log[-1]["rules"][rule]["loss"] > 0 for rule in RULES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert"])
def test_encoder_is_trained_on_masked_tokens_from_its_config(tmp_path: Path, name: str) -> None:
    """`mcd train` masks by the tokenizer's own `[MASK]`: a token loss near ln 23 at first, beside the losses of rules."""
    path = project(tmp_path, MASKED, RECORDS)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.add_special_tokens(["[MASK]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    KINDS[name].make().config.save_pretrained(tmp_path / "model")
    path.write_text(path.read_text().replace("layers = 4  heads = 2  hidden = 8  vocab = 64  causal = true", CONFIG))
    result = CliRunner().invoke(commands, ["compile", str(path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    given = ["train", str(tmp_path / "out"), "--config", str(tmp_path / "model" / "config.json"), "--steps", "20"]
    result = CliRunner().invoke(commands, [*given, "--batch-size", "4", "--lr", "0.01", "-o", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    log = [json.loads(line) for line in (tmp_path / "run" / "train.jsonl").read_text().splitlines()]
    assert log[0]["token"] == pytest.approx(math.log(23), rel=0.2)
    assert log[-1]["token"] < log[0]["token"]
    assert all(log[-1]["rules"][rule]["loss"] < log[0]["rules"][rule]["loss"] for rule in ("look", "near"))


@pytest.mark.slow
def test_t5_without_its_side_is_refused_with_what_to_write(tmp_path: Path) -> None:
    path = project(tmp_path, SPEC, RECORDS)
    KINDS["t5 decoder"].make().config.save_pretrained(tmp_path / "model")
    text = path.read_text()
    numbers = "layers = 4  heads = 2  hidden = 8  vocab = 64  causal = true"
    for given, code in (("", "MCD415"), ("causal = true", None), ("layers = 3  causal = true", "MCD404")):
        path.write_text(text.replace(numbers, f'config = "model/config.json"  {given}'))
        result = CliRunner().invoke(commands, ["check", str(path)])
        assert (code is None) == (result.exit_code == 0) and (code is None or code in result.output), result.output
