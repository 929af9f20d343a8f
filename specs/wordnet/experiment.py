"""Trains the WordNet model in three arms and shows how well a fresh linear probe reads a held-out word's category.

    mcd compile specs/wordnet/wordnet.mcd -o out/wordnet/spec
    python -m specs.wordnet.experiment out/wordnet

Same model, data, order and seed in every arm. The probe that the spec trains along takes no part: a new one is fitted to the
hidden states of the training words, and scored on words that no arm has seen. Writes curves.json and wordnet.png beside the
dataset.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import mcd
from mcd.compiler.plan import ClassifyPlan
from mcd.runtime.train import Settings

from .._experiment import Curve, draw, folder_argument, in_parallel, measured, only, save

CONFIG = Path(__file__).parent / "config.json"
SETTINGS = Settings(steps=366, batch_size=32, lr=2e-3, warmup=0.1, weight_decay=0.01, seed=1)
EVERY = 122
RIDGE = 0.01

ARMS = {
    "off": ("token loss only", "#888888"),
    "relations": ("is_a relations only", "#0072b2"),
    "spec": ("the spec", "#009e73"),
}
CONTROL = "shuffled labels"


@dataclass(frozen=True, slots=True)
class Reading:
    """The hidden states that the `topic` signal reads, and their categories."""

    states: Tensor  # [rows, width] float64
    labels: Tensor  # [rows] int64


def train(folder: Path, arm: str) -> tuple[Curve, Curve]:
    """Readability of the category against the records seen, from the true labels and from shuffled ones."""
    dataset = mcd.load(folder / "spec")
    topic = only(dataset, lambda rule: rule == "topic")
    (rule,) = topic.plan.rules
    assert isinstance(rule, ClassifyPlan)
    fitted, held_out = (collated(topic.split(split)) for split in ("train", "valid"))
    acting = only(dataset, lambda rule: arm == "spec" or (arm == "relations" and rule != "topic"))
    measure = partial(readability, rule=rule, fitted=fitted, held_out=held_out)
    seen, scores = measured(acting, CONFIG, SETTINGS, EVERY, measure)
    true, shuffled = ([score[which] for score in scores] for which in (0, 1))
    return Curve(arm, SETTINGS.seed, seen, true), Curve(f"{arm}, {CONTROL}", SETTINGS.seed, seen, shuffled)


def collated(rows: mcd.Dataset) -> list[mcd.Batch]:
    """All rows in their order, in large batches."""
    collator = mcd.Collator(rows.plan)
    return [collator(rows.rows(range(at, min(at + 256, len(rows))))) for at in range(0, len(rows), 256)]


def readability(
    model: nn.Module, rule: ClassifyPlan, fitted: list[mcd.Batch], held_out: list[mcd.Batch]
) -> tuple[float, float]:
    """Accuracy on held-out words of a probe fitted to training words, and of one fitted to their shuffled labels."""
    layer = int(rule.layers[0])
    known, unseen = read(model, fitted, layer), read(model, held_out, layer)
    order = torch.randperm(len(known.labels), generator=torch.Generator().manual_seed(SETTINGS.seed))
    shuffled = Reading(known.states, known.labels[order])
    return probe(known, unseen, rule.classes), probe(shuffled, unseen, rule.classes)


def read(model: nn.Module, batches: list[mcd.Batch], layer: int) -> Reading:
    """The hidden state after block `layer` at the rows of the batch's one rule."""
    states, labels = [], []
    for batch in batches:
        (rows,) = batch.hidden
        assert rows.label is not None
        out = model.base_model(batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True)
        states.append(out.hidden_states[layer][rows.record, rows.position].double())
        labels.append(rows.label)
    return Reading(torch.cat(states), torch.cat(labels))


def probe(fitted: Reading, held_out: Reading, classes: int) -> float:
    """Accuracy of ridge regression from standardised states to one-hot labels, in closed form."""
    centre, scale = fitted.states.mean(0), fitted.states.std(0) + 1e-9
    x = (fitted.states - centre) / scale
    y = torch.nn.functional.one_hot(fitted.labels, classes).double()
    penalty = RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(x.T @ x + penalty, x.T @ (y - y.mean(0)))
    guess = ((held_out.states - centre) / scale @ weights + y.mean(0)).argmax(-1)
    return float((guess == held_out.labels).double().mean())


def table(curves: list[Curve]) -> str:
    """Per arm: the probe's accuracy before and after training, and its control's after."""
    score = {curve.arm: curve.score for curve in curves}
    lines = [f"{'arm':<22}{'before':>10}{'after':>10}{CONTROL:>20}"]
    for arm, (label, _) in ARMS.items():
        control = score[f"{arm}, {CONTROL}"][-1]
        lines.append(f"{label:<22}{score[arm][0]:>10.1%}{score[arm][-1]:>10.1%}{control:>20.1%}")
    return "\n".join(lines)


def run(folder: Path) -> None:
    """Trains every arm on what is compiled in `folder`, prints the table and writes the picture there."""
    curves = [curve for pair in in_parallel(partial(train, folder), list(ARMS)) for curve in pair]
    save(curves, folder / "curves.json")
    draw(
        curves,
        {**ARMS, f"spec, {CONTROL}": ("the spec, " + CONTROL, "#999999")},
        folder / "wordnet.png",
        title="How well a fresh linear probe reads the category of a held-out word, half way up the model",
        x="records seen",
        y="right category, of 24",
    )
    print(table(curves))
    print(f"picture: {folder / 'wordnet.png'}")


if __name__ == "__main__":
    run(folder_argument(__doc__))
