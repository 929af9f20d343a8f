"""How models are run over a batch.

Places: rotary and relative ones depend on differences alone, so that padding on the left moves nothing. A model of learned places
is told where each token stands, from its record's first token on, whichever side the padding is on.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from ..batch import Batch
from ..packed import beside
from .wrappers import unwrap


def places(batch: Batch, first: int = 0) -> Tensor:
    """Where each token stands in its record, counted from `first`: [B, T]. Padding on the left has the first token's place."""
    if batch.position_ids is not None:
        return batch.position_ids + first
    before = (batch.attention_mask.cumsum(1) == 0).sum(1, keepdim=True)
    place = torch.arange(batch.input_ids.shape[1], device=before.device)
    return (place - before).clamp(min=0) + first


def _given(model: nn.Module, batch: Batch, first: int | None, causal: bool) -> dict[str, Any]:
    given: dict[str, Any] = {"input_ids": batch.input_ids, **beside(model, batch)}
    if causal:
        given["use_cache"] = False
    if first is not None:
        given["position_ids"] = places(batch, first)
    return given


def hugging_face_logits(model: nn.Module, batch: Batch, *, first: int | None = None, causal: bool = True) -> Tensor:
    """Logits [B, T, V] of a Hugging Face language model. `first`: see `Adapter.first_position`."""
    return cast(Tensor, model(**_given(model, batch, first, causal)).logits)


def hugging_face_states(model: nn.Module, batch: Batch, *, first: int | None = None, causal: bool = True) -> Tensor:
    """What a Hugging Face model puts out without its head: [B, T, d]."""
    trunk: Any = getattr(unwrap(model), "base_model", model)
    return cast(Tensor, trunk(**_given(model, batch, first, causal))[0])


def plain_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits [B, T, V] of a module that takes token ids alone: padding is on the right, where causal attention never looks."""
    return cast(Tensor, model(batch.input_ids))


def gemma3_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Of Gemma 3 with an image encoder: every token is one of text."""
    kinds = torch.zeros_like(batch.input_ids)
    return cast(Tensor, model(**_given(model, batch, None, True), token_type_ids=kinds).logits)


def t5_encoder(model: nn.Module, batch: Batch) -> Tensor:
    """The states [B, T, d] of T5's encoder. The decoder does not run."""
    inner: Any = unwrap(model)
    return cast(Tensor, inner.encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state)


def t5_decoder(model: nn.Module, batch: Batch) -> Tensor:
    """Logits [B, T, V] of T5's decoder, which reads the batch's tokens as they are, the row of each predicting the next.

    The encoder reads the empty text, which is its end token, without gradients: a text of its own would show the decoder what it
    is to predict.
    """
    inner: Any = unwrap(model)
    records, device = len(batch.input_ids), batch.input_ids.device
    end = inner.config.eos_token_id
    end = end[0] if isinstance(end, list | tuple) else end
    empty = torch.full((records, 1), 1 if end is None else end, device=device)
    with torch.no_grad():
        source = inner.encoder(input_ids=empty, attention_mask=torch.ones_like(empty)).last_hidden_state
    output = model(
        attention_mask=torch.ones_like(empty),
        encoder_outputs=BaseModelOutput(last_hidden_state=source),
        decoder_input_ids=batch.input_ids,
        decoder_attention_mask=batch.attention_mask,
        use_cache=False,
    )
    return cast(Tensor, output.logits)
