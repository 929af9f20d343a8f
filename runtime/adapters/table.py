"""The Hugging Face models that are known, by `model_type`: one entry each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .adapter import Adapter
from .forward import gemma3_logits, t5_decoder, t5_encoder

# --- what configs say ------------------------------------------------------------------------------------------------


def _from_zero(config: Any) -> int:
    return 0


def _behind_padding(config: Any) -> int:
    """RoBERTa's first place: `pad_token_id` is a place of its own, and those before it are never used."""
    return int(config.pad_token_id) + 1


def _both_ways(config: Any) -> str | None:
    """Gemma's that was made to embed texts."""
    if getattr(config.get_text_config(), "use_bidirectional_attention", False):
        return "it attends both ways (`use_bidirectional_attention`)"
    return None


def _odd_opt(config: Any) -> str | None:
    """OPT-350m's kind: without a final norm, and with an embedding that is narrower than the hidden state."""
    if not config.do_layer_norm_before or getattr(config, "_remove_final_layer_norm", False):
        return "it has no final norm (`do_layer_norm_before` is false, or `_remove_final_layer_norm` true)"
    if config.word_embed_proj_dim != config.hidden_size:
        return "its embedding has another width than its hidden state (`word_embed_proj_dim`)"
    return None


def _crossed(config: Any) -> str | None:
    return (
        "it attends to another text as well (`add_cross_attention`)"
        if getattr(config, "add_cross_attention", False)
        else None
    )


def _t5_scale(config: Any) -> float:
    """T5 scales the state that its head reads, which has no bias: that scales its logits."""
    return float(config.d_model**-0.5) if config.scale_decoder_outputs else 1.0


# --- the table -------------------------------------------------------------------------------------------------------

LLAMA = Adapter(
    blocks="model.layers", embedding="model.embed_tokens", norm="model.norm", head="lm_head", attention="self_attn"
)
GPT2 = Adapter(
    blocks="transformer.h",
    embedding="transformer.wte",
    norm="transformer.ln_f",
    head="lm_head",
    attention="attn",
    first_position=_from_zero,
    refused=_crossed,
)
GEMMA = replace(LLAMA, refused=_both_ways)
GEMMA3 = replace(
    GEMMA,
    blocks="model.language_model.layers",
    embedding="model.language_model.embed_tokens",
    norm="model.language_model.norm",
    logits=gemma3_logits,
    capped=False,  # The class with the image encoder does not read `final_logit_softcapping`.
)
OPT = Adapter(
    blocks="model.decoder.layers",
    embedding="model.decoder.embed_tokens",
    norm="model.decoder.final_layer_norm",
    head="lm_head",
    attention="self_attn",
    refused=_odd_opt,
)
GPT_NEOX = Adapter(
    blocks="gpt_neox.layers",
    embedding="gpt_neox.embed_in",
    norm="gpt_neox.final_layer_norm",
    head="lm_head",
    attention="attention",
)
BERT = Adapter(
    blocks="bert.encoder.layer",
    embedding="bert.embeddings.word_embeddings",
    norm=None,
    final="bert.encoder",
    head="cls",
    attention="attention.self",
    causal=False,
    first_position=_from_zero,
    refused=_crossed,
)
ROBERTA = replace(
    BERT,
    blocks="roberta.encoder.layer",
    embedding="roberta.embeddings.word_embeddings",
    final="roberta.encoder",
    head="lm_head",
    first_position=_behind_padding,
)
MODERNBERT = Adapter(
    blocks="model.layers",
    embedding="model.embeddings.tok_embeddings",
    norm="model.final_norm",
    head=("head", "decoder"),
    attention="attn",
    causal=False,
)
T5_DECODER = Adapter(
    blocks="decoder.block",
    embedding="shared",
    norm="decoder.final_layer_norm",
    head="lm_head",
    attention="layer.0.SelfAttention",
    logits=t5_decoder,
    causal=True,
    scale=_t5_scale,
)
T5 = replace(
    T5_DECODER,
    blocks="encoder.block",
    norm="encoder.final_layer_norm",
    head=None,
    logits=t5_encoder,
    causal=False,
    scale=None,
    decoder=T5_DECODER,
)

ADAPTERS: dict[str, Adapter] = {
    "bert": BERT,
    "gemma2": GEMMA,
    "gemma3": GEMMA3,
    "gemma3_text": GEMMA,
    "gpt2": GPT2,
    "gpt_neox": GPT_NEOX,
    "gpt_oss": LLAMA,
    "llama": LLAMA,
    "mistral": LLAMA,
    "mixtral": LLAMA,
    "modernbert": MODERNBERT,
    "opt": OPT,
    "phi": replace(LLAMA, norm="model.final_layernorm"),
    "phi3": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "qwen3_moe": LLAMA,
    "roberta": ROBERTA,
    "t5": T5,
}
"""By `config.model_type`."""
