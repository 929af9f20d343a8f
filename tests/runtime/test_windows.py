"""Sliding windows: what models do, against what their configs are read to say; what is supervised under them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from mcd.dsl.diagnostics import Failure
from mcd.dsl.windows import Windows, felt, read_windows
from mcd.runtime.attention import Observed
from mcd.runtime.supervise import supervise

from .builders import CONTEXT, make_attend, make_batch, make_model, make_plan, make_toward
from .test_attention import make_scores, probabilities

LENGTH = 10
SHAPE = {"num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_size": 16, "head_dim": 8}
SHAPE |= {"vocab_size": 20, "intermediate_size": 16, "pad_token_id": 0, "max_position_embeddings": 64}
EXPERTS = {"num_experts": 2, "num_local_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
EXPERTS |= {"shared_expert_intermediate_size": 8}
KINDS: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 3},
    "mixtral": {"sliding_window": 3, **EXPERTS},
    "phi3": {"sliding_window": 3},
    "starcoder2": {"sliding_window": 3},
    "qwen2": {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 1},
    "qwen2_moe": {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 3, **EXPERTS},
    "qwen3": {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 2},
    "qwen3_moe": {"sliding_window": 3, "use_sliding_window": True, **EXPERTS},
    "gemma2": {"sliding_window": 3},
    "gemma3_text": {"sliding_window": 3, "sliding_window_pattern": 3},
    "cohere2": {"sliding_window": 3, "sliding_window_pattern": 2},
    "gpt_oss": {"sliding_window": 3, **EXPERTS},
    "olmo3": {"sliding_window": 3},
    "smollm3": {"sliding_window": 3, "use_sliding_window": True, "no_rope_layer_interval": 2},
    "gpt_neo": {"window_size": 3, "attention_types": [[["global", "local"], 2]], "num_layers": 4, "num_heads": 2},
    "modernbert": {"local_attention": 4, "global_attn_every_n_layers": 2},
}


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_attends_within_the_windows_of_its_config(kind: str) -> None:
    """Of a text of 10 tokens, every key that each query places any probability on, by the model's eager attention."""
    given = {**SHAPE, **KINDS[kind]}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **given)
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    seen = model(torch.arange(1, 1 + LENGTH)[None], output_attentions=True).attentions
    windows = read_windows({"model_type": kind, **given}, 4)
    assert any(windows) and windows == read_windows(config.to_dict(), 4)
    at = torch.arange(LENGTH)
    behind = at[:, None] - at
    for window, weights in zip(windows, seen, strict=True):
        reaches = behind.abs() < (window or LENGTH)
        assert torch.equal(weights[0, 0, :, :LENGTH] > 0, reaches & (behind >= 0) if kind != "modernbert" else reaches)


# --- rows ------------------------------------------------------------------------------------------------------------


def test_row_under_a_window_without_a_mask() -> None:
    """Equal scores under a window of 2: at 3 the keys 2 and 3; where nothing is causal, at 1 the keys 0, 1 and 2."""
    assert probabilities(make_scores([0.0] * 4, window=2), 3)[0].tolist() == pytest.approx([0, 0, 1 / 2, 1 / 2])
    both = probabilities(make_scores([0.0] * 4, window=2, causal=False), 1)
    assert both[0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert Observed(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), 1.0, None, True).window is None


LOOKS = {"look": [(0, 8, [0, 7]), (0, 5, [0]), (1, 4, [4])]}
SLIDING = {"sliding_window": 4, "use_sliding_window": True, "max_window_layers": 1}
WINDOWS: Windows = (None, 4, 4)


@pytest.mark.parametrize("heads", ["all", "mean", "any"])
def test_a_layer_that_sees_no_key_has_no_part_in_a_row(heads: str) -> None:
    """Of the row 5 -> 0 layers 2 and 3 see nothing: it costs what it costs at layer 1 alone."""
    model = make_model("qwen2", **SLIDING)
    row = {"look": [(0, 5, [0])]}

    def loss(layers: tuple[int, ...]) -> float:
        plan = make_plan(make_attend(layers=layers, heads=heads), windows=WINDOWS)
        with supervise(model, plan) as supervised:
            return supervised(make_batch(plan, [9, 6], row), time=0).rules["look"].item()

    assert loss((1, 2, 3)) == pytest.approx(loss((1,)), rel=1e-6)


def test_padding_changes_nothing_under_a_window() -> None:
    plan = make_plan(make_attend(layers=(1, 2, 3)), windows=WINDOWS)
    with supervise(make_model("qwen2", **SLIDING), plan) as supervised:
        short, long = make_batch(plan, [9, 6], LOOKS), make_batch(plan, [9, 6], LOOKS, length=20)
        long.input_ids[:, :9] = short.input_ids
        a, b = supervised(short, time=0), supervised(long, time=0)
    assert a.rules["look"].item() == pytest.approx(b.rules["look"].item(), rel=1e-5)


def test_gradient_checkpointing_changes_no_gradient_under_a_window() -> None:
    plan = make_plan(make_attend(layers=(1, 2, 3)), windows=WINDOWS)
    found = []
    for checkpointing in (False, True):
        model = make_model("qwen2", **SLIDING).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        supervise(model, plan)(make_batch(plan, [9, 6], LOOKS), time=0).loss.backward()
        found.append([p.grad for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


# --- contracts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "windows", "said"),
    [
        ({"sliding_window": 8}, (), "none, `MistralForCausalLM` has 8 tokens at layers 1..3"),
        ({"sliding_window": 8}, (4, 4, 4), "4 tokens at layers 1..3, `MistralForCausalLM` has 8 tokens at layers 1..3"),
        ({"sliding_window": None}, (None, 8, None), "8 tokens at layer 2, `MistralForCausalLM` has none"),
    ],
)
def test_other_windows_than_the_plan_has_are_refused(settings: Any, windows: Windows, said: str) -> None:
    with pytest.raises(Failure, match=f"MCD701 the plan was made for a model with sliding windows {said}"):
        supervise(make_model("mistral", **settings), make_plan(make_attend(), windows=windows))


def test_rules_that_read_no_attention_do_not_ask_for_windows() -> None:
    anchors = {"north": torch.ones(16)}
    supervise(make_model("mistral", sliding_window=8), make_plan(make_toward()), anchors=anchors).close()


def test_a_window_as_long_as_the_context_is_none() -> None:
    assert felt(read_windows(make_model("mistral").config.to_dict(), 3), CONTEXT) == ()
    supervise(make_model("mistral", sliding_window=CONTEXT), make_plan(make_attend())).close()
