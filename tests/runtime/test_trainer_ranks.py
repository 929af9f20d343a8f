"""Two processes under the trainer, and under accelerate, give the losses and gradients of one."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from transformers import TrainerCallback

import mcd
from mcd.compiler.plan import GradientPlan
from mcd.runtime.trainer.mixin import SupervisedTrainer

from .builders import make_stage
from .trainers import arguments, compiled, small_model

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "project": {"gradient": GradientPlan(conflicts="project")},
    "stages": {"stages": (make_stage("a", 0.0, 0.5, train=(2, "final")), make_stage("b", 0.5, 1.0))},
}
SPLIT = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "per_device_eval_batch_size": 3}


class Gradients(TrainerCallback):
    """The gradients of every step, as the optimiser finds them."""

    trainer: SupervisedTrainer

    def __init__(self) -> None:
        self.steps: list[list[torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, **_):
        parameters = self.trainer.supervised.parameters()
        self.steps.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters])


def trained(data: str, folder: str, changes: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """A run of 8 steps of 8 rows over 42 rows: the last step of an epoch has two rows."""
    train, valid = mcd.load(data, split="train"), mcd.load(data, split="valid")
    train, valid = (each.with_plan(each.plan.model_copy(update=changes)) for each in (train, valid))
    gradients = Gradients()
    trainer = SupervisedTrainer(
        model=small_model(), args=arguments(Path(folder), max_grad_norm=0.0, max_steps=8, **settings),
        train_dataset=train, eval_dataset=valid, callbacks=[gradients],
    )  # fmt: skip
    gradients.trainer = trainer
    evaluated = trainer.evaluate()  # Before training: what it prepares must not keep DDP away.
    trainer.train()
    names = ("loss", "token_loss", "rule/look", "rule/axis", "rule/kind")
    log = [
        {name: entry[name] for name in names if name in entry} for entry in trainer.state.log_history if "loss" in entry
    ]
    losses = {name: evaluated[name] for name in evaluated if "rule/" in name or name.endswith("loss")}
    return {"log": log, "gradients": gradients.steps, "evaluated": losses}


def accelerated(data: str, rank: int, ranks: int) -> list[torch.Tensor]:
    """The gradients of one step over 8 rows, in micro-batches of 2."""
    dataset = mcd.load(data, split="train")
    collate = mcd.Collator(dataset.plan)
    supervised = mcd.supervise(small_model(), dataset).train()
    accelerator = Accelerator(gradient_accumulation_steps=4 // ranks, cpu=True)
    model, _ = accelerator.prepare(supervised, torch.optim.SGD(supervised.parameters(), lr=0.1))
    batches = [collate(dataset.rows(range(at, at + 2))) for at in range(2 * rank, 8, 2 * ranks)]
    totals = mcd.accelerated_totals(accelerator, model, batches, 0.0)
    for batch in batches:
        with accelerator.accumulate(model):
            accelerator.backward(model(batch, time=0.0, totals=totals).loss)
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in supervised.parameters()]


def run(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "1",
    }  # Asked for, and not used: the group is there already.
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for case, changes in CASES.items():
        found = trained(f"{folder}/data", f"{folder}/{case}", changes, **SPLIT, ddp_backend="gloo")
        torch.save(found, f"{folder}/{case}{rank}.pt")
    torch.save(accelerated(f"{folder}/data", rank, 2), f"{folder}/accelerated{rank}.pt")
    gc.collect()  # Models in a wrapper that outlives its group end the process.
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_give_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = compiled(tmp_path, records=42)
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # where the processes find this module
    processes.spawn(run, (str(tmp_path),), nprocs=2)
    for case, changes in CASES.items():
        whole = trained(str(data), str(tmp_path / "whole"), changes)
        one, other = (torch.load(tmp_path / f"{case}{rank}.pt") for rank in range(2))
        assert one["log"] == other["log"] and one["evaluated"] == other["evaluated"]
        assert one["evaluated"] == pytest.approx(whole["evaluated"], rel=1e-5)
        for a, b in zip(one["log"], whole["log"], strict=True):
            assert a == pytest.approx(b, rel=1e-3, abs=1e-4)
        for a, b in zip(one["gradients"][0], whole["gradients"][0], strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
        for mine, theirs in zip(one["gradients"], other["gradients"], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    found = torch.load(tmp_path / "accelerated0.pt")
    for a, b in zip(found, accelerated(str(data), 0, 1), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
