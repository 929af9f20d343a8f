"""What the tests of trainers train: a small compiled directory with four kinds of rule, a model for it, and arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from .datasets import COLUMNS, HIDDEN, attend, classify, plan, random_batch, random_recipe, relate, weigh, write

torch.set_num_threads(1)  # The models are tiny: more threads only wait for each other.


def compiled(folder: Path, records: int = 40, **changes: Any) -> Path:
    """A compiled directory below `folder`, with the splits train and valid. `changes`: of the plan."""
    random = np.random.default_rng(0)
    rules = [attend("look", "e"), relate("axis", "a"), classify("kind", "c", attribute="kind", labels=("x", "y", "z"))]
    made = plan([*rules, weigh("more", "b", 2.0)], COLUMNS).model_copy(update=changes)
    splits = {"train": [random_batch(random, records)], "valid": [random_batch(random, 13)]}
    write(folder / "data", random_recipe(), made, splits)
    return folder / "data"


def small_model(dropout: float = 0.0) -> LlamaForCausalLM:
    """Two blocks whose attention is far from uniform."""
    torch.manual_seed(5)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=1000, hidden_size=HIDDEN, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=512, attention_dropout=dropout, pad_token_id=None,
            bos_token_id=None, eos_token_id=None,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.5)
    return model


def arguments(folder: Path, kind: Any = TrainingArguments, **changes: Any) -> Any:
    """Six steps of 8 rows, each logged, nothing reported elsewhere."""
    given = {
        "max_steps": 6,
        "per_device_train_batch_size": 8,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "report_to": [],
    }
    given |= {"save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "seed": 3}
    return kind(output_dir=str(folder), **{**given, **changes})
