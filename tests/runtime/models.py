"""A tiny random model of every kind that `ADAPTERS` knows, with what the reference has to know of it, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    T5EncoderModel,
    T5ForConditionalGeneration,
)

from mcd.dsl.windows import Windows
from mcd.runtime.batch import Batch

from .builders import CONTEXT, HEADS, LAYERS, VOCAB, WIDTH
from .reference import Body, run_decoder

_SHAPE = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "vocab_size": VOCAB}
_SHAPE |= {"intermediate_size": 24, "max_position_embeddings": CONTEXT, "pad_token_id": None}
_SHAPE |= {"bos_token_id": None, "eos_token_id": None}
_GROUPED = _SHAPE | {"num_key_value_heads": 2}
_GPT2 = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "vocab_size": VOCAB, "n_positions": CONTEXT}
_GPT2 |= {"bos_token_id": None, "eos_token_id": None, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
_STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_GEMMA = _GROUPED | {"head_dim": 4, "sliding_window": 4, "query_pre_attn_scalar": 4, "final_logit_softcapping": 3.0}
_EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
_SIGHT = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 8}
_SIGHT |= {"patch_size": 4}
_T5 = {"d_model": WIDTH, "d_kv": 4, "d_ff": 24, "num_layers": LAYERS, "num_heads": HEADS, "vocab_size": VOCAB}
_T5 |= {"dropout_rate": 0.0, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 16}


@dataclass(frozen=True)
class Kind:
    """`type`: the `model_type`. `learned`: the number of the first place, where places are learned. `spread`: of the random
    weights, where theirs would put all attention on one key."""

    type: str
    settings: dict[str, Any]
    body: Body
    loader: Any = AutoModelForCausalLM
    kernels: tuple[str, ...] = ("sdpa", "eager")
    causal: bool = True
    windows: Windows = ()
    learned: int | None = None
    spread: float = 0.4

    def make(self, attention: str | None = None) -> nn.Module:
        torch.manual_seed(7)
        config = AutoConfig.for_model(self.type, **self.settings)
        load = self.loader.from_config if hasattr(self.loader, "from_config") else self.loader._from_config
        model = load(config, attn_implementation=attention or self.kernels[0])
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1 or "sinks" in name:
                    parameter.normal_(0, 0.7 if "emb" in name or "wpe" in name or "wte" in name else self.spread)
                elif name.endswith("bias"):
                    parameter.normal_(0, 0.2)
        return model.eval()


def _reader(norm: str | None, head: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor, bool], Tensor]:
    def read(model: Any, h: Tensor, final: bool) -> Tensor:
        return head(model, h if final or norm is None else model.get_submodule(norm)(h))

    return read


def _lm_head(model: Any, h: Tensor) -> Tensor:
    return model.lm_head.weight @ h + (0 if getattr(model.lm_head, "bias", None) is None else model.lm_head.bias)


def _capped(model: Any, h: Tensor) -> Tensor:
    return 3 * torch.tanh(model.lm_head.weight @ h / 3)


def _bert_head(model: Any, h: Tensor) -> Tensor:
    head = model.cls.predictions
    return head.decoder.weight @ head.transform(h) + head.decoder.bias


def _roberta_head(model: Any, h: Tensor) -> Tensor:
    head = model.lm_head
    return head.decoder.weight @ head.layer_norm(nn.functional.gelu(head.dense(h))) + head.decoder.bias


def _modern_head(model: Any, h: Tensor) -> Tensor:
    return model.decoder.weight @ model.head(h) + model.decoder.bias


def _t5_head(model: Any, h: Tensor) -> Tensor:
    return model.lm_head.weight @ h / WIDTH**0.5


def _run_seeing(twin: nn.Module, batch: Batch, **given: Any) -> Any:
    return run_decoder(twin, batch, token_type_ids=torch.zeros_like(batch.input_ids), **given)


def _run_t5_decoder(twin: nn.Module, batch: Batch) -> Any:
    """T5's decoder reads the text, and its encoder the end token alone, whose id is 1."""
    with torch.no_grad():
        source = twin.encoder(input_ids=torch.ones(len(batch.ids), 1, dtype=torch.long))
    out = twin(
        encoder_outputs=source,
        decoder_input_ids=batch.input_ids,
        decoder_attention_mask=batch.attention_mask,
        output_attentions=True,
        output_hidden_states=True,
    )
    return _Seen(out.logits, out.decoder_attentions, out.decoder_hidden_states)


def _run_encoder(twin: nn.Module, batch: Batch) -> Any:
    out = run_decoder(getattr(twin, "encoder", twin), batch)
    return _Seen(None, out.attentions, out.hidden_states)


@dataclass(frozen=True)
class _Seen:
    logits: Tensor | None
    attentions: tuple[Tensor, ...]
    hidden_states: tuple[Tensor, ...]


_LLAMA = Body("model.layers", run_decoder, _reader("model.norm", _lm_head))
_CAPPED = replace(_LLAMA, read=_reader("model.norm", _capped))
_SLID = {"sliding_window": 4}
_SLIDING = (4, 4, 4)
_QWEN = _SLID | {"use_sliding_window": True, "max_window_layers": 1}
_TYPES = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}

KINDS = {
    "gpt2": Kind("gpt2", _GPT2, Body("transformer.h", run_decoder, _reader("transformer.ln_f", _lm_head)), learned=0),
    "llama": Kind("llama", _GROUPED | {"attention_bias": True}, _LLAMA),
    "mistral": Kind("mistral", _GROUPED | _SLID, _LLAMA, windows=_SLIDING),
    "qwen2": Kind("qwen2", _GROUPED | _QWEN, _LLAMA, windows=(None, 4, 4)),
    "qwen3": Kind("qwen3", _GROUPED | _QWEN | {"head_dim": 8}, _LLAMA, windows=(None, 4, 4)),
    "gemma2": Kind(
        "gemma2", _GEMMA | _TYPES | {"attn_logit_softcapping": 2.0}, _CAPPED, kernels=("eager",), windows=(4, None, 4)
    ),
    "gemma3_text": Kind("gemma3_text", _GEMMA | _TYPES, _CAPPED, windows=(4, None, 4)),
    "gemma3": Kind(
        "gemma3",
        {"text_config": _GEMMA | _TYPES, "vision_config": _SIGHT, "mm_tokens_per_image": 4, "image_token_index": 22},
        Body("model.language_model.layers", _run_seeing, _reader("model.language_model.norm", _lm_head)),
        windows=(4, None, 4),
    ),
    "phi": Kind(
        "phi",
        _GROUPED | {"partial_rotary_factor": 0.5},
        replace(_LLAMA, read=_reader("model.final_layernorm", _lm_head)),
    ),
    "phi3": Kind("phi3", _GROUPED | _SLID, _LLAMA, windows=_SLIDING),
    "gpt_neox": Kind(
        "gpt_neox",
        _SHAPE | {"rotary_pct": 0.5, "attention_bias": True},
        Body(
            "gpt_neox.layers", run_decoder, _reader("gpt_neox.final_layer_norm", _lm_head)
        ),
    ),
    "opt": Kind(
        "opt",
        _SHAPE | {"ffn_dim": 24, "word_embed_proj_dim": WIDTH, "dropout": 0.0, "pad_token_id": 1},
        Body("model.decoder.layers", run_decoder, _reader("model.decoder.final_layer_norm", _lm_head)),
    ),
    "mixtral": Kind("mixtral", _GROUPED | _EXPERTS | _SLID, _LLAMA, windows=_SLIDING),
    "qwen3_moe": Kind(
        "qwen3_moe",
        _GROUPED | _EXPERTS | _SLID | {"head_dim": 8, "use_sliding_window": True},
        _LLAMA,
        windows=_SLIDING,
    ),
    "gpt_oss": Kind(
        "gpt_oss",
        _GROUPED | _EXPERTS | _TYPES | _SLID | {"head_dim": 4},
        _LLAMA,
        kernels=("eager",),
        windows=(4, None, 4),
    ),
    "bert": Kind(
        "bert", _SHAPE | _STILL, Body("bert.encoder.layer", run_decoder, _reader(None, _bert_head)),
        AutoModelForMaskedLM, causal=False, learned=0,
    ),
    "roberta": Kind(
        "roberta", _SHAPE | _STILL | {"pad_token_id": 1, "max_position_embeddings": CONTEXT + 2},
        Body("roberta.encoder.layer", run_decoder, _reader(None, _roberta_head)),
        AutoModelForMaskedLM, causal=False, learned=2,
    ),
    "modernbert": Kind(
        "modernbert", _SHAPE | {"local_attention": 6, "global_attn_every_n_layers": 2},
        Body("model.layers", run_decoder, _reader("model.final_norm", _modern_head)),
        AutoModelForMaskedLM, causal=False, windows=(None, 4, None), spread=0.25,
    ),
    "t5": Kind("t5", _T5, Body("encoder.block", _run_encoder, None), T5EncoderModel, causal=False, spread=0.25),
    "t5 encoder": Kind(
        "t5", _T5, Body("encoder.block", _run_encoder, None), T5ForConditionalGeneration, causal=False, spread=0.25
    ),
    "t5 decoder": Kind(
        "t5", _T5, Body("decoder.block", _run_t5_decoder, _reader("decoder.final_layer_norm", _t5_head)),
        T5ForConditionalGeneration, spread=0.25,
    ),
}  # fmt: skip
"""By name. Windows of 4 are shorter than the records of the tests."""


def made_left(batch: Batch) -> Batch:
    """The same batch, padded on the left."""
    width = batch.input_ids.shape[1]
    shift = width - batch.attention_mask.sum(1)
    source = (torch.arange(width) - shift[:, None]) % width

    def rolled(values: Tensor) -> Tensor:
        return values.gather(1, source)

    return replace(
        batch,
        input_ids=rolled(batch.input_ids),
        attention_mask=rolled(batch.attention_mask),
        scored=rolled(batch.scored),
        labels=None if batch.labels is None else rolled(batch.labels),
        attend=tuple(
            replace(
                rows,
                position=torch.where(rows.valid, rows.position + shift[:, None], 0),
                pair_key=rows.pair_key + shift[rows.pair_record],
            )
            for rows in batch.attend
        ),
        hidden=tuple(replace(rows, position=rows.position + shift[rows.record]) for rows in batch.hidden),
        weigh=replace(batch.weigh, position=batch.weigh.position + shift[batch.weigh.record]),
    )


def own_weights(kind: Kind, model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    """The attention weights [B, H, T, T] that the model itself returns, by layer. Learned places are counted in the record."""
    run = kind.body.run
    if kind.learned is not None:
        place = (batch.attention_mask.cumsum(1) - 1).clamp(min=0) + kind.learned
        run = partial(run, position_ids=place)
    with torch.no_grad():
        return run(model, batch).attentions
