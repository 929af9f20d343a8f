"""Metrics: numbers by hand, against the plain reference over a split, and one batch against many."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mcd.dsl.vocabulary import METRICS
from mcd.runtime.dataset import load
from mcd.runtime.evaluate import in_batches, scores_of
from mcd.runtime.losses import ATTENTION, RELATE
from mcd.runtime.losses.rows import KeyRows
from mcd.runtime.metrics import cosine, metrics_of
from mcd.runtime.metrics.accuracy import accuracy, classes, majority, neighbour_accuracy
from mcd.runtime.metrics.mass import mass
from mcd.runtime.metrics.satisfied import satisfied
from mcd.runtime.run import new_model
from mcd.runtime.supervise import supervise

from . import datasets
from .builders import (
    LOOKS,
    OFFSETS,
    SPREAD,
    make_anchors,
    make_attend,
    make_batch,
    make_classify,
    make_contrast,
    make_distil,
    make_keep,
    make_like,
    make_model,
    make_plan,
    make_predict,
    make_ramp,
    make_relate,
    make_stage,
    make_toward,
    make_weigh,
)
from .reference import in_float64
from .reference_metrics import naive_metrics
from .test_train import CONFIG

# --- by hand ---------------------------------------------------------------------------------------------------------


def rows_of(bound: float) -> KeyRows:
    """One row of two heads over three keys, with probabilities (0.5, 0.3, 0.2) and (0.1, 0.2, 0.7); the set is the first two."""
    log_p = torch.tensor([[[[0.5, 0.3, 0.2]], [[0.1, 0.2, 0.7]]]]).log()
    keys = torch.tensor([[[[True, True, False]]]])
    return KeyRows(log_p, keys, ~keys, torch.tensor([[[bound]]]))


def test_mass_is_the_probability_of_the_set() -> None:
    """0.5 + 0.3 and 0.1 + 0.2."""
    assert mass(rows_of(0.5)).flatten().tolist() == pytest.approx([0.8, 0.3])


def test_a_bound_is_satisfied_from_its_number_on() -> None:
    """Masses 0.8 and 0.3: at least 0.5 is kept by the first, at most 0.5 by the second, at least 0.2 by both."""
    hinge, avoid = satisfied(ATTENTION["hinge"]), satisfied(ATTENTION["avoid"])
    assert hinge(rows_of(0.5)).flatten().tolist() == [1, 0]
    assert avoid(rows_of(0.5)).flatten().tolist() == [0, 1]
    assert hinge(rows_of(0.2)).flatten().tolist() == [1, 1]


def test_a_relation_is_satisfied_on_its_side_of_the_margin() -> None:
    """Cosines 0.4, 0.1 and -0.4 with margin 0.3: `is_a` wants 0.3 and more, `opposes` -0.3 and less, `distinct` up to 0.3."""
    read = torch.tensor([0.4, 0.1, -0.4]), torch.tensor([0.3, 0.3, 0.3])
    kept = {name: satisfied(loss)(*read).tolist() for name, loss in RELATE.items()}
    assert kept == {"is_a": [1, 0, 0], "opposes": [0, 0, 1], "distinct": [0, 1, 0]}


def test_accuracy_and_what_always_saying_one_class_gives() -> None:
    """The largest logits are those of classes 1, 0, 2 and, of two equal ones, 0; right are 1, 1, 2, 0: 3 of 4. Half of the labels
    are 1, so that saying 1 is right half of the time."""
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 1.0, 0.0], [0.0, 0.0, 1.0], [5.0, 5.0, 0.0]])
    label = torch.tensor([1, 1, 2, 0])
    assert accuracy(logits, label).tolist() == [1, 0, 1, 1]
    assert majority(classes(logits, label).mean(0)).item() == 0.5


def test_the_nearest_neighbour_is_right_where_it_is_a_positive() -> None:
    """a and b are equal, c is another. The nearest of a is b (0.9 over 0.1), of b is c (0.95 over 0.9), of c is b: one is right.
    A row is no neighbour of its own, however near."""
    similarity = torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.95], [0.1, 0.95, 1.0]])
    others = ~torch.eye(3, dtype=torch.bool)
    positive = torch.tensor([[False, True, False], [True, False, False], [False, False, False]])
    assert neighbour_accuracy(similarity, positive, others).tolist() == [1, 0, 0]
    assert neighbour_accuracy(similarity[:, :0], positive[:, :0], others[:, :0]).tolist() == [0, 0, 0]


def test_cosines() -> None:
    """(3, 4) and (5, 0): 15 / 25. Of `distinct` it is the size that counts."""
    assert cosine.with_target(torch.tensor([[3.0, 4.0]]), torch.tensor([[5.0, 0.0]])).item() == pytest.approx(0.6)
    assert cosine.size(torch.tensor([-0.6]), torch.tensor([0.3])).item() == pytest.approx(0.6)


# --- over a split ----------------------------------------------------------------------------------------------------

RULES = (
    make_attend("any", heads="any", layers=(1, 2)),
    make_attend("pair", heads="all", layers=(1, 3), pairs=((1, 0), (3, 2)), per="record"),
    make_attend("hinge", loss="hinge", mass=0.3, heads=(0, 2), layers=(2,)),
    make_attend("avoid", loss="hinge", mass=0.4, heads="mean", layers=(1, 2), avoid=True),
    make_toward("axis"),
    make_toward("late", anchor="east", layers=(1, 3), per="record"),
    make_classify("read", layers=(1, 2)),
    make_contrast("group"),
    make_predict("early", layers=(2, "final")),
    make_relate("is_a", margin=0.1),
    make_relate("opposes", relation="opposes", margin=0.1),
    make_relate("distinct", relation="distinct", margin=0.2),
    make_like("shift", margin=0.1),
    make_weigh("boost"),
    make_weigh("only", factor=2.0, only=True),
    make_weigh("unmet"),
)
PLAN = make_plan(*RULES)
MENTIONS = [(0, [1, 2]), (0, [4]), (0, [7]), (1, [0]), (1, [2, 3]), (1, [4])]


def batches() -> list[Any]:
    """Two batches of other lengths and other rows, so that the mean of their means is not the mean."""
    attend, hidden = ("any", "pair", "hinge", "avoid"), ("axis", "late", "read", "early", "is_a", "opposes", "distinct")
    rows: dict[str, list[Any]] = dict.fromkeys(attend, LOOKS) | dict.fromkeys(hidden, SPREAD)
    rows |= {"group": MENTIONS, "shift": OFFSETS}
    labels = {"read": [0, 2, 2, 1], "early": [3, 5, 7, 9], "group": [1, 1, 2, 3, 3, 4]}
    # Outside of `only`, tokens have factor 0.
    weigh = {
        "boost": [(0, 2, 4.0), (0, 3, 4.0), (1, 1, 4.0)],
        "only": [(0, i, 2.0 * (i == 4)) for i in range(1, 9)] + [(1, i, 2.0 * (i < 3)) for i in range(1, 5)],
    }
    first = make_batch(PLAN, [9, 5], rows, labels=labels, weigh=weigh)
    few: dict[str, list[Any]] = {"hinge": LOOKS[:1], "any": LOOKS[:2], "axis": SPREAD[:1], "read": SPREAD[:1]}
    second = make_batch(
        PLAN, [9], few, labels={"read": [2]}, weigh={"only": [(0, i, 0.0) for i in range(1, 9)]}, seed=8
    )
    return [first, second]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_every_metric_is_what_a_plain_reading_gives(kind: str) -> None:
    model, anchors = make_model(kind), make_anchors()
    with supervise(model, PLAN, anchors=anchors) as supervised:
        found = scores_of(supervised, batches())
    probes = {
        key: (p.weight.double(), p.bias.double())
        for key in (("read", 1), ("read", 2))
        for p in [supervised.probes[key]]
    }
    with torch.no_grad():
        expected = naive_metrics(in_float64(model), PLAN, batches(), probes, anchors)
    shown = {("", name): score.value for name, score in found.model.items()}
    shown |= {(rule, name): score.value for rule, each in found.rules.items() for name, score in each.metrics.items()}
    compared = {key: value for key, value in shown.items() if key in expected}
    assert compared == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert {key for key in shown if key not in expected and key[1] != "loss"} == set()
    assert (found.records, found.tokens) == (3, 8 + 4 + 8)
    assert {rule: each.rows for rule, each in found.rules.items() if rule in ("hinge", "group", "only", "unmet")} == {
        "hinge": len(LOOKS) + 1,
        "group": 4,
        "only": 3,
        "unmet": 0,
    }
    assert list(found.rules) == [rule.id for rule in RULES]


def test_losses_are_those_of_training() -> None:
    """The metric `loss` of a rule is its loss of one optimiser step over all batches, and that of the tokens the token loss."""
    with supervise(make_model("gpt2"), PLAN, anchors=make_anchors()).eval() as supervised:
        found = scores_of(supervised, batches())
        totals = supervised.totals(batches(), 0.5)
        parts = [supervised(batch, 0.5, totals) for batch in batches()]
    for rule in (rule.id for rule in RULES[:-3]):
        assert found.rules[rule].metrics["loss"].value == pytest.approx(
            sum(p.rules[rule].item() for p in parts), rel=1e-4
        )
    assert found.model["loss"].value == pytest.approx(sum(p.token.item() for p in parts), rel=1e-5)


def test_what_belongs_to_training_takes_no_part() -> None:
    """A stage that ends after the first block and silences everything, and a `keep` that would leave out half of the tokens."""
    silent = make_stage("last", 0, 1, depth=1, only=(), token_loss=make_ramp(0.0))
    plan = make_plan(*RULES, make_keep(), stages=(silent,))
    keep = {"hard": [(0, i) for i in range(1, 5)]}
    first, _ = batches()
    with supervise(make_model("gpt2"), PLAN, anchors=make_anchors()) as supervised:
        expected = scores_of(supervised, [first])
    kept = replace(first, keep=make_batch(plan, [9, 5], keep=keep).keep)
    with supervise(make_model("gpt2"), plan, anchors=make_anchors()) as supervised:
        assert scores_of(supervised, [kept]) == expected


def test_nothing_is_said_of_what_has_no_row() -> None:
    with supervise(make_model("gpt2"), PLAN, anchors=make_anchors()) as supervised:
        found = scores_of(supervised, [make_batch(PLAN, [4])])
        nothing = scores_of(supervised, [])
    assert found.rules["hinge"].metrics["mass"].value is None
    assert found.rules["read"].metrics["majority"].value is None
    assert found.rules["unmet"].metrics["outside"].value == found.model["unweighted"].value
    assert nothing.model["loss"].value is None and nothing.tokens == 0


def test_an_evaluation_leaves_the_model_in_the_mode_it_was_in_and_receipts_alone() -> None:
    supervised = supervise(make_model("gpt2"), PLAN, anchors=make_anchors()).train()
    scores_of(supervised, batches())
    assert supervised.training
    assert supervised.receipts["any"].steps == 0
    assert all(parameter.grad is None for parameter in supervised.parameters())


def test_every_claimable_metric_is_one_that_rules_of_its_kinds_have() -> None:
    """The words that the checker knows are those of the runtime, but for baselines, which nobody claims."""
    has: dict[str, set[str]] = {name: set() for name in METRICS}
    for rule in (*RULES, make_distil("taught")):
        for metric in metrics_of(rule, torch.sub):
            if metric.name != "majority":
                has[metric.name].add(rule.kind)
    assert has == {name: set(entry.kinds) for name, entry in METRICS.items()}


def test_where_less_is_better() -> None:
    directions = {(rule.id, metric.name): metric.more for rule in RULES for metric in metrics_of(rule, torch.sub)}
    less = {key for key, more in directions.items() if not more and key[1] != "loss"}
    assert less == {("avoid", "mass"), ("opposes", "cosine"), ("distinct", "cosine")}


# --- through shards --------------------------------------------------------------------------------------------------


def test_the_size_of_a_batch_changes_nothing(tmp_path: Any) -> None:
    """Over random records with spans, edges, labels and factors. The last batch of 5 is a short one."""
    rules = [
        datasets.attend("look", "e", mass=0.5, loss="hinge", per="record"),
        datasets.attend("cross", "ab", heads="any", layers=(1, 2)),
        datasets.relate("axis", "a"),
        datasets.classify("kind", "c", attribute="kind", labels=("x", "y", "z")),
        datasets.contrast("group", "c", attribute="kind", pool="mean"),
        datasets.predict("early", "b", ahead=1),
        datasets.weigh("more", "b", 2.0),
        datasets.weigh("field", "b", field="w", only=True),
    ]
    made = datasets.plan(rules, datasets.COLUMNS)
    datasets.write(
        tmp_path / "data",
        datasets.random_recipe(),
        made,
        {"valid": [datasets.random_batch(np.random.default_rng(1), 32)]},
    )
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    dataset = load(tmp_path / "data", split="valid")
    with supervise(new_model(tmp_path / "config.json", dataset, 0), dataset, expected={}) as supervised:
        whole, parts, ones = (scores_of(supervised, in_batches(dataset, size)) for size in (32, 5, 1))
    for other in (parts, ones):
        assert (other.records, other.tokens) == (whole.records, whole.tokens)
        for rule, each in whole.rules.items():
            assert other.rules[rule].rows == each.rows > 0
            for name, score in each.metrics.items():
                assert score.value is not None and math.isfinite(score.value)
                assert other.rules[rule].metrics[name].value == pytest.approx(score.value, rel=1e-4, abs=1e-6), (
                    rule,
                    name,
                )
        assert {n: s.value for n, s in other.model.items()} == pytest.approx(
            {n: s.value for n, s in whole.model.items()}
        )
