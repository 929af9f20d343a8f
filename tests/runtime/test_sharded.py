"""Two ranks under DDP and FSDP2 give what one process gives, receipts too; and what cannot be had under them is refused."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from mcd.compiler.plan import GradientPlan
from mcd.dsl.diagnostics import Failure
from mcd.runtime.supervise import supervise
from mcd.runtime.supervised import Supervised

from .builders import LIVE, make_anchors, make_classify, make_model, make_plan, make_predict, make_stage, make_weigh
from .parts import PLAN, RANKS_PLAN, distance, gradients_of, make_part, supervised_of

STEPS = {"one batch": 1, "accumulated": 4}
STAGES = (
    make_stage("shallow", 0.0, 0.25, depth=2, only=("read",)),
    make_stage("one", 0.25, 0.5, train=(3,), only=("read",)),
    make_stage("all", 0.5, 1.0),
)
STAGED = make_plan(make_classify("read", layers=(2,)), stages=STAGES, gradient=GradientPlan(stop=(1,)))


def ddp(supervised: Supervised) -> nn.Module:
    return DistributedDataParallel(supervised)


def parted(supervised: Supervised) -> nn.Module:
    """Blocks, and what is supervised."""
    for block in cast(Any, supervised.model).model.layers:
        fully_shard(block, mesh=dist.init_device_mesh("cpu", (2,)))
    fully_shard(supervised, mesh=dist.init_device_mesh("cpu", (2,)))
    return supervised


def parted_model(supervised: Supervised) -> nn.Module:
    """The model as a module of its own, whose head is parted again when its pass ends."""
    mesh = dist.init_device_mesh("cpu", (2,))
    fully_shard(supervised.model, mesh=mesh, reshard_after_forward=True)
    fully_shard(supervised, mesh=mesh)
    return supervised


def parted_head(supervised: Supervised) -> nn.Module:
    """Norm and head as modules of their own."""
    mesh, model = dist.init_device_mesh("cpu", (2,)), cast(Any, supervised.model)
    fully_shard(model.model.norm, mesh=mesh)
    fully_shard(model.lm_head, mesh=mesh)
    return parted(supervised)


WRAPS: dict[str, Callable[[Supervised], nn.Module]] = {
    each.__name__: each for each in (ddp, parted, parted_model, parted_head)
}


def train(plan: Any, records: list[int], accumulation: int, wrap: Callable[[Supervised], nn.Module] | None) -> Any:
    """Two optimiser steps, the second from what the first made: the losses, the gradients of the last, and the receipts."""
    supervised = supervised_of(make_model("llama"), plan)
    wrapped = wrap(supervised) if wrap else supervised
    optimizer = torch.optim.AdamW(supervised.parameters(), lr=1e-2)
    size, losses = len(records) // accumulation, []
    batches = [make_part(plan, records[at : at + size]) for at in range(0, len(records), size)]
    gradients: list[Any] = []
    for _ in range(2):
        totals = supervised.totals(batches, 0.5)
        values = 0
        for batch in batches:
            out = wrapped(batch, time=0.5, totals=totals)
            out.loss.backward()
            values = values + out.values.detach()
        losses.append(values)
        gradients = [g.full_tensor() if isinstance(g, DTensor) else g for g in gradients_of(supervised)]
        optimizer.step()
        optimizer.zero_grad()
    rows = {each.rule: (each.rows, each.mean_loss, each.acted) for each in supervised.receipts.of_all_ranks()}
    return supervised, {"losses": losses, "gradients": gradients, "receipts": rows}


def run(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    mine, found = [*range(rank, 8, 2)], {}
    for name, wrap in WRAPS.items():
        for steps, accumulation in STEPS.items():
            supervised, found[name, steps] = train(PLAN, mine, accumulation, wrap)
        supervised.save_probes(f"{folder}/{name}.safetensors") if rank == 0 or name != "ddp" else None
        dist.barrier()
        before = [gathered(p) for p in supervised.probes.parameters()]
        with torch.no_grad():
            for p in supervised.probes.parameters():
                p.mul_(2)
        supervised.load_probes(f"{folder}/{name}.safetensors")
        found[name, "probes"] = [
            torch.equal(gathered(p), b) for p, b in zip(supervised.probes.parameters(), before, strict=True)
        ]
    _, found["ddp", "live"] = train(RANKS_PLAN, mine, 1, ddp)
    _, found["parted", "live"] = train(RANKS_PLAN, mine, 1, parted)
    for name in ("alone", "norms", "live"):
        try:
            found["refused", name] = refused(name, mine)
        except Failure as failure:
            found["refused", name] = str(failure)
    found["staged"] = staged(mine)
    torch.save(found, f"{folder}/{rank}.pt")
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def gathered(tensor: Any) -> Any:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.detach().clone()


def refused(name: str, records: list[int]) -> str:
    supervised = supervised_of(make_model("llama"))
    if name == "alone":
        fully_shard(supervised.model, mesh=dist.init_device_mesh("cpu", (2,)))
        supervised(make_part(PLAN, records), time=0.0)
    elif name == "live":
        lively = supervise(make_model("llama"), make_plan(make_weigh(factor=None, score=(LIVE,))))
        parted(lively)
        lively.totals([make_part(PLAN, records)] * 2, time=0.0)
    else:
        out = parted(supervised)(make_part(PLAN, records), time=0.0)
        supervised.gradient_norms(out)
    return "nothing"


def staged(records: list[int]) -> list[Any]:
    """The gradients of a step in each stage, of a model in parts or, on one process, whole."""
    supervised = supervise(make_model("llama"), STAGED, anchors=make_anchors()).train()
    wrapped = parted(supervised) if dist.is_initialized() else supervised
    found = []
    for time in (0.1, 0.3, 0.9):
        wrapped.zero_grad()
        batch = make_part(STAGED, records)
        wrapped(batch, time=time, totals=supervised.totals([batch], time)).loss.backward()
        found.append([None if p.grad is None else gathered(p.grad) for p in supervised.parameters()])
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])  # where the processes find this module
        processes.spawn(run, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def agree(ours: list[Any], plan: Any, accumulation: int) -> None:
    _, whole = train(plan, list(range(8)), accumulation, None)
    for step in range(2):
        torch.testing.assert_close(ours[0]["losses"][step] + ours[1]["losses"][step], whole["losses"][step])
    for each in ours:
        assert distance(each["gradients"], whole["gradients"]) < 1e-5
        assert each["receipts"].keys() == whole["receipts"].keys()
        for rule, (rows, mean, acted) in whole["receipts"].items():
            assert each["receipts"][rule][0] == rows
            assert each["receipts"][rule][1] == (None if mean is None else pytest.approx(mean, rel=1e-5))
            assert each["receipts"][rule][2] >= acted > 0


@pytest.mark.slow
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("wrap", WRAPS)
def test_two_ranks_give_what_one_process_gives(wrap: str, steps: str, found: list[dict[Any, Any]]) -> None:
    agree([each[wrap, steps] for each in found], PLAN, STEPS[steps])


@pytest.mark.slow
@pytest.mark.parametrize("wrap", ["ddp", "parted"])
def test_contrast_over_the_batch_and_kept_tokens(wrap: str, found: list[dict[Any, Any]]) -> None:
    agree([each[wrap, "live"] for each in found], RANKS_PLAN, 1)


@pytest.mark.slow
def test_probes_are_saved_whole_and_read_back(found: list[dict[Any, Any]]) -> None:
    for wrap in WRAPS:
        assert all(all(each[wrap, "probes"]) and each[wrap, "probes"] for each in found)


@pytest.mark.slow
def test_stages_of_a_model_in_parts(found: list[dict[Any, Any]]) -> None:
    """Depth, frozen layers and a stop: what one process leaves without a gradient, or at 0, is 0 or without one."""
    for ours in (each["staged"] for each in found):
        for one, other in zip(ours, staged(list(range(8))), strict=True):
            for a, b in zip(one, other, strict=True):
                zero = torch.zeros(())
                torch.testing.assert_close(
                    a if a is not None else zero.expand_as(b) if b is not None else zero,
                    b if b is not None else zero.expand_as(a) if a is not None else zero,
                    atol=1e-6,
                    rtol=1e-4,
                )


@pytest.mark.slow
def test_what_parts_do_not_allow_is_refused(found: list[dict[Any, Any]]) -> None:
    for each in found:
        assert "MCD724 `fully_shard` was called on the model and not on what is supervised" in each["refused", "alone"]
        assert "MCD742 `gradient_norms` is not supported for parameters that FSDP keeps" in each["refused", "norms"]
        assert "MCD742 `live.loss over several micro-batches` is not supported" in each["refused", "live"]


def test_wrappers_inside_are_refused_by_name() -> None:
    """DDP around the model, and parameters that the first FSDP flattened, which it does with a GPU alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(Failure, match="MCD724 `DistributedDataParallel` is around the model, and hides"):
            supervise(DistributedDataParallel(make_model("llama")), make_plan(make_predict()))
    finally:
        dist.destroy_process_group()
    supervised = supervised_of(make_model("llama"))
    next(supervised.parameters())._fsdp_flattened = True
    with pytest.raises(Failure, match="MCD724 `FullyShardedDataParallel` flattens the parameters"):
        supervised(make_part(PLAN, [0]), time=0.0)
