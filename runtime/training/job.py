"""A run from its first step, or from a checkpoint, to its last: training, log, evaluation and checkpoints in their order."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...compiler.manifest import file_digest
from ..dataset import Dataset
from ..run import plain, save, write_model
from ..train import Settings, evaluate
from . import checkpoints
from .interrupts import Interrupts
from .logs import Log, summary
from .loop import Mode, Taken, Training
from .report import RuleReport, as_json, reports

SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class Every:
    """Steps between evaluations and between checkpoints, 0 for none; how many checkpoints are kept; whether the model with the
    lowest token loss in an evaluation is."""

    evaluate: int = 0
    save: int = 0
    keep: int = 3
    best: bool = False


class Interrupted(Exception):
    """A signal ended a run, after a step. `path`: the checkpoint that was written then."""

    def __init__(self, signal: int, path: Path) -> None:
        super().__init__(f"signal {signal}")
        self.signal, self.path = signal, path


class Job:
    """One run in the folder `output`. `run`: what has to be the same for a later one to go on with it, see `identity`."""

    def __init__(
        self,
        training: Training,
        log: Log,
        output: Path,
        every: Every,
        run: Mapping[str, Any],
        valid: Dataset | None = None,
    ) -> None:
        self.training, self.log, self._output, self._every = training, log, output, every
        self._run, self._valid = run, valid
        self._best = math.inf

    def take_up(self, path: Path, state: checkpoints.CheckpointFile, dataset: Dataset) -> None:
        """Stand where the run stood at a checkpoint."""
        checkpoints.restore(path, state, self.training, dataset)
        self.log.load_state_dict(state.log)
        self._best = math.inf if state.log["best"] is None else state.log["best"]

    def go(self) -> None:
        """Train to the last step. Raises Interrupted after a signal, and Failure as `Training.take` and `Log` do."""
        training, place, interrupts = self.training, self.training.place, Interrupts()
        with interrupts.noted(place):
            while training.done < training.settings.steps:
                taken = training.take()
                logged = self.log.due(taken.step)
                saved = self._every.save > 0 and taken.step % self._every.save == 0
                if logged or saved:
                    training.finite.look()
                self.log(taken, training.supervised)
                self._evaluate(taken)
                # Ranks would have to be waited for at each step.
                stop = interrupts.agreed(place) if logged or place.ranks == 1 else None
                if saved or stop is not None:
                    path = self.checkpoint()
                    if stop is not None:
                        raise Interrupted(stop, path)

    def checkpoint(self) -> Path:
        """Write a checkpoint of where the run stands. Fails with MCD752 where the last losses are no numbers, and MCD756."""
        self.training.finite.look()
        best = None if math.isinf(self._best) else self._best
        state = {**self.log.state_dict(), "best": best}
        return checkpoints.write(self._output, self.training, self._run, state, self._every.keep)

    def finish(self) -> list[RuleReport]:
        """Write the model, the probes, the receipts and the summary. What every rule did."""
        found = reports(self.training.supervised, self.log, self.training.monitor.tallies)
        save(self._output, self.training.model, self.training.supervised)
        entry = as_json(found, self.training.done, self.log)
        text = json.dumps(plain(entry), indent=1) + "\n"
        (self._output / SUMMARY).write_text(text, encoding="utf-8")
        return found

    def _evaluate(self, taken: Taken) -> None:
        """The losses on the other split, by the first rank; the others go on to the next exchange, and wait there."""
        training, every = self.training, self._every.evaluate
        due = every > 0 and (taken.step % every == 0 or taken.step == training.settings.steps)
        if self._valid is None or not due or not training.place.first:
            return
        time = taken.step / training.settings.steps
        with training.autocast():
            sums = evaluate(training.supervised, self._valid, time, training.settings.batch_size)
        entry = {"step": taken.step, "split": "valid", **summary(training.supervised, sums, time)}
        self.log.write(entry)
        if self._every.best and entry["token"] < self._best:
            self._best = entry["token"]
            fill = partial(write_model, model=training.model, supervised=training.supervised)
            checkpoints.put(self._output / checkpoints.BEST, fill)


def identity(
    dataset: Dataset, split: str, config: Path, settings: Settings, mode: Mode, ranks: int, device: str
) -> dict[str, Any]:
    """What has to be the same for a run to go on from a checkpoint, by the name that a message gives it."""
    options = {f"--{name.replace('_', '-')}": value for name, value in asdict(settings).items()}
    modes = {f"--{name}": getattr(mode, name) for name in ("precision", "compile", "checkpointing")}
    inputs = {
        "dataset": _digest([shard.model_dump(mode="json") for shard in dataset.manifest.shards]),
        "rules": _digest(dataset.plan.model_dump(mode="json")),
        "model config": file_digest(config)[0][:16],
    }
    own = {"--split": split, "ranks": ranks, "device": device}
    return {**options, **modes, **own, **inputs}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
