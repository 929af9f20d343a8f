"""Windows of layers, as configs give them. That models do as this says is held in tests/runtime/test_windows.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcd.dsl.contract import read_contract
from mcd.dsl.diagnostics import Failure
from mcd.dsl.source import DataPlace
from mcd.dsl.windows import Windows, described, felt, read_windows, runs

SLIDING, FULL = "sliding_attention", "full_attention"


@pytest.mark.parametrize(
    ("config", "windows"),
    [
        ({"model_type": "llama", "sliding_window": None}, ()),
        ({"model_type": "mistral", "sliding_window": 16}, (16,) * 4),
        ({"model_type": "mistral", "sliding_window": None}, ()),
        ({"model_type": "mistral"}, (4096,) * 4),
        ({"model_type": "mistral", "sliding_window": 16, "use_sliding_window": False}, (16,) * 4),  # a key of others
        ({"model_type": "qwen2", "sliding_window": 16}, ()),
        ({"model_type": "qwen2", "sliding_window": 16, "use_sliding_window": False}, ()),
        ({"model_type": "qwen2", "sliding_window": 16, "use_sliding_window": True}, ()),  # from layer 29 on
        (
            {"model_type": "qwen3", "sliding_window": 16, "use_sliding_window": True, "max_window_layers": 1},
            (None, 16, 16, 16),
        ),
        ({"model_type": "gemma2", "sliding_window": 16}, (16, None, 16, None)),
        ({"model_type": "gemma2", "layer_types": [FULL, SLIDING, FULL, FULL]}, (None, 4096, None, None)),
        ({"model_type": "gemma2", "layer_types": [FULL] * 4}, ()),
        ({"model_type": "gemma3_text", "sliding_window": 16}, (16,) * 4),
        ({"model_type": "gemma3_text", "sliding_window": 16, "sliding_window_pattern": 2}, (16, None, 16, None)),
        ({"model_type": "gpt_neo"}, ValueError),
        ({"model_type": "gpt_neo", "attention_types": [[["global", "local"], 2]]}, (None, 256, None, 256)),
        ({"model_type": "gpt_neo", "attention_types": [[["global", "local"], 10**12]]}, ValueError),
        ({"model_type": "gpt_neo", "attention_types": 3}, ValueError),
        ({"model_type": "modernbert", "local_attention": 8}, (None, 5, 5, None)),
        ({"model_type": "new", "sliding_window": 16}, (16,) * 4),
        ({"model_type": "new", "sliding_window": 16, "use_sliding_window": False}, ()),
        ({"model_type": "new", "sliding_window": 16, "layer_types": [SLIDING, FULL] * 2}, (16, None, 16, None)),
        ({"model_type": "new", "sliding_window": 0}, ()),
        ({"model_type": "new", "sliding_window": 16, "layer_types": [SLIDING]}, ValueError),
        ({"model_type": ["new"], "sliding_window": "16"}, ()),
    ],
)
def test_configs(config: dict[str, Any], windows: Windows | type[ValueError]) -> None:
    if isinstance(windows, tuple):
        assert read_windows(config, 4) == windows
        return
    with pytest.raises(windows):
        read_windows(config, 4)


def test_a_config_of_more_layers_than_any_model_has_builds_no_list(tmp_path: Path) -> None:
    numbers = {"num_hidden_layers": 10**12, "num_attention_heads": 4, "hidden_size": 8, "vocab_size": 10}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "mistral", **numbers}))
    with pytest.raises(Failure, match=r"MCD403 .* 1,000,000,000,000 layers"):
        read_contract(path, DataPlace("config.json"), "config.json")


def test_a_text_feels_a_window_that_it_can_reach_beyond() -> None:
    """Of 8 tokens the last is 7 behind the first: 7 < 8 is inside a window of 8, and outside one of 7."""
    assert felt((8, 7, None), 8) == (None, 7, None)
    assert felt((8, 9, None), 8) == felt((), 8) == ()


def test_words() -> None:
    assert described((8, None, 8, 8, 16)) == "8 tokens at layers 1, 3..4; 16 tokens at layer 5"
    assert described(()) == described((None,)) == "none"
    assert runs([]) == "" and runs([1]) == "1" and runs([1, 2, 4]) == "1..2, 4"
