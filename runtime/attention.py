"""Attention rows of a running model, without attention matrices.

The model's own kernel computes its output as always. On the way there, one function keeps references to the query and key
(after rotary positions, with keys still shared by groups), the scale and the mask, for the layers that a plan names. From
these the supervised rows alone are computed again, in float32: `Q` rows of `T` keys per record, never T x T.

transformers finds attention functions by the name in a model's config. `capturing` puts another name there for the time of
a forward pass, under which the same kernel and the same kind of mask are registered, and puts the first one back however
the pass ends.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from ..dsl.codes.runtime import UNSUPPORTED_ATTENTION
from ..dsl.diagnostics import Failure
from .losses.rows import NEVER, KeyRows
from .precision import widen

PREFIX = "mcd_"


@dataclass(frozen=True, slots=True)
class Observed:
    """What one attention layer computed with. References, not copies.

    `query` [B, H, T, d]; `key` [B, H / g, T, d], shared by g query heads each; `mask`: None, or [B or 1, 1 or H, T, T], bool or
    additive; `causal` and `window` matter without a mask. Scores are softcap * tanh(scale q.k / softcap) + bias; `bias`: [1 or B,
    1 or H, T, T]; `sinks` [H] are scores of no key.
    """

    query: Tensor
    key: Tensor
    scaling: float
    mask: Tensor | None
    causal: bool
    softcap: float | None = None
    sinks: Tensor | None = None
    window: int | None = None
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Sink:
    """Where one forward pass leaves what it computed with. `learning`: whether it began with gradients on."""

    layers: Mapping[nn.Module, int]
    observed: dict[int, Observed]
    learning: bool


_sink: ContextVar[_Sink | None] = ContextVar("sink", default=None)


def observe(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    *,
    scaling: float | None = None,
    mask: Tensor | None = None,
    causal: bool = True,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    window: int | None = None,
    bias: Tensor | None = None,
) -> None:
    """Called by an attention module with what it is about to compute with; see `Observed`.

    Hugging Face models do it through the registered function. A module of one's own calls this itself: it does nothing unless
    a plan reads this layer. `scaling` is d ** -0.5 where it is None. Under a `window` of w, position i sees j with i - j < w.
    """
    sink = _sink.get()
    if sink is None or module not in sink.layers:
        return
    if sink.learning and not torch.is_grad_enabled():
        raise _unsupported(module, "it runs without gradients, as under reentrant checkpointing", help=REENTRANT)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    sink.observed[sink.layers[module]] = Observed(
        query, key, scale, _full(module, mask), causal, softcap, sinks, window, bias
    )


def _full(module: nn.Module, mask: Any) -> Tensor | None:
    """A mask over query and key; the two-dimensional one of the flash kernels says no more than the batch's padding."""
    if mask is None or (isinstance(mask, Tensor) and mask.ndim == 2):
        return None
    if isinstance(mask, Tensor) and mask.ndim == 4:
        return mask
    raise _unsupported(module, f"a mask of type `{type(mask).__name__}`")


REENTRANT = 'enable checkpointing with `{"use_reentrant": False}`'
SDPA = 'load the model with `attn_implementation="sdpa"`, or leave out the attention rules'


def _unsupported(module: nn.Module, what: str, help: str = SDPA) -> Failure:
    message = f"attention rules cannot read `{type(module).__name__}`: {what}"
    return Failure(UNSUPPORTED_ATTENTION.at(None, message, help=help))


@contextmanager
def capturing(configs: Sequence[Any], layers: Mapping[nn.Module, int]) -> Iterator[dict[int, Observed]]:
    """Within it, the attention modules in `layers` leave what they computed with in the dictionary, by layer number.

    `configs`: the model's, from `attention_configs`.
    """
    observed: dict[int, Observed] = {}
    if not layers:
        yield observed
        return
    before = [config._attn_implementation for config in configs]
    token = _sink.set(_Sink(layers, observed, torch.is_grad_enabled()))
    try:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = _registered(name)
        yield observed
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name
        _sink.reset(token)


def attention_configs(model: nn.Module) -> list[Any]:
    """Every distinct Hugging Face config below `model`, outer ones first: setting one sets those inside it as well."""
    found = {id(c): c for m in model.modules() if hasattr(c := getattr(m, "config", None), "_attn_implementation")}
    return list(found.values())


def _registered(kernel: str | None) -> str:
    """The name under which `kernel` is registered with an observer in front, and masks are made as for `kernel`."""
    kernel = kernel or "eager"
    name = PREFIX + kernel
    if name not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(name, partial(_observed_attention, kernel))
        if kernel in ALL_MASK_ATTENTION_FUNCTIONS:
            AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[kernel])
    return name


def _observed_attention(
    kernel: str,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    causal = kwargs.get("is_causal")
    observe(
        module,
        query,
        key,
        scaling=kwargs.get("scaling"),
        mask=attention_mask,
        causal=getattr(module, "is_causal", True) if causal is None else causal,
        softcap=kwargs.get("softcap"),
        sinks=kwargs.get("s_aux"),
        window=kwargs.get("sliding_window"),
        bias=kwargs.get("position_bias"),
    )
    if kernel != "eager":
        function = ALL_ATTENTION_FUNCTIONS[kernel]
    elif getattr(module, "reorder_and_upcast_attn", False):
        # GPT-2 takes this path by the name "eager" alone, which is not in its config now.
        upcast: Any = module._upcast_and_reordered_attn
        return cast(tuple[Tensor, Tensor], upcast(query, key, value, attention_mask))
    else:
        function = _eager(module)
    return cast(tuple[Tensor, Tensor | None], function(module, query, key, value, attention_mask, **kwargs))


def _eager(module: nn.Module) -> Callable[..., Any]:
    """The eager attention of the file that defines the module's class, or the class that it extends."""
    for kind in type(module).__mro__:
        function = getattr(sys.modules[kind.__module__], "eager_attention_forward", None)
        if function is not None:
            return cast(Callable[..., Any], function)
    raise _unsupported(module, "its eager attention is not to be found")


# --- rows ------------------------------------------------------------------------------------------------------------


def key_rows(
    seen: Observed,
    position: Tensor,
    keys: Tensor,
    mass: Tensor,
    segments: Tensor,
    heads: tuple[int, ...] | None = None,
    weight: Tensor | None = None,
) -> KeyRows:
    """The attention rows of one layer at `position` [B, Q], of all query heads or of `heads`.

    `keys` [B, Q, T] bool: each row's key set; `mass` [B, Q]; `segments` [B, T]: 0 for padding, and in a row equal
    numbers for the tokens of one record; `weight` [B, Q, T] of keys.
    """
    allowed, bias = _allowed(seen, position, segments)
    if heads is not None and allowed.shape[1] > 1:
        allowed, bias = _pick(allowed, heads, 1), None if bias is None else _pick(bias, heads, 1)
    scores = _scores(seen, position, heads)
    scores = (scores if bias is None else scores + bias).masked_fill(~allowed, NEVER)
    total = scores.logsumexp(-1, keepdim=True)
    if seen.sinks is not None:
        sinks = seen.sinks if heads is None else _pick(seen.sinks, heads, 0)
        total = torch.logaddexp(total, sinks.to(total.dtype).view(1, -1, 1, 1))
    wanted = keys[:, None]
    weight = None if weight is None else weight[:, None]
    return KeyRows(scores - total, wanted & allowed, ~wanted & allowed, mass[:, None], weight)


def _scores(seen: Observed, position: Tensor, heads: tuple[int, ...] | None) -> Tensor:
    """Scores [B, H, Q, T] of the rows: one batched product per key head, in which its query heads are more rows."""
    query, key = seen.query, seen.key
    batch, count, length, width = query.shape
    shared = count // key.shape[1]
    rows = query.gather(2, position[:, None, :, None].expand(-1, count, -1, width))
    if heads is not None:
        rows, key = _pick(rows, heads, 1), _pick(key, tuple(head // shared for head in heads), 1)
    shape = (batch, rows.shape[1], position.shape[1], length)
    rows = (widen(rows) * seen.scaling).reshape(batch, key.shape[1], shape[1] // key.shape[1] * shape[2], width)
    scores = torch.matmul(rows, widen(key).mT).reshape(shape)
    if seen.softcap is not None:
        scores = seen.softcap * torch.tanh(scores / seen.softcap)
    return scores if seen.bias is None else scores + _bias(seen.bias, position, heads)


def _bias(bias: Tensor, position: Tensor, heads: tuple[int, ...] | None) -> Tensor:
    """The rows [B, 1 or H, Q, T] of a bias on scores, in float32 or better."""
    if heads is not None and bias.shape[1] > 1:
        bias = _pick(bias, heads, 1)
    every = bias.expand(len(position), -1, -1, -1)
    return widen(every.gather(2, position[:, None, :, None].expand(-1, every.shape[1], -1, every.shape[-1])))


def _allowed(seen: Observed, position: Tensor, segments: Tensor) -> tuple[Tensor, Tensor | None]:
    """Which keys the model lets each row see [B, 1 or H, Q, T], and what its mask adds to the scores, if anything."""
    batch, length = segments.shape
    if seen.mask is None:
        mine = segments.gather(1, position)[:, None, :, None]
        allowed = (segments[:, None, None, :] == mine) & (mine > 0)
        behind = position[:, None, :, None] - torch.arange(length, device=position.device)
        if seen.causal:
            allowed = allowed & (behind >= 0)
        if seen.window is not None:
            allowed = allowed & (behind.abs() < seen.window)
        return allowed, None
    mask = seen.mask.expand(batch, -1, length, length)
    rows = mask.gather(2, position[:, None, :, None].expand(-1, mask.shape[1], -1, length))
    if rows.dtype == torch.bool:
        return rows, None
    return rows > torch.finfo(rows.dtype).min / 2, rows


def _pick(values: Tensor, heads: tuple[int, ...], dim: int) -> Tensor:
    """`values` at a few heads. By slices: a list of indices would be copied to the device and waited for at every step."""
    return torch.cat([values.narrow(dim, head, 1) for head in heads], dim)
