"""The parts of a model, by its adapter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ...dsl.codes.runtime import UNSUPPORTED_MODEL
from ...dsl.diagnostics import Diagnostic, Failure
from .adapter import Adapter, Parts
from .forward import hugging_face_logits, hugging_face_states
from .table import ADAPTERS
from .wrappers import unwrap

Find: TypeAlias = Callable[[str], nn.Module]
OWN = "pass `adapter=Adapter(blocks=..., embedding=..., norm=..., head=..., attention=...)` with the paths of its parts"
WITH_HEAD = "load the class with the language-model head (`AutoModelForCausalLM`), or pass another `adapter=`"


def locate(model: nn.Module, adapter: Adapter | None = None, *, causal: bool | None = None) -> Parts:
    """The parts of `model`, by `adapter` or by the one in `ADAPTERS` of its type; inside wrappers, see `unwrap`.

    `causal`: which side a plan means of a model of an encoder and a decoder; None: the encoder. An encoder may lack the head.
    Fails with MCD702 where no adapter fits, naming the class, and with MCD712.
    """
    inner = unwrap(model)
    config: Any = getattr(inner, "config", None)
    name = type(inner).__name__
    known = adapter is None
    if adapter is None:
        adapter = _known(name, config)
    if causal and adapter.decoder is not None:
        adapter = adapter.decoder
    both_ways = adapter.causal is False and not (known and getattr(config, "is_decoder", False))
    try:
        return _parts(inner, config, adapter, both_ways, headless=known and both_ways)
    except AttributeError as error:
        message = f"model class `{name}` does not have the parts that its adapter names: {error}"
        raise Failure(UNSUPPORTED_MODEL.at(None, message, help=WITH_HEAD)) from error


def _known(name: str, config: Any) -> Adapter:
    kind = getattr(config, "model_type", "")
    adapter = ADAPTERS.get(kind)
    if adapter is None:
        known = ", ".join(f"`{key}`" for key in ADAPTERS)
        raise Failure(_unsupported(name, f"known are the Hugging Face model types {known}"))
    reason = None if adapter.refused is None else adapter.refused(config)
    if reason is not None:
        raise Failure(_unsupported(name, reason))
    return adapter


def _unsupported(name: str, reason: str) -> Diagnostic:
    return UNSUPPORTED_MODEL.at(None, f"model class `{name}` is not supported: {reason}", help=OWN)


def _parts(model: nn.Module, config: Any, adapter: Adapter, both_ways: bool, headless: bool) -> Parts:
    """Raises AttributeError for a part that is not there. `headless`: the head may be missing."""
    # A model without a head has no wrapper around its trunk: `bert.encoder` is `encoder` there.
    prefix = getattr(model, "base_model_prefix", "")
    bare = bool(prefix) and prefix not in dict(model.named_children())

    def here(path: str) -> str:
        return path.removeprefix(f"{prefix}.") if bare else path

    def find(path: str) -> nn.Module:
        return model.get_submodule(here(path))

    if adapter.norm is None and adapter.final is None:
        raise AttributeError("it names neither `norm` nor `final`")
    blocks = find(adapter.blocks)
    owner, _, own = here(adapter.blocks).rpartition(".")
    norm = nn.Identity() if adapter.norm is None else find(adapter.norm)
    head = None
    if adapter.head is not None and not (headless and not hasattr(model, _names(adapter.head)[0])):
        head = _head(find, adapter, config)
    causal = getattr(config, "is_causal", True) if adapter.causal is None else not both_ways
    first = None if adapter.first_position is None else adapter.first_position(config)
    run = hugging_face_states if head is None else hugging_face_logits
    return Parts(
        blocks=tuple(blocks.children()),
        holder=(model.get_submodule(owner), own),
        attention=tuple(b.get_submodule(adapter.attention) for b in blocks.children()) if adapter.attention else (),
        embedding=find(adapter.embedding),
        norm=norm,
        final=norm if adapter.final is None else find(adapter.final),
        head=head,
        entry=head.parts[0] if isinstance(head, Head) else head,
        heads=adapter.heads if adapter.heads is not None else _text(config).num_attention_heads,
        causal=causal,
        logits=adapter.logits or partial(run, first=first, causal=causal),
        states=partial(hugging_face_states, first=first, causal=causal),
    )


def _text(config: Any) -> Any:
    """The part of a config that is about text."""
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _names(head: str | tuple[str, ...]) -> tuple[str, ...]:
    return (head,) if isinstance(head, str) else head


def _head(find: Find, adapter: Adapter, config: Any) -> nn.Module:
    assert adapter.head is not None, "`_parts` looks"
    modules = [find(path) for path in _names(adapter.head)]
    scale, cap = _behind(_text(config)) if adapter.capped else (1.0, None)
    scale *= 1.0 if adapter.scale is None else adapter.scale(config)
    return modules[0] if len(modules) == 1 and scale == 1 and cap is None else Head(modules, scale, cap)


def _behind(config: Any) -> tuple[float, float | None]:
    """The factor and the cap that a config puts on logits: `logit_scale` of Cohere's, `logits_scaling` of Granite's (a divisor),
    `final_logit_softcapping` of Gemma's."""
    names = ("logit_scale", "logits_scaling", "final_logit_softcapping")
    found = [getattr(config, name, None) for name in names]
    scale, divisor, cap = (float(n) if isinstance(n, int | float) and not isinstance(n, bool) else None for n in found)
    return (1.0 if scale is None else scale) / (1.0 if divisor is None else divisor), cap


class Head(nn.Module):
    """What stands between the final state and the logits, where that is more than one module. The modules are the model's own."""

    def __init__(self, modules: list[nn.Module], scale: float, cap: float | None) -> None:
        super().__init__()
        self.parts = nn.Sequential(*modules)
        self.scale, self.cap = scale, cap

    def forward(self, states: Tensor) -> Tensor:
        """Logits [..., V] of final states [..., d]: cap * tanh(scale * head(states) / cap), or scale * head(states)."""
        logits: Tensor = self.parts(states)
        logits = logits if self.scale == 1 else logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)
