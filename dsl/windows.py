"""Sliding windows: how far back each layer of a model attends, as its Hugging Face config says.

Under a window of w a query at position i sees the keys at j with i - j < w: itself and the w - 1 before it; in a model that is
not causal those after it as far, |i - j| < w. That is what transformers' masks let through (`sliding_window_overlay`), what its
flash kernels are told, and GPT-Neo's own mask. Which layers slide follows from `layer_types`, and where a config has none
from the habit of its architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Windows = tuple[int | None, ...]
"""The window of each layer, from layer 1 on; None for a layer that attends to everything. Empty where all do."""

Config = Mapping[str, Any]
MAX_LAYERS = 10_000


@dataclass(frozen=True, slots=True)
class _Habit:
    """What an architecture does where its config does not say: the width of its window, which of its layers slide, counted from
    0, and whether they do before `use_sliding_window` says so. `listed`: its code reads `layer_types`."""

    width: int | None
    slides: Callable[[int, Config], bool]
    asks: bool = False
    listed: bool = True


def _every(number: int, config: Config) -> bool:
    return True


def _all_but(period: int) -> Callable[[int, Config], bool]:
    """All but every `period`-th layer."""
    return lambda number, config: bool((number + 1) % (_positive(config.get("sliding_window_pattern")) or period))


def _upper(number: int, config: Config) -> bool:
    return number >= _most(config)


def _lower_odd(number: int, config: Config) -> bool:
    return bool((number + 1) % 2) and number < _most(config)


def _without_rope(number: int, config: Config) -> bool:
    """Layers without rotary positions, which SmolLM3 lists with a 0 for each, or has one in four of."""
    if config.get("use_sliding_window", False) is not True:
        return False
    listed = config.get("no_rope_layers")
    if isinstance(listed, list | tuple):
        return number < len(listed) and not listed[number]
    return not (number + 1) % (_positive(config.get("no_rope_layer_interval")) or 4)


def _most(config: Config) -> int:
    found = config.get("max_window_layers", 28)
    return found if isinstance(found, int) else 28


_UNLISTED = _Habit(None, _every, listed=False)
HABITS: Mapping[str, _Habit] = {
    "cohere2": _Habit(4096, _all_but(4)),
    "gemma2": _Habit(4096, _all_but(2)),
    "gemma3": _Habit(4096, _all_but(6)),
    "gemma3_text": _Habit(4096, _all_but(6)),
    "gpt_oss": _Habit(128, _all_but(2)),
    "mistral": _Habit(4096, _every, listed=False),
    "mixtral": _UNLISTED,
    "olmo3": _Habit(4096, _all_but(4)),
    "phi3": _UNLISTED,
    "phimoe": _UNLISTED,
    "qwen2": _Habit(4096, _upper, asks=True),
    "qwen2_moe": _Habit(4096, _lower_odd, asks=True),
    "qwen3": _Habit(4096, _upper, asks=True),
    "qwen3_moe": _Habit(4096, _every, asks=True, listed=False),
    "smollm3": _Habit(None, _without_rope),
    "starcoder2": _UNLISTED,
}
"""By `model_type`, as transformers has them. Any other model slides in every layer that `layer_types` does not except."""

_OTHER = _Habit(None, _all_but(MAX_LAYERS + 1))


def read_windows(config: Config, layers: int) -> Windows:
    """The windows of a config of `layers` layers. Raises ValueError, with what is wrong, for a list of another length."""
    kind = config.get("model_type")
    if kind == "gpt_neo":
        return _laid(_positive(config.get("window_size", 256)), layers, _neo(config), "local")
    if kind == "modernbert":
        return _modern(config, layers)
    habit = HABITS.get(kind, _OTHER) if isinstance(kind, str) else _OTHER
    if config.get("use_sliding_window", not habit.asks) is False and (habit.asks or kind not in HABITS):
        return ()
    width = _positive(config.get("sliding_window", habit.width))
    listed = config.get("layer_types") if habit.listed else None
    if isinstance(listed, list | tuple):
        return _laid(width, layers, listed, "sliding_attention")
    return _laid(width, layers, None, "", lambda number: habit.slides(number, config))


def felt(windows: Windows, context: int) -> Windows:
    """The windows that a text of at most `context` tokens can reach beyond."""
    found = tuple(window if window is not None and window < context else None for window in windows)
    return found if any(found) else ()


def windows_at(windows: Windows, layers: Sequence[int]) -> Windows:
    """The windows of some layers, each once, the narrowest first; None, for a layer that sees everything, comes last."""
    found = {windows[layer - 1] if windows else None for layer in layers}
    return (*sorted(window for window in found if window is not None), *([None] if None in found else []))


def described(windows: Windows) -> str:
    """`8 tokens at layers 1, 3..5; 16 tokens at layer 2`."""
    if not any(windows):
        return "none"
    parts = []
    for width in dict.fromkeys(window for window in windows if window is not None):
        at = [number for number, window in enumerate(windows, 1) if window == width]
        parts.append(f"{width} tokens at layer{'s' if len(at) > 1 else ''} {runs(at)}")
    return "; ".join(parts)


def runs(numbers: Sequence[int]) -> str:
    """`1, 3..5` for ascending numbers."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in found)


def _laid(
    width: int | None,
    layers: int,
    listed: Sequence[Any] | None,
    sliding: str,
    slides: Callable[[int], bool] = lambda number: False,
) -> Windows:
    """The width at each layer that `listed` calls `sliding`, or, without a list, that `slides` tells."""
    if width is None:
        return ()
    if layers > MAX_LAYERS:
        raise ValueError(f"{layers:,} layers with a sliding window, of at most {MAX_LAYERS:,}")
    if listed is not None and len(listed) != layers:
        raise ValueError(f"the kinds of {len(listed)} layers are listed, of a model of {layers}")
    slid = [slides(number) if listed is None else listed[number] == sliding for number in range(layers)]
    return tuple(width if each else None for each in slid) if any(slid) else ()


def _neo(config: Config) -> Sequence[Any]:
    """GPT-Neo's kinds of layers: listed, or told as `[[kinds, times], ...]`."""
    listed = config.get("attention_layers")
    if isinstance(listed, list | tuple):
        return listed
    told = config.get("attention_types") or [[["global", "local"], 12]]
    try:
        pairs = [(list(kinds), int(times)) for kinds, times in told]
    except (TypeError, ValueError):
        raise ValueError("`attention_types` is no list of kinds of layers and times") from None
    if sum(len(kinds) * times for kinds, times in pairs) > MAX_LAYERS:
        raise ValueError(f"`attention_types` lists more than {MAX_LAYERS:,} layers")
    return [kind for kinds, times in pairs for kind in kinds * times]


def _modern(config: Config, layers: int) -> Windows:
    """ModernBERT's: `local_attention` counts both directions, and the token itself is one more."""
    width = _positive(config.get("local_attention", 128))
    period = _positive(config.get("global_attn_every_n_layers")) or 3
    listed = config.get("layer_types")
    kinds = listed if isinstance(listed, list | tuple) else None
    window = None if width is None else width // 2 + 1
    return _laid(window, layers, kinds, "sliding_attention", lambda number: bool(number % period))


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
