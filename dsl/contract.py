"""A Hugging Face config.json -> the numbers that a spec is checked against.

Reads JSON alone: neither torch nor transformers is needed, and no code of the model's is run. Keys are those that transformers
uses for its causal and masked language models; a composite config (`text_config`) is read for its text part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .codes import model as codes
from .diagnostics import Diagnostic, Failure
from .source import DataPlace, Place
from .windows import Windows, read_windows

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
HIDDEN = ("hidden_size", "n_embd", "d_model", "n_embed", "dim")
VOCAB = ("vocab_size",)
POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
TWO_STACKS = frozenset({"t5"})
"""Models of an encoder and a decoder of which a spec supervises one: the one that `causal` names."""

# fmt: off
ENCODERS = frozenset(
    {
        "albert", "bert", "camembert", "convbert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "esm",
        "eurobert", "flaubert", "funnel", "megatron-bert", "modernbert", "mobilebert", "mpnet", "nomic_bert",
        "nystromformer", "rembert", "roberta", "roberta-prelayernorm", "roformer", "squeezebert", "xlm-roberta",
        "xlm-roberta-xl"
    }
)
BEHIND_PADDING = frozenset({"camembert", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"})
"""Encoders whose first token has the place behind that of padding, so that as many fewer are left for tokens."""
DECODERS = frozenset(
    {
        "bloom", "codegen", "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "falcon", "gemma", "gemma2", "gemma3",
        "gemma3_text", "glm", "glm4", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite",
        "helium", "llama", "llama4_text", "mistral", "mixtral", "mpt", "nemotron", "olmo", "olmo2", "olmoe", "opt",
        "persimmon", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3", "stablelm",
        "starcoder2", "xglm"
    }
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Contract:
    """What layers, heads and widths are checked against.

    `positions`: the longest context, None where the model has no such limit. `windows`: of the layers, see `windows`.
    """

    architecture: str | None
    layers: int
    heads: int
    hidden: int
    vocab: int
    causal: bool
    positions: int | None = None
    windows: Windows = ()


def is_two_stacks(path: Path) -> bool:
    """Whether the config at `path` is of an encoder and a decoder, of which `causal` names one."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and _two_stacks(config)


def read_contract(path: Path, place: Place | DataPlace, shown: str, causal: bool | None = None) -> Contract:
    """The contract of the config at `path`; `place` is where findings point, `shown` what they call the file. `causal`: whether
    the decoder is meant of a model of two stacks; None where nobody said.

    Raises Failure with every number that is missing or makes no sense.
    """
    config = _read(path, place, shown)
    if causal and _two_stacks(config) and config.get("num_decoder_layers") is not None:
        config = {**config, "num_layers": config["num_decoder_layers"]}
    wrong: list[Diagnostic] = []

    def number(keys: tuple[str, ...], meaning: str) -> int:
        found = _number(config, keys)
        if isinstance(found, int):
            return found
        said = (
            f"`{shown}` has no {meaning} (looked for {', '.join(keys[:2])})" if found is None else f"`{shown}`: {found}"
        )
        wrong.append(codes.CONFIG_LACKS.at(place, said))
        return 1

    layers = number(LAYERS, "number of layers")
    contract = Contract(
        architecture=_kind(config),
        layers=layers,
        heads=number(HEADS, "number of heads"),
        hidden=number(HIDDEN, "hidden size"),
        vocab=number(VOCAB, "vocabulary size"),
        causal=_causal(config, causal, place, shown, wrong),
        positions=_positions(config),
        windows=_windows(config, layers, place, shown, wrong),
    )
    if wrong:
        raise Failure(*wrong)
    return contract


def _read(path: Path, place: Place | DataPlace, shown: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Failure(codes.BAD_CONFIG.at(place, f"`{shown}` cannot be read: {error.strerror}")) from None
    except (ValueError, RecursionError) as error:
        raise Failure(codes.BAD_CONFIG.at(place, f"`{shown}` is no JSON: {error}")) from None
    if not isinstance(config, dict):
        raise Failure(codes.BAD_CONFIG.at(place, f"`{shown}` is no JSON object"))
    text = config.get("text_config")
    if isinstance(text, dict) and _first(config, LAYERS) is None:
        return {**config, **text}
    return config


def _kind(config: dict[str, Any]) -> str | None:
    kind = config.get("model_type")
    return kind if isinstance(kind, str) else None


def _first(config: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((config[key] for key in keys if config.get(key) is not None), None)


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _number(config: dict[str, Any], keys: tuple[str, ...]) -> int | str | None:
    """The first of `keys` that is there: its value, or what is wrong with it."""
    value = _first(config, keys)
    if value is None:
        return None
    key = next(key for key in keys if config.get(key) is not None)
    return _positive(value) or f"`{key}` is {json.dumps(value)[:40]}, expected a whole number above 0"


def _positions(config: dict[str, Any]) -> int | None:
    positions = _positive(_first(config, POSITIONS))
    if positions is None or _kind(config) not in BEHIND_PADDING:
        return positions
    padding = config.get("pad_token_id", 1)
    return max(1, positions - padding - 1) if isinstance(padding, int) and padding >= 0 else positions


def _two_stacks(config: dict[str, Any]) -> bool:
    return config.get("is_encoder_decoder", True) is True and _kind(config) in TWO_STACKS


def _causal(
    config: dict[str, Any], said: bool | None, place: Place | DataPlace, shown: str, wrong: list[Diagnostic]
) -> bool:
    kind = _kind(config)
    if said is not None and _two_stacks(config):
        return said
    if config.get("is_encoder_decoder") is True or _two_stacks(config):
        message = f"`{shown}` is an encoder-decoder model (`{kind}`); a spec supervises a model of one stack of blocks"
        help = "give the config of a decoder or of an encoder"
        if _two_stacks(config):
            help = "of a model, write `causal = false` beside it for the encoder, `causal = true` for the decoder"
        wrong.append(codes.NOT_A_DECODER.at(place, message, help=help))
        return True
    if kind in ENCODERS or kind in TWO_STACKS:
        return config.get("is_decoder") is True
    named = config.get("architectures")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    if kind in DECODERS or any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return True
    if any("ForMaskedLM" in name for name in names):
        return False
    message = f"`{shown}` does not tell whether `{kind}` is causal" if kind else f"`{shown}` has no `model_type`"
    wrong.append(codes.CONFIG_LACKS.at(place, message, help="give layers, heads, hidden, vocab and causal instead"))
    return True


def _windows(
    config: dict[str, Any], layers: int, place: Place | DataPlace, shown: str, wrong: list[Diagnostic]
) -> Windows:
    if wrong:
        return ()
    try:
        return read_windows(config, layers)
    except ValueError as error:
        wrong.append(codes.CONFIG_LACKS.at(place, f"`{shown}`: {error}"))
        return ()
