"""Trains the recall model in four arms and shows what each needs to see before it can recall.

    mcd compile specs/recall/recall.mcd  -o out/recall/spec
    mcd compile specs/recall/control.mcd -o out/recall/control
    python -m specs.recall.experiment out/recall

Same model, data, order and seeds in every arm. Writes curves.json and recall.png beside the datasets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

import mcd
from mcd.runtime.train import Settings

from .._experiment import Curve, draw, folder_argument, in_parallel, mean, measured, only, save

CONFIG = Path(__file__).parent / "config.json"
SETTINGS = Settings(steps=192, batch_size=32, lr=2e-3, weight_decay=0.01)
SEEDS = (1, 2, 3)
EVERY = 8
GOAL = 0.99

ARMS = {
    "off": ("token loss only", "#888888"),
    "weights": ("answers weighted", "#0072b2"),
    "control": ("wrong attention targets", "#d55e00"),
    "spec": ("the spec", "#009e73"),
}
RULES = {"off": (), "weights": ("answers",)}
"""The rules that act in an arm; all of them where it is not named."""


@dataclass(frozen=True, slots=True)
class Run:
    """One model to train."""

    arm: str
    seed: int


def train(folder: Path, run: Run) -> Curve:
    """The accuracy on held-out records against the records seen."""
    dataset = mcd.load(folder / ("control" if run.arm == "control" else "spec"))
    valid = dataset.split("valid")
    batch = mcd.Collator(valid.plan)(list(valid))
    arm = only(dataset, lambda rule: rule in RULES.get(run.arm, (rule,)))
    settings = replace(SETTINGS, seed=run.seed)
    seen, scores = measured(arm, CONFIG, settings, EVERY, lambda model: accuracy(model, batch))
    return Curve(run.arm, run.seed, seen, scores)


def accuracy(model: nn.Module, batch: mcd.Batch) -> float:
    """The share of answers (the tokens that the spec gives a weight) that the model ranks first."""
    answers = batch.weigh.factor > 0
    record, position = batch.weigh.record[answers], batch.weigh.position[answers]
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    right = logits[record, position - 1].argmax(-1) == batch.input_ids[record, position]
    return float(right.float().mean())


def table(curves: list[Curve]) -> str:
    """Per arm: records until the goal in each run, as beyond its end where it never got there; accuracy at the end."""
    lines = [f"{'arm':<26}{f'records to {GOAL:.0%}, by seed':<30}{'accuracy at the end':>20}"]
    for arm, (label, _) in ARMS.items():
        runs = [curve for curve in curves if curve.arm == arm]
        reached = ", ".join(_reached(run) for run in runs)
        lines.append(f"{label:<26}{reached:<30}{mean(run.score[-1] for run in runs):>20.1%}")
    return "\n".join(lines)


def _reached(run: Curve) -> str:
    first = next((seen for seen, score in zip(run.seen, run.score, strict=True) if score >= GOAL), None)
    return f"> {run.seen[-1]:,}" if first is None else f"{first:,}"


def run(folder: Path) -> None:
    """Trains every arm on what is compiled in `folder`, prints the table and writes the picture there."""
    curves = in_parallel(partial(train, folder), [Run(arm, seed) for seed in SEEDS for arm in ARMS])
    save(curves, folder / "curves.json")
    draw(
        curves,
        ARMS,
        folder / "recall.png",
        title="Associative recall: two attention rules, learned from a few thousand records",
        x="records seen",
        y="answers right, on held-out records",
    )
    print(table(curves))
    print(f"picture: {folder / 'recall.png'}")


if __name__ == "__main__":
    run(folder_argument(__doc__))
