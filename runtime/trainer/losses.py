"""Losses per rule, over the steps between two entries of a log and over the batches of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ...dsl.codes.runtime import DIVERGED
from ...dsl.diagnostics import Failure
from ..batch import Batch
from ..schedule import multipliers
from ..supervised import Supervised
from ..totals import ALONE, Losses, Reduction, Totals, all_ranks, ratio


class Step:
    """An optimiser step: its time, and the denominators of its micro-batches.

    They are counted when the first micro-batch runs, since a trainer that resumes restores the random state only then: a pass
    that finds weights draws what the passes after it draw.
    """

    def __init__(
        self,
        supervised: Supervised,
        batches: Iterable[Batch],
        time: float,
        around: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """`around`: what the passes run in (autocast)."""
        self.time = time
        self._supervised, self._around = supervised, around
        self._batches: list[Batch] = list(batches)
        self._totals: Totals | None = None

    def totals(self, log: RuleLog) -> Totals:
        """Its denominators; the first call counts them, and notes the step in `log`."""
        if self._totals is None:
            with self._around():
                self._totals = self._supervised.totals(self._batches, self.time)
            self._batches = []
            log.begin(self._totals, self.time)
        return self._totals


class RuleLog:
    """The losses of steps since they were last read. Sums stay on the device; reading them waits for it, and for all ranks."""

    def __init__(self) -> None:
        self._steps = 0
        self._had: Tensor | None = None
        self._sums: Tensor | None = None
        self._ids: tuple[str, ...] = ()
        self._time = 0.0

    def begin(self, totals: Totals, time: float) -> None:
        """A step with these denominators begins, at `time`."""
        self._time = time
        had = (totals.rules > 0).double()
        self._had = had if self._had is None else self._had + had
        self._steps += 1

    def add(self, out: Losses) -> None:
        """A micro-batch of the step."""
        sums = torch.cat([out.token.detach().view(1), out.values.detach()]).double()
        self._sums = sums if self._sums is None else self._sums + sums
        self._ids = tuple(out.rules)

    def read(self, step: int) -> dict[str, float]:
        """`time` of the last step, `token_loss`, and `rule/NAME` for rules that had rows: means over the steps (those with rows)
        since the last call.

        Fails with MCD752, naming what is no number.
        """
        if self._sums is None or self._had is None:
            return {}
        sums, had, steps = all_ranks().sum(self._sums).tolist(), self._had.tolist(), self._steps
        self._steps, self._had, self._sums = 0, None, None
        pairs = zip(self._ids, sums[1:], had, strict=True)
        found = {"token_loss": sums[0] / steps} | {f"rule/{id}": value / n for id, value, n in pairs if n}
        broken = [name for name, value in found.items() if not math.isfinite(value)]
        if broken:
            names = ", ".join(f"`{name.removeprefix('rule/')}`" for name in broken)
            message = f"the loss of {names} is no number in the {steps} steps up to step {step}"
            help = "try a lower `learning_rate`, or a longer warm-up"
            raise Failure(DIVERGED.at(None, message, help=help))
        return {"time": self._time, **found}


class Evaluation:
    """The losses over all batches of a split, as one optimiser step at `time` would have them. Each batch runs once."""

    def __init__(self, supervised: Supervised, time: float) -> None:
        self._supervised, self._time = supervised, time
        self._scale = multipliers(supervised.plan, time)
        self._over: Tensor | None = None
        self._under: Tensor | None = None
        self._ids: tuple[str, ...] = ()
        self._factors: tuple[float, ...] = ()

    def add(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Losses]:
        """Adds what `model`, the supervised one in whatever is around it, gives for a batch. Gives its own loss, too."""
        weights: list[Tensor] = []

        def take(weight: Tensor) -> Tensor:
            weights.append(weight)
            return torch.ones_like(weight)

        batch = batch.to(self._supervised.device)
        shares = self._supervised.totals([batch], self._time, reduce=ALONE).rules
        out: Losses = model(batch, time=self._time, totals=Totals(None, torch.ones_like(shares), 1, Reduction(take, 1)))
        shares = shares * (out.counts[: len(shares)] > 0)
        over = torch.cat([out.token.view(1), out.values]).double()
        under = torch.cat([weights[0].view(1).to(shares), shares]).double()
        self._over = over if self._over is None else self._over + over
        self._under = under if self._under is None else self._under + under
        self._ids, self._factors = tuple(out.rules), out.factors
        return self._total(ratio(over, under)).float(), out

    def result(self) -> dict[str, float]:
        """`loss`, `token_loss`, and `rule/NAME` of rules that had rows, over all ranks."""
        if self._over is None or self._under is None:
            return {}
        over, under = all_ranks().sum(torch.stack([self._over, self._under]))
        means = ratio(over, under)
        pairs = zip(self._ids, means[1:].tolist(), under[1:].tolist(), strict=True)
        rules = {f"rule/{id}": value for id, value, rows in pairs if rows}
        return {"loss": float(self._total(means)), "token_loss": float(means[0]), **rules}

    def _total(self, means: Tensor) -> Tensor:
        return self._scale.token * means[0] + (means[1:] * means.new_tensor(self._factors)).sum()
