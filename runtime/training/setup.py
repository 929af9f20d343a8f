"""What was asked of `mcd train`, and the run that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..dataset import load
from ..run import claim, new_model
from ..train import Settings
from .checkpoints import CheckpointFile, check_run, newest
from .job import Every, Job, identity
from .logs import JSONL, JsonLines, Log, Sink, package
from .loop import Mode, Training
from .processes import Place

TENSORBOARD = "tensorboard"
"""The folder of event files in that of a run."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A run. `teachers`: folders by name; `wandb`: the project there; `resume`: go on from the newest whole checkpoint of
    `output`; `overwrite`: replace what an earlier run left there."""

    directory: Path
    config: Path
    output: Path
    split: str
    device: torch.device
    teachers: dict[str, Path]
    rules: bool
    settings: Settings
    mode: Mode
    every: Every
    log_every: int
    tensorboard: bool
    wandb: str | None
    resume: bool
    overwrite: bool


def begin(asked: Asked, place: Place, show: Sequence[Sink]) -> tuple[Job, Sequence[str]]:
    """The run, ready to go, and what is to be said before it does. `show`: what its log is shown by, on the first rank.

    Fails as `load`, `new_model`, `supervise` and `claim` do, with MCD756 or MCD757 where a run cannot go on, with MCD758 for a
    log whose package is missing, and with MCD763. Nothing is written before all of that is known.
    """
    packages = {name: package(name) for name in ("tensorboard", "wandb") if getattr(asked, name)}
    dataset = load(asked.directory, split=asked.split)
    if not asked.rules:
        dataset = dataset.with_plan(dataset.plan.model_copy(update={"rules": ()}))
    valid = dataset.split("valid") if asked.every.evaluate else None
    dataset.read_measures()
    model = new_model(asked.config, dataset, asked.settings.seed, asked.device)
    mode, settings = asked.mode, asked.settings
    run = identity(dataset, asked.split, asked.config, settings, mode, place.ranks, asked.device.type)
    found = _found(asked, run) if asked.resume else None
    training = Training(dataset, model, settings, mode, asked.teachers or None, place)
    done = 0 if found is None else found[1].step
    if place.first:
        if found is None:
            claim(asked.output, asked.overwrite)
        sinks = [*_sinks(asked, packages, done, run), *show]
    log = Log(sinks if place.first else (), settings.steps, asked.log_every, place)
    job = Job(training, log, asked.output, asked.every, run, valid)
    if found is None:
        return job, ()
    path, state, said = found
    job.take_up(path, state, dataset)
    return job, (*said, f"going on from {path}, after step {state.step} of {settings.steps}")


def _found(asked: Asked, run: dict[str, Any]) -> tuple[Path, CheckpointFile, list[str]]:
    """The checkpoint to go on from, and what is wrong with newer ones."""
    path, state, damaged = newest(asked.output)
    check_run(path, state, run)
    return path, state, [f"passed over: {finding.message}" for finding in damaged]


def _sinks(asked: Asked, packages: dict[str, Any], done: int, run: dict[str, Any]) -> list[Sink]:
    sinks: list[Sink] = [JsonLines(asked.output / JSONL, done)]
    if asked.tensorboard:
        sinks.append(packages["tensorboard"].TensorBoard(asked.output / TENSORBOARD, done))
    if asked.wandb:
        sinks.append(packages["wandb"].WeightsAndBiases(asked.output, asked.wandb, run, done))
    return sinks
