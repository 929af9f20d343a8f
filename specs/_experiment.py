"""What the experiments share: arms of one compiled spec, the training loop, and the picture of what came of them."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from torch import nn

import mcd
from mcd.runtime.run import new_model
from mcd.runtime.train import Settings, train

Job = TypeVar("Job")
Result = TypeVar("Result")
Score = TypeVar("Score")


@dataclass(frozen=True, slots=True)
class Curve:
    """A score after so many records, in one arm from one seed."""

    arm: str
    seed: int
    seen: list[int]
    score: list[float]


def only(dataset: mcd.Dataset, acts: Callable[[str], bool]) -> mcd.Dataset:
    """`dataset` under those of its rules whose id passes `acts`. A plan says how and shards say where, so no shard changes."""
    rules = tuple(rule for rule in dataset.plan.rules if acts(rule.id))
    return dataset.with_plan(dataset.plan.model_copy(update={"rules": rules}))


def measured(
    dataset: mcd.Dataset, config: Path, settings: Settings, every: int, measure: Callable[[nn.Module], Score]
) -> tuple[list[int], list[Score]]:
    """Trains a model with random weights on the split `train`, and measures it before and after every `every` steps.

    Gives the records seen at each measurement, and what it gave. Weights and order depend on the settings' seed alone.
    """
    model = new_model(config, dataset, settings.seed)
    seen, scores = [0], [measured_in_eval(model, measure)]

    def watch(step: int, supervised: mcd.Supervised, *_: Any) -> None:
        if step % every == 0:
            seen.append(step * settings.batch_size)
            scores.append(measured_in_eval(model, measure))

    train(dataset.split("train"), model, settings, watch).close()
    return seen, scores


def measured_in_eval(model: nn.Module, measure: Callable[[nn.Module], Score]) -> Score:
    """`measure(model)` without gradients and in evaluation mode, which is left again."""
    training = model.training
    model.eval()
    with torch.no_grad():
        score = measure(model)
    model.train(training)
    return score


def folder_argument(description: str | None) -> Path:
    """The one argument of an experiment's command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the compiled specs are, and the results go")
    folder: Path = parser.parse_args().folder
    return folder


def in_parallel(work: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
    """`work` on every job, each in a process with one thread: two processes per core, so that no core waits for the last."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(2 * cores, len(jobs)), context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        return list(pool.map(work, jobs))


def mean(values: Iterable[float]) -> float:
    """The mean of at least one value."""
    found = list(values)
    return sum(found) / len(found)


def save(curves: Sequence[Curve], path: Path) -> None:
    """Writes the curves as JSON."""
    path.write_text(json.dumps([asdict(curve) for curve in curves], indent=1) + "\n", "utf-8")


def draw(
    curves: Sequence[Curve], arms: Mapping[str, tuple[str, str]], path: Path, *, title: str, x: str, y: str
) -> None:
    """Draws a thin line per seed and a thick one for their mean, labelled where it ends. `arms`: arm -> (label, colour)."""
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.subplots()
    ends = []
    for arm, (label, colour) in arms.items():
        runs = [curve for curve in curves if curve.arm == arm]
        for run in runs:
            axes.plot(run.seen, run.score, color=colour, linewidth=0.8, alpha=0.35)
        marker = "o" if len(runs[0].seen) < 10 else None
        middle = [mean(scores) for scores in zip(*(run.score for run in runs), strict=True)]
        axes.plot(runs[0].seen, middle, color=colour, linewidth=2.4, marker=marker, clip_on=False)
        ends.append((middle[-1], label, colour))
    for height, (_, label, colour) in zip(_apart([end[0] for end in ends]), ends, strict=True):
        axes.annotate(
            label, (1.015, height), xycoords=("axes fraction", "data"), color=colour, va="center", fontweight="bold"
        )
    axes.set_title(title, loc="left", fontsize=12, pad=12)
    axes.set(xlabel=x, ylabel=y, ylim=(0, 1.02))
    axes.margins(x=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _apart(heights: Sequence[float], gap: float = 0.06) -> list[float]:
    """`heights` moved up where two labels would touch, in their order."""
    placed = list(heights)
    order = sorted(range(len(placed)), key=lambda at: placed[at])
    for lower, upper in pairwise(order):
        placed[upper] = max(placed[upper], placed[lower] + gap)
    return placed
