"""Wrappers around a model: which are seen through, and which are not."""

from __future__ import annotations

from typing import Any, cast

from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DataParallel, DistributedDataParallel

from ...dsl.codes.runtime import WRAPPED_MODEL
from ...dsl.diagnostics import Failure

OUTSIDE = (DistributedDataParallel, DataParallel, FullyShardedDataParallel)
"""Wrappers that go around the supervised model, so that what is trained beside the model is theirs as well."""


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside PEFT's and torch.compile's wrappers, which run it in place.

    Fails with MCD712 for a wrapper that goes around the supervised model, and for PEFT methods that put tokens before the text.
    """
    while True:
        if isinstance(model, OUTSIDE):
            name = type(model).__name__
            message = f"the model comes in `{name}`, which would not see the probes beside it"
            outer = "DistributedDataParallel" if isinstance(model, DataParallel) else name
            raise Failure(WRAPPED_MODEL.at(None, message, help=f"wrap what `supervise` gives: `{outer}(supervised)`"))
        inner = _inside(model)
        if inner is None:
            return model
        model = inner


def _inside(model: nn.Module) -> nn.Module | None:
    """What a wrapper holds; None where `model` is none. PEFT's are known by what they offer: this package does not import it."""
    held = dict(model.named_children())
    if set(held) == {"_orig_mod"}:
        return held["_orig_mod"]
    if "base_model" in held and hasattr(model, "get_base_model") and hasattr(model, "peft_config"):
        wrapper: Any = model
        prompts = [kind for kind, config in wrapper.peft_config.items() if getattr(config, "is_prompt_learning", False)]
        if prompts:
            kind = getattr(wrapper.peft_config[prompts[0]].peft_type, "value", prompts[0])
            message = (
                f"PEFT's `{kind}` puts tokens of its own before the text, so that no token stands where a rule says"
            )
            raise Failure(WRAPPED_MODEL.at(None, message, help="use a method that changes weights, as LoRA does"))
        return cast(nn.Module, wrapper.get_base_model())
    return None
