"""A bare loop with accelerate: gradients of a step over micro-batches, and wrong uses refused."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

import mcd
from mcd.dsl.diagnostics import Failure

from .trainers import compiled, small_model


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return mcd.load(compiled(tmp_path_factory.mktemp("accelerated"), records=8), split="train")


@pytest.fixture(autouse=True)
def alone():
    """accelerate keeps its state in the process."""
    yield
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def prepared(dataset, steps):
    supervised = mcd.supervise(small_model(), dataset).train()
    optimizer = torch.optim.SGD(supervised.parameters(), lr=0.1)
    accelerator = Accelerator(gradient_accumulation_steps=steps, cpu=True)
    return accelerator, *accelerator.prepare(supervised, optimizer)


def micro(dataset, size):
    collate = mcd.Collator(dataset.plan)
    return [collate(dataset.rows(range(at, at + size))) for at in range(0, 8, size)]


def test_accumulation_gives_the_parameters_of_one_batch(dataset):
    """One step of plain gradient descent: parameters that agree are gradients that agree."""
    supervised = mcd.supervise(small_model(), dataset).train()
    optimizer = torch.optim.SGD(supervised.parameters(), lr=0.1)
    supervised(micro(dataset, 8)[0], time=0.0).loss.backward()
    optimizer.step()

    accelerator, model, prepared_optimizer = prepared(dataset, 4)
    batches = micro(dataset, 2)
    totals = mcd.accelerated_totals(accelerator, model, batches, 0.0)
    for batch in batches:
        with accelerator.accumulate(model):
            accelerator.backward(model(batch, time=0.0, totals=totals).loss)
            prepared_optimizer.step()
            prepared_optimizer.zero_grad()
    for a, b in zip(supervised.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_a_loss_that_would_be_divided_is_refused(dataset):
    _, model, _ = prepared(dataset, 4)
    batches = micro(dataset, 2)
    with pytest.raises(Failure, match=r"MCD719 `accelerator.backward` divides each loss by 4"):
        model(batches[0], time=0.0)
    with pytest.raises(Failure, match="MCD719"):
        model(batches[0], time=0.0, totals=model.totals(batches, 0.0))
    model.eval()
    model(batches[0], time=0.0)  # Nothing is divided there.


def test_a_step_that_accumulate_would_end_elsewhere_is_refused(dataset):
    accelerator, model, _ = prepared(dataset, 4)
    with pytest.raises(Failure, match="MCD719 a step has 2 micro-batches, and the accelerator ends one after 4"):
        mcd.accelerated_totals(accelerator, model, micro(dataset, 4), 0.0)
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, collate_fn=mcd.Collator(dataset.plan))
    with pytest.raises(Failure, match="MCD719 the accelerator's own loader is at its end"):
        iterator = iter(accelerator.prepare(loader))
        mcd.accelerated_totals(accelerator, model, [next(iterator) for _ in range(4)], 0.0)


def test_without_accumulation_nothing_is_needed(dataset):
    accelerator, model, _ = prepared(dataset, 1)
    out = model(micro(dataset, 8)[0], time=0.0)
    accelerator.backward(out.loss)
    assert next(model.parameters()).grad is not None
