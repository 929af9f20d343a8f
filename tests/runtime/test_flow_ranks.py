"""Two ranks with a record each give what one process gives for both, stage after stage: under DDP, and where a projection adds up
the ranks itself."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from mcd.compiler.plan import GradientPlan, Plan
from mcd.dsl.diagnostics import Failure
from mcd.runtime.batch import Batch
from mcd.runtime.supervise import supervise
from mcd.runtime.supervised import Supervised

from .builders import SPREAD, make_anchors, make_attend, make_batch, make_classify, make_model, make_plan, make_stage

LENGTHS = [9, 6]
LOOKS = {"look": [(0, 8, [3])], "read": SPREAD}
LABELS = [0, 1, 2, 0]
TIMES = (0.1, 0.3, 0.6, 0.9)
CASES = ("sum", "project", "project under DDP")


def make_staged(conflicts: Any, avoid: bool) -> Plan:
    """Stages of depth 2, of one block, of the head, and of everything. The rule on attention has rows on rank 0 alone."""
    stages = (
        make_stage("shallow", 0.0, 0.25, depth=2, only=("read",)),
        make_stage("one", 0.25, 0.5, train=(3,)),
        make_stage("head", 0.5, 0.75, train=("final",), only=("read",)),
        make_stage("all", 0.75, 1.0),
    )
    given = GradientPlan(conflicts=conflicts, scale=((1, 0.5), ("final", 2.0)))
    look = make_attend(layers=(3,), heads=(1,), avoid=avoid, loss="hinge" if avoid else "nll", weight=20.0)
    return make_plan(look, make_classify("read", layers=(2,)), stages=stages, gradient=given)


def make_whole(plan: Plan) -> Batch:
    return make_batch(plan, LENGTHS, LOOKS, labels={"read": LABELS})


def make_part(plan: Plan, record: int) -> Batch:
    mine = [n for n, row in enumerate(SPREAD) if row[0] == record]
    rows = {"look": [row for row in LOOKS["look"] if row[0] == record], "read": [(0, SPREAD[n][1]) for n in mine]}
    part = make_batch(plan, [LENGTHS[record]], rows, labels={"read": [LABELS[n] for n in mine]})
    values = {name: getattr(part, name) for name in part.__slots__}
    return Batch(**values | {"input_ids": make_whole(plan).input_ids[record : record + 1, : LENGTHS[record]]})


def steps(plan: Plan, batch: Batch, case: str) -> tuple[Supervised, list[list[Tensor | None]]]:
    """The gradients of a step in each stage."""
    supervised = supervise(make_model("llama"), plan, anchors=make_anchors()).train()
    wrapped: nn.Module = supervised
    if dist.is_initialized() and case != "project":
        wrapped = DistributedDataParallel(supervised, find_unused_parameters=True)
    found = []
    for time in TIMES:
        wrapped.zero_grad()
        totals = supervised.totals([batch], time)
        if case == "project under DDP" and isinstance(wrapped, DistributedDataParallel):
            with wrapped.no_sync():
                wrapped(batch, time=time, totals=totals).loss.backward()
        else:
            wrapped(batch, time=time, totals=totals).loss.backward()
        found.append([None if p.grad is None else p.grad.clone() for p in supervised.parameters()])
    return supervised, found


def run(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for case in CASES:
        for avoid in (False, True):
            plan = make_staged(case.split()[0], avoid)
            _, found = steps(plan, make_part(plan, rank), case)
            torch.save(found, f"{folder}/{case} {avoid} {rank}.pt")
    torch.save([sharded(name) for name in ("project", "scale")], f"{folder}/sharded {rank}.pt")
    # Wrappers hold the group in circles, and its threads may not outlive it: both ranks let go of them before either ends it.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def sharded(name: str) -> str:
    """What is said of parameters that lie in parts over the ranks."""
    given = GradientPlan(conflicts="project") if name == "project" else GradientPlan(scale=((1, 0.5),))
    plan = make_plan(gradient=given)
    supervised = supervise(make_model("llama"), plan)
    fully_shard(supervised, mesh=dist.init_device_mesh("cpu", (2,)))
    try:
        supervised(make_batch(plan, [4]), time=0.0).loss.backward()
    except Failure as failure:
        return str(failure)
    return "nothing"


@pytest.mark.slow
def test_two_ranks_give_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # where the processes find this module
    processes.spawn(run, (str(tmp_path),), nprocs=2)
    for case in CASES:
        opposed = 0
        for avoid in (False, True):
            plan = make_staged(case.split()[0], avoid)
            supervised, expected = steps(plan, make_whole(plan), case)
            for rank in range(2):
                agree(torch.load(tmp_path / f"{case} {avoid} {rank}.pt"), expected)
            conflict = supervised.flow.receipt().conflict
            opposed += 0 if conflict is None else conflict.opposed
        assert (opposed > 0) == (case != "sum")
    for rank in range(2):
        project, scale = torch.load(tmp_path / f"sharded {rank}.pt")
        assert "MCD742 `conflicts = project` of `gradient` is not supported for parameters that FSDP keeps" in project
        assert "MCD742 `scale` of `gradient` is not supported for parameters that FSDP keeps in parts" in scale


def agree(found: list[list[Tensor | None]], expected: list[list[Tensor | None]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)
