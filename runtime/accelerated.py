"""accelerate divides every loss by the number of micro-batches of a step: what is a share of its whole step is multiplied first.

accelerate itself is never imported here: it is asked where a program uses it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch.distributed as dist
from torch import nn

from ..dsl.codes.runtime import DIVIDED
from ..dsl.diagnostics import Failure
from .batch import Batch
from .totals import Totals


class Accelerator(Protocol):
    """What is used of `accelerate.Accelerator`."""

    @property
    def gradient_accumulation_steps(self) -> int: ...
    @property
    def gradient_state(self) -> Any: ...
    def unwrap_model(self, model: Any) -> Any: ...
    def autocast(self) -> Any: ...


def accelerated_totals(accelerator: Accelerator, model: nn.Module, batches: Sequence[Batch], time: float) -> Totals:
    """The denominators of a step whose losses go to `accelerator.backward`, which divides each by the steps to accumulate over.

    `model`: what `accelerator.prepare` gave for a supervised model. `batches`: the micro-batches of the step on this rank,
    as many as it accumulates over. Called on every rank. Fails with MCD719 where `accumulate` would end the step elsewhere.
    """
    steps = accelerator.gradient_accumulation_steps
    if len(batches) != steps:
        message = f"a step has {len(batches)} micro-batches, and the accelerator ends one after {steps}"
        help = "leave out the micro-batches that are no whole step, or take them into the next epoch"
        raise Failure(DIVIDED.at(None, message, help=help))
    if steps > 1 and accelerator.gradient_state.end_of_dataloader:
        message = f"the accelerator's own loader is at its end, where each of the {steps} micro-batches ends a step"
        raise Failure(DIVIDED.at(None, message, help="leave the loader out of `accelerator.prepare`"))
    with accelerator.autocast():
        totals: Totals = accelerator.unwrap_model(model).totals(batches, time)
    return replace(totals, divided=steps)


def check_divided(model: nn.Module, totals: Totals) -> None:
    """Fails with MCD719 where an accelerator that divides losses prepared `model`, and its losses are not multiplied."""
    state: Any = sys.modules.get("accelerate.state")
    # A model that is wrapped for several ranks is not marked itself.
    wrapped = totals.ranks > 1 and dist.is_initialized()
    if state is None or not (wrapped or getattr(model, "_is_accelerate_prepared", False)):
        return
    steps = state.GradientState().num_steps
    if steps != totals.divided:
        message = f"`accelerator.backward` divides each loss by {steps}, and this one is a share of its whole step"
        help = "pass `totals=mcd.accelerated_totals(accelerator, model, batches, time)`, of all batches of the step"
        raise Failure(DIVIDED.at(None, message, help=help))
