"""Kernel x compile x checkpointing x accumulation x autocast x ranks: equal to the float64 reference, or refused by name."""

from __future__ import annotations

import gc
import re
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn.parallel import DistributedDataParallel

from mcd.dsl.diagnostics import Failure

from .builders import make_model
from .parts import PLAN, distance, expected_of, gradients_of, make_part, supervised_of

REFUSED = {"flex_attention": "MCD703"}
"""By kernel, on a CPU: every cell of it."""
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.05}
"""Of the distance of the gradient from that of the reference; a tenth of it, and a hundredth, for the loss."""

KERNELS = ("eager", "sdpa", "flex_attention")
SETTINGS = [*product(KERNELS, (False, True), (False, True), ("float32", "bfloat16"))]
ACCUMULATION = (1, 4)


def step(wrapped: nn.Module, supervised: Any, records: list[int], accumulation: int, kind: str) -> dict[str, Any]:
    """One optimiser step over this rank's records."""
    size = len(records) // accumulation
    batches = [make_part(PLAN, records[at : at + size]) for at in range(0, len(records), size)]
    wrapped.zero_grad()
    with torch.autocast("cpu", torch.bfloat16) if kind == "bfloat16" else nullcontext():
        totals = supervised.totals(batches, 0.0)
        loss: Tensor = torch.zeros(())
        for number, batch in enumerate(batches, 1):
            last = number == len(batches) or not isinstance(wrapped, DistributedDataParallel)
            with nullcontext() if last else cast(DistributedDataParallel, wrapped).no_sync():
                out = wrapped(batch, time=0.0, totals=totals)
                out.loss.backward()
            loss = loss + out.loss.detach()
    receipts = supervised.receipts.of_all_ranks()
    shown = {each.rule: (each.rows, each.seen, each.acted, each.fired) for each in receipts}
    return {"loss": loss, "gradients": gradients_of(supervised), "receipts": shown}


def cells(rank: int, ranks: int) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    records = list(range(rank, 8, ranks))
    for kernel, compiled, checkpointing, kind in SETTINGS:
        torch._dynamo.reset()
        model = make_model("llama", attention=kernel).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        counters.clear()
        supervised = supervised_of(torch.compile(model, backend="aot_eager") if compiled else model)
        wrapped = DistributedDataParallel(supervised) if ranks > 1 else supervised
        for accumulation in ACCUMULATION:
            try:
                result = step(wrapped, supervised, records, accumulation, kind)
            except Failure as failure:
                result = {"refused": [each.code.id for each in failure.diagnostics]}
            result["graphs"] = counters["stats"]["unique_graphs"]
            found[kernel, compiled, checkpointing, kind, accumulation] = result
        supervised.close()
    return found


def run(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(cells(rank, 2), f"{folder}/{rank}.pt")
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def test_the_page_names_what_is_refused() -> None:
    page = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text("utf-8")
    table = page.split("| refused in every cell |")[1].split("\n\n")[0]
    assert dict(re.findall(r"^\| `(\w+)` .*\[(MCD\d+)\]", table, re.M)) == REFUSED


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_every_cell_is_equal_or_refused(ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight records; a rank has every second of them, a micro-batch a fourth of those."""
    if ranks == 1:
        results = [cells(0, 1)]
    else:
        monkeypatch.syspath_prepend(Path(__file__).parents[2])  # where the processes find this module
        processes.spawn(run, (str(tmp_path),), nprocs=2)
        results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    loss, _, gradients = expected_of("llama")
    assert all(list(result) == [(*s, a) for s in SETTINGS for a in ACCUMULATION] for result in results)
    for cell in results[0]:
        kernel, compiled, _, kind, _ = cell
        found = [result[cell] for result in results]
        if kernel in REFUSED:
            assert [each["refused"] for each in found] == [[REFUSED[kernel]]] * ranks, cell
            continue
        limit = TOLERANCE[kind]
        mean = sum(each["loss"] for each in found) / ranks
        assert float(mean) == pytest.approx(float(loss), rel=limit / 10), cell
        for each in found:
            assert distance(each["gradients"], gradients) < limit, (cell, distance(each["gradients"], gradients))
            for rule, (rows, seen, acted, fired) in each["receipts"].items():
                assert fired and rows and seen == acted, (cell, rule)
                assert seen <= sum(ACCUMULATION) * ranks
            assert bool(each["graphs"]) == compiled
