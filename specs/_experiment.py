"""What the experiments share: arms of one compiled spec, the training loop, and the picture of what came of them."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, TypeVar

import mcd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from mcd.compiler.manifest import Manifest
from mcd.compiler.plan import Plan
from torch.utils.data import DataLoader
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Arm:
    """A compiled spec of which some rules act. The shards are the same for every arm: a plan says how, shards say where."""

    plan: Plan
    anchors: Mapping[str, Any]
    manifest: Manifest

    @classmethod
    def of(cls, dataset: mcd.Dataset, keep: Callable[[str], bool]) -> Arm:
        """The rules of `dataset` whose id passes `keep`."""
        rules = tuple(rule for rule in dataset.plan.rules if keep(rule.id))
        return cls(dataset.plan.model_copy(update={"rules": rules}), dataset.anchors, dataset.manifest)


@dataclass(frozen=True, slots=True)
class Settings:
    """How every arm is trained: passes over the data, records per step, the highest learning rate, steps to reach it."""

    epochs: int
    batch: int
    rate: float
    warmup: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A score after so many records, in one arm from one seed."""

    arm: str
    seed: int
    seen: list[int]
    score: list[float]


def new_model(config: Path, seed: int) -> PreTrainedModel:
    """A model with random weights: the same for the same seed."""
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(config))
    return model


def training(model: PreTrainedModel, arm: Arm, rows: mcd.Dataset, settings: Settings, seed: int) -> Iterator[int]:
    """Trains `model` and yields, after every step, how many records it has seen. The order is the same for the same seed."""
    supervised = mcd.supervise(model, arm)
    optimizer = torch.optim.AdamW(supervised.parameters(), lr=settings.rate, weight_decay=0.01)
    loader = DataLoader(
        rows,
        batch_size=settings.batch,
        shuffle=True,
        drop_last=True,
        generator=torch.Generator().manual_seed(seed),
        collate_fn=mcd.Collator(arm.plan),
    )
    total = settings.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / settings.warmup, 1.0) * (1 - step / total)
    )
    for step, batch in enumerate(chain.from_iterable(loader for _ in range(settings.epochs))):
        supervised.train()
        supervised(batch, time=step / total).loss.backward()
        torch.nn.utils.clip_grad_norm_(supervised.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        yield (step + 1) * settings.batch
    supervised.close()


def in_parallel(work: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
    """`work` on every job, each in a process with one thread, as many at a time as there are cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(cores, len(jobs)), context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
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
        axes.plot(runs[0].seen, middle, color=colour, linewidth=2.4, marker=marker)
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
