"""A rank for which nothing is left takes part and counts for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch.nn.parallel import DistributedDataParallel

import mcd
from mcd.runtime.dataset import load
from mcd.runtime.loader.blank import blank

from ..builders import make_model
from ..datasets import (
    COLUMNS,
    attend,
    classify,
    contrast,
    like,
    plan,
    predict,
    random_batch,
    random_recipe,
    relate,
    toward,
    weigh,
    write,
)  # fmt: skip

SHAPE = {"n_embd": 4, "n_head": 2, "n_layer": 2, "vocab_size": 1000, "n_positions": 512}
RULES = (
    attend("look", "ab"), attend("edge", "f", loss="kl", heads="all"), toward("t", "a"), relate("r", "b"), like("l", "a", "b"),
    classify("k", "a", attribute="kind", labels=("x", "y", "z")), predict("p", "tokens", ahead=1), weigh("w", "b", factor=3.0),
    contrast("c", "a", attribute="kind"), contrast("g", "b", attribute="kind", scope="batch"),
)  # fmt: skip


def directory(folder, rules=RULES, rows=5):
    random = np.random.default_rng(1)
    write(folder, random_recipe(), plan(rules, COLUMNS), {"train": [random_batch(random, rows, size=20)]})
    return folder


def test_its_losses_and_gradients_are_nothing_and_those_of_others_stay(tmp_path):
    dataset = load(directory(tmp_path / "out"))
    collate = mcd.Collator(dataset.plan)
    full = collate(dataset.rows(range(4)))
    empty = blank(collate(dataset.rows([4])))
    assert empty.ids == () and not empty.scored.any()
    with mcd.supervise(make_model("gpt2", **SHAPE), dataset).train() as supervised:
        alone = supervised(full, time=0.5, totals=supervised.totals([full], 0.5))
        totals = supervised.totals([full, empty], 0.5)
        beside = supervised(full, time=0.5, totals=totals)
        torch.testing.assert_close(beside.loss, alone.loss, rtol=0, atol=0)
        nothing = supervised(empty, time=0.5, totals=totals)
        assert not nothing.loss.detach() and not nothing.token.detach()
        assert not any(nothing.rows.values()) and not nothing.values.any()
        nothing.loss.backward()
        for name, parameter in supervised.named_parameters():
            assert parameter.grad is None or not parameter.grad.any(), name
        assert not supervised(empty, time=0.5).loss.detach()  # a step of its own


def gradients(folder: str, wrap: bool) -> list[dict[str, torch.Tensor]]:
    """Those of every step of an epoch, the model as it was each time."""
    dataset = load(folder)
    supervised = mcd.supervise(make_model("gpt2", **SHAPE), dataset).train()
    model: Any = DistributedDataParallel(supervised) if wrap else supervised
    found = []
    ranks = dist.get_world_size() if wrap else 1
    loader = mcd.Loader(dataset, 4 // ranks)
    for batch in loader:
        model.zero_grad()
        model(batch, time=0.5, totals=supervised.totals([batch], 0.5)).loss.backward()
        found.append({n: p.grad.clone() for n, p in supervised.named_parameters() if p.grad is not None})
    return found


def run(rank: int, folder: str, ranks: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet{ranks}", rank=rank, world_size=ranks)
    found = gradients(f"{folder}/out", wrap=True)
    expected = torch.load(f"{folder}/expected.pt")
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        assert one.keys() >= other.keys()
        for name, gradient in one.items():
            torch.testing.assert_close(gradient, other.get(name, torch.zeros_like(gradient)), rtol=1e-4, atol=1e-6)
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_step_together_to_the_end_with_the_gradients_of_one_process(tmp_path, ranks, monkeypatch):
    """5 rows: 4 in the first step, 1 in the second, in which all ranks but one have none."""
    rules = [
        rule for rule in RULES if rule.id != "g"
    ]  # it compares within micro-batches, so that one process is another loss
    directory(tmp_path / "out", rules)
    torch.save(gradients(str(tmp_path / "out"), wrap=False), tmp_path / "expected.pt")
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # where the processes find this module
    multiprocessing.spawn(run, (str(tmp_path), ranks), nprocs=ranks)


def meet(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = gradients(f"{folder}/out", wrap=True)
    assert len(found) == 2 and all(torch.isfinite(g).all() for step in found for g in step.values())
    dist.destroy_process_group()


@pytest.mark.slow
def test_a_contrast_over_all_ranks_meets_a_rank_without_rows(tmp_path, monkeypatch):
    directory(tmp_path / "out")
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # where the processes find this module
    multiprocessing.spawn(meet, (str(tmp_path),), nprocs=2)
