"""Tiny random teachers on disk, beside a small project, and what they compute, read straight from transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

set_verbosity_error()
disable_progress_bar()

_GPT2 = {"n_layer": 3, "n_head": 2, "n_embd": 8, "vocab_size": 64, "n_positions": 32, "eos_token_id": None}
_LLAMA = {
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "hidden_size": 8,
    "vocab_size": 64,
}
_LLAMA |= {"intermediate_size": 16, "max_position_embeddings": 32}
_BERT = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 12, "vocab_size": 64, "intermediate_size": 16}
_BERT |= {"max_position_embeddings": 40}
KINDS: dict[str, Any] = {
    "gpt2": (GPT2LMHeadModel, GPT2Config, _GPT2),
    "llama": (LlamaForCausalLM, LlamaConfig, _LLAMA),
    "bert": (BertModel, BertConfig, _BERT),
    "roberta": (RobertaModel, RobertaConfig, _BERT | {"max_position_embeddings": 120, "pad_token_id": 60}),
    "modernbert": (ModernBertModel, ModernBertConfig, _BERT | {"pad_token_id": 60}),
}


def write_teacher(folder: Path, kind: str = "llama", scale: float = 0.5, **settings: Any) -> PreTrainedModel:
    """A random model in `folder`; gives it."""
    model, config, values = KINDS[kind]
    torch.manual_seed(5)
    made = model(config(**(values | settings))).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, scale)
    made.save_pretrained(folder)
    return made


LETTERS = "abcdefghijklmnopqrstuvwxyz.,0123456789"


def write_letters(path: Path, *merges: str, around: bool = False) -> None:
    """A tokenizer of one token per letter, and of the `merges`, words of two letters. `around`: `[` before and `]` after."""
    vocabulary = {char: number for number, char in enumerate((*LETTERS, *merges, "[UNK]"))}
    tokenizer = Tokenizer(models.BPE(vocabulary, [(a, b) for a, b in merges], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if around:
        tokenizer.add_special_tokens(["[", "]"])
        known = [(mark, tokenizer.token_to_id(mark)) for mark in "[]"]
        tokenizer.post_processor = processors.TemplateProcessing(single="[ $A ]", special_tokens=known)
    tokenizer.save(str(path))


@torch.no_grad()
def states(model: PreTrainedModel, ids: list[int], layer: int | str) -> Tensor:
    """Hidden states [T, d] of one text; the last layer but for `final` is read in front of the final norm."""
    found: list[Tensor] = []
    if layer == model.config.num_hidden_layers and not isinstance(model, BertModel | RobertaModel):
        trunk = model.base_model
        blocks = trunk.h if isinstance(model, GPT2LMHeadModel) else trunk.layers
        handle = blocks[-1].register_forward_hook(
            lambda _, args, out: found.append(out if isinstance(out, Tensor) else out[0])
        )
        model(torch.tensor([ids]))
        handle.remove()
        return found[0][0]
    out = model(torch.tensor([ids]), output_hidden_states=True)
    return out.hidden_states[-1 if layer == "final" else layer][0]
