"""The loop of `mcd train`: that of `runtime/train.py`, with what lets it be stopped, watched and spread over ranks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch._functorch import config as functorch
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from transformers import PreTrainedModel

from ...dsl.codes.runtime import UNAVAILABLE
from ...dsl.diagnostics import Failure
from ..batch import Batch
from ..dataset import Dataset
from ..flow import projects, trains_partly
from ..monitor import Monitor, Pull
from ..supervise import supervise
from ..supervised import Supervised
from ..teachers import GivenTeachers
from ..totals import Losses, Totals
from ..train import Settings, Sums, decay_groups, learning_rate
from .feed import Feed
from .finite import Finite
from .memory import Where, explained
from .processes import ALONE, Place

Precision = Literal["float32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Mode:
    """How steps are computed. `precision`: of the model's forward pass, by autocast; `compile`: the blocks, one by one;
    `checkpointing`: blocks are computed again in the backward pass instead of being kept. `inspect_every`: steps between
    inspections of the gradients of single rules, 0 for none; `workers`: processes that make batches ahead."""

    precision: Precision = "float32"
    compile: bool = False
    checkpointing: bool = False
    inspect_every: int = 50
    workers: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that was taken: `step`, from 1, at training time `time`; its `sums`, of this rank alone; the learning `rate`; the
    `norm` of its gradient before clipping, over all ranks; `tokens` of this rank; `pulls` of rules, where it was inspected."""

    step: int
    time: float
    sums: Sums
    rate: float
    norm: Tensor
    tokens: int
    pulls: dict[str, Pull] | None


class Training:
    """A run that is under way: `done` steps of it are. Nothing of it is shared with another run but the global random state."""

    def __init__(
        self,
        dataset: Dataset,
        model: PreTrainedModel,
        settings: Settings,
        mode: Mode,
        teachers: GivenTeachers | None = None,
        place: Place = ALONE,
    ) -> None:
        """Fails as `supervise` does, and with MCD754, MCD759 and MCD763."""
        self.settings, self.mode, self.place = settings, mode, place
        self.feed = Feed(dataset, settings, mode.workers, place)
        self.supervised = supervise(model, dataset, teachers=teachers).train()
        _arrange(model, self.supervised, mode)
        self.model = model
        self.monitor = Monitor(self.supervised)
        groups = decay_groups(self.supervised, settings.weight_decay)
        self.optimizer = AdamW(groups, lr=settings.lr)
        device = self.supervised.device
        self.scaler = torch.amp.GradScaler(device.type, enabled=mode.precision == "fp16")
        self.finite = Finite()
        self.done = 0
        self._pass: nn.Module = self.supervised
        if place.ranks > 1:
            partly = trains_partly(dataset.plan)
            self._pass = DistributedDataParallel(self.supervised, find_unused_parameters=partly)
        self._where = Where()
        torch.manual_seed(settings.seed + place.rank)

    def take(self) -> Taken:
        """The next step. Fails with MCD752 before a gradient that is no number is applied, where the device need not be waited
        for, and with MCD755 and MCD762."""
        step, time = self.done + 1, self.done / self.settings.steps
        self._where = Where(step)
        with explained(self._where, self.supervised):
            batches = self.feed.step()
            with self.autocast():
                totals = self.supervised.totals(batches, time)
            pulls: dict[str, Pull] = {}
            due = self._inspected(step)
            sums = Sums.of(self._passes(batches, time, totals, pulls if due else None))
            self._where.doing = "in the step of the optimiser"
            norm = self._update(batches, time)
            self.done = step
        tokens = sum(int(batch.attention_mask.sum()) for batch in batches)
        return Taken(step, time, sums, self._rate(step - 1), norm, tokens, pulls if due else None)

    def autocast(self) -> AbstractContextManager[object]:
        """Within it, a pass has the precision of the run."""
        dtype = _DTYPES.get(self.mode.precision)
        return nullcontext() if dtype is None else torch.autocast(self.supervised.device.type, dtype=dtype)

    def close(self) -> None:
        """Takes every hook off the model, and ends what makes batches."""
        self.feed.close()
        self.monitor.close()
        self.supervised.close()

    # --- parts of a step ---

    def _inspected(self, step: int) -> bool:
        every = self.mode.inspect_every
        return every > 0 and (step == 1 or step % every == 0)

    def _passes(
        self, batches: list[Batch], time: float, totals: Totals, pulls: dict[str, Pull] | None
    ) -> Iterator[Losses]:
        """The micro-batches, each with its backward pass; the first is inspected, into `pulls`."""
        for number, batch in enumerate(batches):
            self._where.doing, self._where.batch = "in the forward pass", batch
            inspecting = pulls is not None and number == 0
            with self._apart(number + 1 < len(batches)):
                with self.monitor.watching(inspecting):
                    with self.autocast():
                        losses: Losses = self._pass(batch, time=time, totals=totals)
                    if inspecting and pulls is not None:
                        self._where.doing = "in the inspection of gradients (`--inspect-every`)"
                        pulls |= self.monitor.inspect(losses, self.scaler.get_scale())
                self._where.doing = "in the backward pass"
                self.scaler.scale(losses.loss).backward()  # type: ignore[no-untyped-call]
            self.finite.note(self.done + 1, batch.ids, losses)
            yield losses

    def _apart(self, more: bool) -> AbstractContextManager[object]:
        """Within it ranks do not add up gradients: before the last micro-batch of a step, and where a projection does it."""
        wrapper = self._pass
        if isinstance(wrapper, DistributedDataParallel) and (more or projects(self.supervised.plan)):
            return cast(AbstractContextManager[object], wrapper.no_sync())
        return nullcontext()

    def _update(self, batches: list[Batch], time: float) -> Tensor:
        """Apply the gradient of the step; gives its norm."""
        rate = self._rate(self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.unscale_(self.optimizer)
        norm = clip_grad_norm_(self.supervised.parameters(), self.settings.clip)
        if not self.scaler.is_enabled():  # Which leaves out a step whose gradients overflow, as some do.
            self.finite.note_norm(self.done + 1, norm)
        if norm.device.type == "cpu":
            self.finite.look(lambda: self._steep(batches, time))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return norm

    def _rate(self, done: int) -> float:
        return self.settings.lr * learning_rate(done, self.settings)

    def _steep(self, batches: list[Batch], time: float) -> str | None:
        """The rule whose gradient is no number in a step that was not applied; None where it is on another rank."""
        if self.place.ranks > 1:
            return None
        for batch in batches:
            norms = self.supervised.gradient_norms(self.supervised(batch, time=time))
            found = next((name for name, norm in norms.items() if not norm < float("inf")), None)
            if found is not None:
                return found
        return None

    # --- a run that goes on ---

    def state_dict(self) -> dict[str, Any]:
        """All that a run needs to go on but for the weights of the model and of what is trained beside it: what ranks share."""
        names = self._names()
        moments = [self.optimizer.state.get(parameter, {}) for parameter in self._parameters()]
        return {
            "optimizer": {name: dict(moment) for name, moment in zip(names, moments, strict=True) if moment},
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state_dict`."""
        known = self.optimizer.state_dict()
        numbers = {name: number for number, name in enumerate(self._names())}
        known["state"] = {numbers[name]: moment for name, moment in state["optimizer"].items()}
        self.optimizer.load_state_dict(known)
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def own_state(self) -> dict[str, Any]:
        """What each rank has of its own: random states, receipts, and what projections found."""
        device = self.supervised.device
        random = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(device)
        receipts, flow = self.supervised.receipts.state_dict(), self.supervised.flow.state_dict()
        return {"random": random, "receipts": receipts, "flow": flow}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Goes on from `own_state`."""
        torch.set_rng_state(state["random"]["cpu"])
        if "cuda" in state["random"]:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.supervised.device)
        self.supervised.receipts.load_state_dict(state["receipts"])
        self.supervised.flow.load_state_dict(state["flow"])

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _names(self) -> list[str]:
        """The names of the optimiser's parameters, in its order."""
        names = {parameter: name for name, parameter in self.supervised.named_parameters()}
        return [names[parameter] for parameter in self._parameters()]


def _arrange(model: PreTrainedModel, supervised: Supervised, mode: Mode) -> None:
    """Set a model up for a mode. Fails with MCD763 where model or device cannot."""
    device, kind = supervised.device.type, type(model).__name__
    if mode.precision == "fp16" and device != "cuda":
        message = f"`--precision fp16` needs a GPU, and the run is on `{device}`: small gradients would be lost"
        raise Failure(
            UNAVAILABLE.at(None, message, help="`--precision bf16` needs no scaling of losses, and runs here")
        )
    if mode.checkpointing:
        if not model.supports_gradient_checkpointing:
            message = f"`--checkpointing` is not supported by `{kind}`"
            raise Failure(UNAVAILABLE.at(None, message, help="halve `--batch-size` and double `--accumulate` instead"))
        with warnings.catch_warnings(
            action="ignore", category=FutureWarning
        ):  # Newer versions have another name for it.
            model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]
    if mode.compile:
        # A graph that is gone through twice, for an inspection or a projection, has to keep what it needs.
        functorch.donated_buffer = False
        for block in supervised.parts.blocks:
            block.compile()
