"""What a plan says of the model itself, at a time: how many blocks run, which parameters are trained, where gradients flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..compiler.plan import GradientPlan, KeepPlan, Plan, StagePlan, WeighPlan
from ..compiler.ramps import stage_at
from ..dsl.checked import Layer
from ..dsl.codes.runtime import NOTHING_TRAINED
from ..dsl.diagnostics import Failure
from .adapters import Parts
from .conflicts import Conflict, Conflicts
from .depth import check_blocks, shortened
from .freeze import Freezer
from .gradients import Scales, Stops, check_whole
from .parameters import by_layer
from .totals import Totals


@dataclass(frozen=True, slots=True)
class FlowReceipt:
    """The model as it stood in the last pass. `stage`: its name, None without stages or before the first pass; `depth`: blocks
    that ran; `train`: the layers trained, None for all; `frozen`: numbers that the stage froze; `conflict`: under `project`."""

    stage: str | None
    depth: int
    train: tuple[Layer, ...] | None
    frozen: int
    conflict: Conflict | None


def projects(plan: Plan) -> bool:
    """Whether rules that pull against the token loss are projected, in a backward pass of their own."""
    return plan.gradient is not None and plan.gradient.conflicts == "project"


def trains_partly(plan: Plan) -> bool:
    """Whether some passes reach some parameters alone: by `depth` or `train` of a stage, or by `stop`."""
    stages = any(stage.depth is not None or stage.train is not None for stage in plan.stages)
    return stages or bool(plan.gradient and plan.gradient.stop)


class Flow:
    """A plan's stages and `gradient`, applied to a model pass by pass."""

    def __init__(self, model: nn.Module, parts: Parts, plan: Plan, supervised: nn.Module) -> None:
        """`supervised`: the model with what is trained beside it. Fails with MCD740, MCD741 or MCD744."""
        gradient = plan.gradient or GradientPlan()
        if any(stage.depth is not None and stage.depth < len(parts.blocks) for stage in plan.stages):
            check_blocks(model, parts)
        _check_embedding(model, parts, plan)
        self._plan, self._parts, self._supervised = plan, parts, supervised
        self._scales = Scales(model, parts, dict(gradient.scale))
        self._stops = Stops(parts, gradient.stop)
        self._freezer = Freezer(model, parts)
        self._conflicts = Conflicts(supervised.parameters) if projects(plan) else None
        self._unchecked = [
            *(["scale` of `gradient"] if gradient.scale else []),
            *(["conflicts = project` of `gradient"] if self._conflicts else []),
        ]
        self._limited = bool(gradient.stop) or any(s.train is not None for s in plan.stages) or parts.head is None
        self._last: tuple[str | None, int, tuple[Layer, ...] | None] = (None, len(parts.blocks), None)

    def depth(self, time: float) -> int:
        """How many blocks run at `time`."""
        stage = self._stage(time)
        return len(self._parts.blocks) if stage is None or stage.depth is None else stage.depth

    @property
    def limited(self) -> bool:
        """Whether the plan itself keeps gradients from parameters, in the last pass."""
        return bool(self._plan.gradient and self._plan.gradient.stop) or self._last[2] is not None

    @contextmanager
    def passing(self, time: float) -> Iterator[None]:
        """Within it the model runs as at `time`. A pass with gradients freezes what its stage does not train; that lasts until a
        pass of another stage. Fails with MCD740, and with MCD742 under FSDP."""
        stage = self._stage(time)
        depth, train = self.depth(time), None if stage is None else stage.train
        if torch.is_grad_enabled():
            # Once, and not before: a wrapper goes around a supervised model.
            while self._unchecked:
                check_whole(self._unchecked[-1], self._supervised)
                self._unchecked.pop()
            self._freezer.train(train)
            self._scales.attach()
        self._last = (None if stage is None else stage.name, depth, train)
        with self._stops.cutting(), shortened(self._parts, depth):
            yield

    def total(self, token: Tensor, rules: Tensor, totals: Totals) -> Tensor:
        """The loss of a pass, from that of the tokens and the sum over rules. Fails with MCD744 where no gradient can come of it
        in training, because of what the plan freezes and cuts."""
        if self._limited and self._supervised.training and torch.is_grad_enabled():
            self._check_trained(token.requires_grad or rules.requires_grad)
        return token + rules if self._conflicts is None else self._conflicts.total(token, rules, totals)

    def _check_trained(self, trained: bool) -> None:
        if not trained:
            stage, _, layers = self._last
            said = "" if layers is None else f" in stage `{stage}`, which trains layers {', '.join(map(str, layers))}"
            message = f"the loss reaches no parameter that is trained{said}"
            help = "rules that `train` and `stop` count on are missing" if self._plan.rules == () else None
            raise Failure(NOTHING_TRAINED.at(None, message, help=help))

    def receipt(self) -> FlowReceipt:
        """The model as it stood in the last pass. Under `project` it waits for the device."""
        conflict = None if self._conflicts is None else self._conflicts.receipt()
        return FlowReceipt(*self._last, self._freezer.frozen, conflict)

    def state_dict(self) -> dict[str, Any]:
        """What projections found so far, for a checkpoint: what else there is follows from the time of the next pass."""
        return {} if self._conflicts is None else self._conflicts.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state_dict`."""
        if self._conflicts is not None:
            self._conflicts.load_state_dict(state)

    def close(self) -> None:
        """Takes every hook off, and trains again what the last stage froze."""
        self._freezer.train(None)
        self._stops.close()
        self._scales.close()

    def _stage(self, time: float) -> StagePlan | None:
        return stage_at(self._plan.stages, time)[0] if self._plan.stages else None


def _check_embedding(model: nn.Module, parts: Parts, plan: Plan) -> None:
    """Fails with MCD744 where a stage trains the embedding, and neither a rule below the lowest stop nor a tied head does."""
    stops = plan.gradient.stop if plan.gradient else ()
    stage = next((stage for stage in plan.stages if stage.train is not None and 0 in stage.train), None)
    if stage is None or not stops:
        return
    reading = [rule for rule in plan.rules if not isinstance(rule, WeighPlan | KeepPlan)]
    read = {layer for rule in reading for layer in rule.layers if layer != "final"}
    owned = by_layer(model, parts)
    if all(layer > min(stops) for layer in read) and not set(owned[0]) & set(owned["final"]):
        message = (
            f"stage `{stage.name}` trains layer 0, and no gradient passes the stop at layer {min(stops)}: no rule reads below"
            f" it, and the head of `{type(model).__name__}` is not tied to its embedding"
        )
        raise Failure(NOTHING_TRAINED.at(None, message, help="leave 0 out of `train`, or `stop` higher up"))
