"""Trains the WordNet model in three arms and shows how well a fresh linear probe reads a held-out word's category.

    mcd compile specs/wordnet/wordnet.mcd -o out/wordnet/spec
    python -m specs.wordnet.experiment out/wordnet

Same model, data, order and seed in every arm. The probe that the spec trains along takes no part: a new one is fitted to the
hidden states of the training words, and scored on words that no arm has seen. Writes curves.json and wordnet.png beside the
dataset.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mcd
import torch
from mcd.compiler.plan import ClassifyPlan
from torch import Tensor
from transformers import PreTrainedModel

from .._experiment import Arm, Curve, Settings, draw, in_parallel, new_model, save, training

CONFIG = Path(__file__).parent / "config.json"
SETTINGS = Settings(epochs=3, batch=32, rate=2e-3, warmup=50)
SEED = 1
SPLITS = ("train", "valid")
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


def acts(arm: str, rule: str) -> bool:
    """Whether a rule acts in an arm."""
    return arm == "spec" or (arm == "relations" and rule != "topic")


def train(folder: Path, arm: str) -> tuple[Curve, Curve]:
    """Readability of the category after every pass over the data, from the true labels and from shuffled ones."""
    dataset = mcd.load(folder / "spec")
    topic = Arm.of(dataset, lambda rule: rule == "topic")
    batches = {split: collated(dataset.split(split), topic) for split in SPLITS}
    rows = dataset.split("train")
    every = len(rows) // SETTINGS.batch * SETTINGS.batch
    model = new_model(CONFIG, SEED)
    seen = [0]
    scores = [readability(model, topic, batches)]
    chosen = Arm.of(dataset, partial(acts, arm))
    for records in training(model, chosen, rows, SETTINGS, SEED):
        if records % every == 0:
            seen.append(records)
            scores.append(readability(model, topic, batches))
    true, shuffled = ([score[which] for score in scores] for which in (0, 1))
    return Curve(arm, SEED, seen, true), Curve(f"{arm}, {CONTROL}", SEED, seen, shuffled)


def collated(rows: mcd.Dataset, arm: Arm) -> list[mcd.Batch]:
    """All rows in their order, in large batches."""
    collator = mcd.Collator(arm.plan)
    return [collator(rows.rows(range(at, min(at + 256, len(rows))))) for at in range(0, len(rows), 256)]


def readability(model: PreTrainedModel, topic: Arm, batches: dict[str, list[mcd.Batch]]) -> tuple[float, float]:
    """Accuracy on held-out words of a probe fitted to training words, and of one fitted to their shuffled labels."""
    (rule,) = topic.plan.rules
    assert isinstance(rule, ClassifyPlan)
    layer = int(rule.layers[0])
    fitted, held_out = (read(model, batches[split], layer) for split in SPLITS)
    order = torch.randperm(len(fitted.labels), generator=torch.Generator().manual_seed(SEED))
    shuffled = Reading(fitted.states, fitted.labels[order])
    return probe(fitted, held_out, rule.classes), probe(shuffled, held_out, rule.classes)


@torch.no_grad()
def read(model: PreTrainedModel, batches: list[mcd.Batch], layer: int) -> Reading:
    """The hidden state after block `layer` at the rows of the batch's one rule."""
    model.eval()
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the compiled spec is, and the results go")
    folder = parser.parse_args().folder
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
    main()
