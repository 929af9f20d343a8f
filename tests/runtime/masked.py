"""A masked language model of three blocks, its adapter, and datasets that are compiled for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from mcd.runtime.adapters import ADAPTERS
from mcd.runtime.dataset import Dataset, load

from ..projects import WORDS, compiled, project
from .builders import CONTEXT, HEADS, LAYERS, VOCAB, WIDTH

BERT = ADAPTERS["bert"]
NAMES = ["[CLS]", "[SEP]", "[MASK]"]
SPECIAL = [len(WORDS) + place for place in range(len(NAMES))]
CLS, SEP, MASK = SPECIAL


def make_bert(**settings: Any) -> nn.Module:
    """A random BERT with its masked-language-model head, whose last step is no map of the final states alone."""
    given = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "vocab_size": VOCAB}
    given |= {"intermediate_size": 24, "max_position_embeddings": CONTEXT, "hidden_dropout_prob": 0.0}
    torch.manual_seed(7)
    model = BertForMaskedLM(BertConfig(**(given | {"attention_probs_dropout_prob": 0.0} | settings)))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.4)
    return model


MODEL = """model m {
  layers = 3  heads = 4  hidden = 16  vocab = 64  causal = false
  tokenizer = "tokenizer.json"  context = 16
}
"""


def masked_project(folder: Path, spec: str, records: list[dict[str, Any]], names: list[str] = NAMES) -> Path:
    """A project whose tokenizer adds `names[0]` before a text and `names[1]` behind it, and knows the others of them."""
    path = project(folder, spec, records)
    path.write_text(f"mcd 1\n{MODEL}{spec}", encoding="utf-8")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")
    tokenizer.add_special_tokens(names)
    known = [(name, tokenizer.token_to_id(name)) for name in names[:2]]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{names[0]} $A {names[1]}", special_tokens=known)
    tokenizer.save(str(folder / "tokenizer.json"))
    return path


def masked_dataset(folder: Path, spec: str, records: list[dict[str, Any]], names: list[str] = NAMES) -> Dataset:
    """The dataset of such a project."""
    compiled(masked_project(folder, spec, records, names), folder / "out")
    return load(folder / "out")
