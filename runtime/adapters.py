"""Where a model keeps what rules read: its blocks, attention, embedding, final norm and head.

A Hugging Face model is found by its `model_type`, one entry of `ADAPTERS`. Any other `nn.Module` comes with an `Adapter` of
its own: `supervise(model, plan, adapter=Adapter(...))`. Its attention modules call `attention.observe` with the query and key
that they use, which is all that attention rules ask of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedConfig

from ..compiler.plan import Contract
from ..dsl.codes.runtime import CONTRACT, UNSUPPORTED_MODEL
from ..dsl.diagnostics import Failure
from ..dsl.windows import described, felt, read_windows
from .batch import Batch

COMPILE_FOR = "compile the spec for this model: `mcd compile --model CONFIG`"
WRAPPERS = "a wrapper (DDP, FSDP, compile) goes around the supervised model"


def hugging_face_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits [B, T, V] of a Hugging Face causal language model."""
    output = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    return cast(Tensor, output.logits)


def plain_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits [B, T, V] of a module that takes token ids alone: padding is on the right, where causal attention never looks."""
    return cast(Tensor, model(batch.input_ids))


@dataclass(frozen=True, slots=True)
class Adapter:
    """Dotted paths of a model's parts, as `nn.Module.get_submodule` reads them.

    `attention` is below a block; None: attention rules are refused. `norm` is the final norm. `heads` and `causal` are read from
    the model's `config` where they are None. `logits` runs the model.
    """

    blocks: str
    embedding: str
    norm: str
    head: str
    attention: str | None = None
    logits: Callable[[nn.Module, Batch], Tensor] = hugging_face_logits
    heads: int | None = None
    causal: bool | None = None


LLAMA = Adapter(
    blocks="model.layers", embedding="model.embed_tokens", norm="model.norm", head="lm_head", attention="self_attn"
)
ADAPTERS: dict[str, Adapter] = {
    "gpt2": Adapter(
        blocks="transformer.h", embedding="transformer.wte", norm="transformer.ln_f", head="lm_head", attention="attn"
    ),
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
}
"""By `config.model_type`."""

ENCODERS: dict[str, Adapter] = {
    "bert": Adapter(
        blocks="encoder.layer",
        embedding="embeddings.word_embeddings",
        norm="encoder",  # whose output is the last block's: there is no norm behind that
        head="",  # no logits are read of an encoder
        causal=False,
    ),
}
"""Models that can be teachers alone, by `config.model_type`: the paths are those of the model without a head."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The modules of a model that rules read. `attention` has one entry per block, or none where no adapter names it. `holder`:
    the module that the list of blocks belongs to, and the name of the list in it."""

    blocks: tuple[nn.Module, ...]
    holder: tuple[nn.Module, str]
    attention: tuple[nn.Module, ...]
    embedding: nn.Module
    norm: nn.Module
    head: nn.Module
    heads: int
    causal: bool
    logits: Callable[[nn.Module, Batch], Tensor]

    @property
    def shape(self) -> tuple[int, int]:
        """Vocabulary and width, as the embedding has them."""
        vocab, width = cast(Tensor, self.embedding.weight).shape
        return vocab, width


def locate(model: nn.Module, adapter: Adapter | None = None, adapters: Mapping[str, Adapter] = ADAPTERS) -> Parts:
    """The parts of `model`, by `adapter` or by the one in `adapters` of its type.

    Fails with MCD702 where no adapter fits, naming the class.
    """
    config: Any = getattr(model, "config", None)
    name = type(model).__name__
    kind = getattr(config, "model_type", "")
    if adapter is None and kind not in adapters:
        known = ", ".join(f"`{key}`" for key in adapters)
        raise Failure(
            UNSUPPORTED_MODEL.at(
                None,
                f"model class `{name}` is not supported: known are the Hugging Face model types {known}",
                help=f"pass `adapter=` with the paths of its parts; {WRAPPERS}",
            )
        )
    adapter = adapter or adapters[kind]
    try:
        blocks = tuple(model.get_submodule(adapter.blocks).children())
        owner, _, own = adapter.blocks.rpartition(".")
        return Parts(
            blocks=blocks,
            holder=(model.get_submodule(owner), own),
            attention=tuple(b.get_submodule(adapter.attention) for b in blocks) if adapter.attention else (),
            embedding=model.get_submodule(adapter.embedding),
            norm=model.get_submodule(adapter.norm),
            head=model.get_submodule(adapter.head),
            heads=adapter.heads if adapter.heads is not None else config.num_attention_heads,
            causal=adapter.causal if adapter.causal is not None else getattr(config, "is_causal", True),
            logits=adapter.logits,
        )
    except AttributeError as error:
        raise Failure(
            UNSUPPORTED_MODEL.at(
                None,
                f"model class `{name}` does not have the parts that its adapter names: {error}",
                help="load the class with the language-model head (`AutoModelForCausalLM`), or pass another `adapter=`",
            )
        ) from error


def check_contract(model: nn.Module, parts: Parts, plan: Contract) -> None:
    """Fails with MCD701 where the model's numbers are not those of the plan, naming both."""
    vocab, width = parts.shape
    found = {"layers": len(parts.blocks), "heads": parts.heads, "hidden": width, "vocab": vocab, "causal": parts.causal}
    wanted = {name: getattr(plan, name) for name in found}
    wrong = [name for name in found if found[name] != wanted[name]]
    if wrong:
        said = ", ".join(f"{name} = {wanted[name]}" for name in wrong)
        has = ", ".join(f"{name} = {found[name]}" for name in wrong)
        raise Failure(
            CONTRACT.at(
                None,
                f"the plan was made for a model with {said}, `{type(model).__name__}` has {has}",
                help=COMPILE_FOR,
            )
        )


def check_attention(model: nn.Module, plan: Contract) -> None:
    """Of a Hugging Face model: fails with MCD701 where its layers attend within other windows than those of the plan."""
    config: Any = getattr(model, "config", None)
    name = type(model).__name__
    if not isinstance(config, PreTrainedConfig):
        return
    found = felt(read_windows(config.get_text_config().to_dict(), plan.layers), plan.context)
    if found != plan.windows:
        message = f"the plan was made for a model with sliding windows {described(plan.windows)}, `{name}` has {described(found)}"
        raise Failure(CONTRACT.at(None, message, help=COMPILE_FOR))
