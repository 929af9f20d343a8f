"""A model held against a plan, before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedConfig

from ...compiler.plan import Contract, DistilPlan, KeepPlan, PredictPlan, RulePlan, WeighPlan
from ...dsl.codes.runtime import CONTRACT, NO_HEAD, UNSUPPORTED_ATTENTION
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ...dsl.windows import described, felt, read_windows
from .adapter import Parts
from .wrappers import unwrap

COMPILE_FOR = "compile the spec for this model: `mcd compile --model CONFIG`"
INTERFACE = "ALL_ATTENTION_FUNCTIONS"
"""What the attention of a Hugging Face model looks its kernel up in."""


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
                f"the plan was made for a model with {said}, `{type(unwrap(model)).__name__}` has {has}",
                help=COMPILE_FOR,
            )
        )


def check_heads(model: nn.Module, parts: Parts, rules: Sequence[RulePlan]) -> None:
    """Fails with MCD711 where a rule acts on what the head of the model gives, and it has none."""
    if parts.head is not None:
        return
    name = type(unwrap(model)).__name__
    help = "load the class with the language-model head, or leave the rule out"
    for rule in rules:
        if isinstance(rule, PredictPlan | DistilPlan):
            does = "reads the head"
        elif isinstance(rule, WeighPlan | KeepPlan):
            does = "weighs the token loss"
        else:
            continue
        message = f"rule `{rule.id}` {does}, and `{name}` has no language-model head here"
        raise Failure(NO_HEAD.at(DataPlace(rule.line.file, rule.line.line), message, help=help))
    if not rules:
        message = f"`{name}` has no language-model head here, and the plan no rule: nothing would be trained"
        raise Failure(NO_HEAD.at(None, message, help="load the class with the language-model head"))


def check_attention(model: nn.Module, parts: Parts, plan: Contract, rule: RulePlan) -> None:
    """Of rules that read attention, of which `rule` is one: fails with MCD703 where rows cannot be had from the model, and with
    MCD701 where its layers attend within other windows than those of the plan."""
    inner = unwrap(model)
    config: Any = getattr(inner, "config", None)
    name = type(inner).__name__
    place = DataPlace(rule.line.file, rule.line.line)
    if not parts.attention:
        message = f"rule `{rule.id}` reads attention, and the adapter of `{name}` does not say where it is"
        help = "give the adapter `attention=`, a path below a block, and call `attention.observe` in it"
        raise Failure(UNSUPPORTED_ATTENTION.at(place, message, help=help))
    closed = next((type(module) for module in parts.attention if not _open(type(module))), None)
    if closed is not None:
        message = (
            f"rule `{rule.id}` reads attention, and `{closed.__name__}` computes it without the attention interface"
        )
        help = "call `attention.observe` in a class that extends it, or leave out the attention rules"
        raise Failure(UNSUPPORTED_ATTENTION.at(place, message, help=help))
    if getattr(config, "_attn_implementation", None) == "flex_attention":
        message = f"attention rules cannot read `{name}` with `flex_attention`, whose masks are programs"
        raise Failure(UNSUPPORTED_ATTENTION.at(None, message, help='load it with `attn_implementation="sdpa"`'))
    if not isinstance(config, PreTrainedConfig):
        return
    found = felt(read_windows(config.get_text_config().to_dict(), plan.layers), plan.context)
    if found != plan.windows:
        message = f"the plan was made for a model with sliding windows {described(plan.windows)}, `{name}` has {described(found)}"
        raise Failure(CONTRACT.at(None, message, help=COMPILE_FOR))


def _open(kind: type[nn.Module]) -> bool:
    """Whether attention of this class passes where it is observed. Known of transformers' own classes alone: others may call
    `observe`, and whether they do shows in the first pass."""
    if not kind.__module__.startswith("transformers."):
        return True
    functions = [function for each in kind.__mro__ for function in vars(each).values() if inspect.isfunction(function)]
    return any(INTERFACE in inspect.unwrap(function).__code__.co_names for function in functions)
