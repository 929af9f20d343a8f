"""From a spec on disk to a trained model: what stages leave alone, and what a run says of gradients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from mcd.cli.main import mcd
from mcd.runtime.dataset import load
from mcd.runtime.run import new_model

from .projects import project

RULES = """source s = jsonl("data.jsonl") { text = .text }
span cat = phrases("cat")
span dog = phrases("dog")
attend link: dog -> cat where key before query { pick = nearest  layers = 4  heads = any }
signal near: cat { layers = 2  classify = .label  classes = 2 }
"""
RECORDS = [
    {"text": ["the cat saw a red dog .", "a bird and the cat saw a dog", "a dog ran off"][n % 3], "label": n % 2}
    for n in range(24)
]
CONFIG = {"model_type": "llama", "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1}
CONFIG |= {"hidden_size": 8, "intermediate_size": 16, "vocab_size": 64, "max_position_embeddings": 16}


def command(*arguments: object) -> None:
    found = CliRunner().invoke(mcd, [str(argument) for argument in arguments])
    assert found.exit_code == 0, found.output


def run(folder: Path, how: str) -> tuple[set[str], list[dict]]:
    """The layers that moved in six steps of two micro-batches, and the log."""
    spec = project(folder, RULES + how, RECORDS, config_json=json.dumps(CONFIG))
    command("compile", spec, "-o", folder / "out")
    options = ["--steps", 6, "--batch-size", 4, "--accumulate", 2, "--log-every", 1, "--lr", 0.01, "--device", "cpu"]
    command("train", folder / "out", "--config", folder / "config.json", "-o", folder / "run", *options)
    start = new_model(folder / "config.json", load(folder / "out", split="train"), 0).state_dict()
    end = load_file(folder / "run" / "model.safetensors")
    log = (folder / "run" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return {where(name) for name, value in end.items() if not torch.equal(value, start[name])}, [*map(json.loads, log)]


def where(name: str) -> str:
    return name.split(".")[2] if ".layers." in name else name


FINAL = {"lm_head.weight", "model.norm.weight"}


def test_depth(tmp_path: Path) -> None:
    """Blocks 3 and 4 did not move, under weight decay too."""
    moved, log = run(tmp_path, "curriculum { stage low 100% { depth = 50%  link.factor = 0 } }")
    assert moved == FINAL | {"model.embed_tokens.weight", "0", "1"}
    assert [entry["stage"] for entry in log] == [{"name": "low", "depth": 2, "train": None, "frozen": 0}] * 6
    assert all(entry["rules"]["link"]["rows"] == 0 < entry["rules"]["near"]["rows"] for entry in log)


def test_train(tmp_path: Path) -> None:
    moved, log = run(tmp_path, "curriculum { stage a 50% { train = 2..3 }  stage b 50% { train = [3, final] } }")
    assert moved == FINAL | {"1", "2"}
    assert [(entry["stage"]["name"], entry["stage"]["train"]) for entry in log] == [("a", [2, 3])] * 3 + [
        ("b", [3, "final"])
    ] * 3
    assert all(entry["stage"]["frozen"] > 0 for entry in log)


def test_stop_and_scale(tmp_path: Path) -> None:
    """Nothing reads layer 1 or below: block 1 and the embedding get no gradient, and an optimiser passes them over. Block 4 gets
    a gradient of 0, so that its matrices decay and its norms, which have no decay, stay."""
    moved, _ = run(tmp_path, "gradient { scale = {-1: 0}  stop = 1 }")
    assert moved == FINAL | {"1", "2", "3"}


@pytest.mark.parametrize("conflicts", ["sum", "project"])
def test_conflicts(tmp_path: Path, conflicts: str) -> None:
    moved, log = run(tmp_path, f"gradient {{ conflicts = {conflicts} }}")
    assert moved == FINAL | {"model.embed_tokens.weight", "0", "1", "2", "3"}
    assert ("conflict" in log[-1]) == (conflicts == "project")
    if conflicts == "project":
        assert [entry["conflict"]["steps"] for entry in log] == [1, 2, 3, 4, 5, 6]
        assert all(-1 <= entry["conflict"]["cosine"] <= 1 for entry in log)
