"""A bare training loop, to be read and copied. `mcd train` takes the same steps, with what `training` puts around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from .batch import Batch
from .collate import Collator
from .dataset import Dataset
from .loader.loader import Loader
from .masking import masking_of
from .supervise import supervise
from .supervised import Supervised
from .teachers import GivenTeachers
from .totals import ALONE, Losses


@dataclass(frozen=True, slots=True)
class Settings:
    """`steps` of the optimiser, each over `accumulate` micro-batches of `batch_size` records. The learning rate rises to `lr`
    over the first `warmup` share of the steps and falls to 0 along a cosine; gradients are clipped to the norm `clip`."""

    steps: int
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 3e-4
    warmup: float = 0.05
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0


@dataclass(slots=True)
class Sums:
    """The losses of several passes that share their totals, added up; what they hold beside that is let go.

    `rules` [rules]: the loss of each rule of `ids` that has one, before weight and multiplier; `rows` [ids]; `ranked`, `kept`
    [keep rules]: tokens of the last of `ids`.
    """

    ids: tuple[str, ...]
    loss: Tensor
    token: Tensor
    rules: Tensor
    rows: Tensor
    ranked: Tensor
    kept: Tensor

    @classmethod
    def of(cls, passes: Iterable[Losses]) -> Sums:
        """The sums over passes, of which there is at least one. Each is let go before the next is asked for."""
        found: Sums | None = None
        for each in passes:
            losses = (each.loss.detach(), each.token.detach(), each.values.detach())
            one = cls(each.ids, *losses, each.counts, each.ranked, each.kept)
            found = one if found is None else found._plus(one)
            del each
        assert found is not None
        return found

    def _plus(self, other: Sums) -> Sums:
        columns = ("loss", "token", "rules", "rows", "ranked", "kept")
        return Sums(self.ids, *(getattr(self, name) + getattr(other, name) for name in columns))


Watch = Callable[[int, Supervised, Sums, float], None]
"""Called after each step with its number from 1, the model, the step's losses and its learning rate."""


def train(
    dataset: Dataset,
    model: nn.Module,
    settings: Settings,
    watch: Watch | None = None,
    teachers: GivenTeachers | None = None,
) -> Supervised:
    """Train `model` on the rows of `dataset` under its plan. The same settings give the same order of records, whatever the plan.

    `teachers`: as for `supervise`. Gives the supervised model, with its receipts and probes; `close` it to have the hooks off.
    """
    supervised = supervise(model, dataset, teachers=teachers).train()
    optimizer = AdamW(decay_groups(supervised, settings.weight_decay), lr=settings.lr)
    schedule = LambdaLR(optimizer, lambda step: learning_rate(step, settings))
    torch.manual_seed(settings.seed)
    for step, batches in enumerate(step_batches(dataset, settings)):
        time = step / settings.steps
        totals = supervised.totals(batches, time)
        sums = Sums.of(backward(supervised(batch, time=time, totals=totals)) for batch in batches)
        clip_grad_norm_(supervised.parameters(), settings.clip)
        rate = float(schedule.get_last_lr()[0])
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if watch is not None:
            watch(step + 1, supervised, sums, rate)
    return supervised


def backward(losses: Losses) -> Losses:
    """Adds the gradient of one micro-batch; gives its losses."""
    losses.loss.backward()  # type: ignore[no-untyped-call]
    return losses


def step_batches(dataset: Dataset, settings: Settings) -> Iterator[list[Batch]]:
    """The micro-batches of every optimiser step, in the order of `Loader`, epoch after epoch."""
    collate = Collator(dataset.plan, masking=masking_of(dataset.plan, settings.seed))
    loader = Loader(dataset, settings.batch_size, seed=settings.seed, collate=collate)
    batches = chain.from_iterable(repeat(loader))
    for _ in range(settings.steps):
        yield list(islice(batches, settings.accumulate))


def learning_rate(step: int, settings: Settings) -> float:
    """The learning rate of step `step`, from 0, as a share of its highest."""
    warmup = math.ceil(settings.warmup * settings.steps)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(settings.steps - warmup, 1)))


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for an optimiser: matrices decay, vectors (norms, biases) do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


@torch.no_grad()
def evaluate(supervised: Supervised, dataset: Dataset, time: float, batch_size: int = 16) -> Sums:
    """The losses over all rows of `dataset`, as one optimiser step would have them. What is masked is always the same."""
    collate = Collator(dataset.plan, masking=masking_of(dataset.plan))
    starts = range(0, len(dataset), batch_size)
    batches = [collate(dataset.rows(range(at, min(at + batch_size, len(dataset))))) for at in starts]
    training = supervised.training
    supervised.eval()
    totals = supervised.totals(batches, time, reduce=ALONE)
    sums = Sums.of(supervised(batch, time=time, totals=totals) for batch in batches)
    supervised.train(training)
    return sums
