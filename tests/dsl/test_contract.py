"""What a Hugging Face config.json says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcd.dsl.contract import read_contract
from mcd.dsl.diagnostics import Failure
from mcd.dsl.source import DataPlace

LLAMA = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 8, "vocab_size": 10}


@pytest.mark.parametrize(
    ("config", "causal"),
    [
        ({"model_type": "llama", **LLAMA}, True),
        ({"model_type": "bert", **LLAMA}, False),
        ({"model_type": "bert", "is_decoder": True, **LLAMA}, True),
        ({"model_type": "new", "architectures": ["NewForCausalLM"], **LLAMA}, True),
        ({"model_type": "new", "architectures": ["NewForMaskedLM"], **LLAMA}, False),
        ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", **LLAMA}}, True),
    ],
)
def test_configs(tmp_path: Path, config: dict[str, object], causal: bool) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    found = read_contract(path, DataPlace("config.json"), "config.json")
    assert (found.layers, found.heads, found.hidden, found.vocab, found.causal) == (2, 4, 8, 10, causal)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"model_type": []}', "[" * 100_000, "\ud800", '{"n_layer": true}', '{"n_layer": 1e400}']
)
def test_configs_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(Failure):
        read_contract(path, DataPlace("config.json"), "config.json")
