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
        ({"model_type": "t5", "is_encoder_decoder": False, **LLAMA}, False),
    ],
)
def test_configs(tmp_path: Path, config: dict[str, object], causal: bool) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    found = read_contract(path, DataPlace("config.json"), "config.json")
    assert (found.layers, found.heads, found.hidden, found.vocab, found.causal) == (2, 4, 8, 10, causal)


T5 = {"model_type": "t5", "is_encoder_decoder": True, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4}
T5 |= {"d_model": 8, "vocab_size": 10}


@pytest.mark.parametrize(("causal", "layers"), [(False, 2), (True, 3)])
def test_causal_says_which_stack_is_meant(tmp_path: Path, causal: bool, layers: int) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(T5))
    found = read_contract(path, DataPlace("config.json"), "config.json", causal)
    assert (found.layers, found.causal) == (layers, causal)
    with pytest.raises(Failure, match="MCD415") as refused:
        read_contract(path, DataPlace("config.json"), "config.json")
    assert "`causal = false` beside it for the encoder" in (refused.value.diagnostics[0].help or "")


@pytest.mark.parametrize(("padding", "positions"), [({"pad_token_id": 1}, 512), ({}, 512), ({"pad_token_id": 0}, 513)])
def test_places_of_roberta_begin_behind_that_of_padding(
    tmp_path: Path, padding: dict[str, int], positions: int
) -> None:
    """Of 514 places, 512 are left for tokens where padding has place 1: the first two are never a token's."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "roberta", "max_position_embeddings": 514, **LLAMA, **padding}))
    assert read_contract(path, DataPlace("config.json"), "config.json").positions == positions


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"model_type": []}', "[" * 100_000, "\ud800", '{"n_layer": true}', '{"n_layer": 1e400}']
)
def test_configs_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(Failure):
        read_contract(path, DataPlace("config.json"), "config.json")
