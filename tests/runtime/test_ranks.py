"""Two ranks give what one process gives for both their records together: contrasts over the batch, and weights that only a pass
knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import Tensor

from mcd.compiler.plan import Plan
from mcd.runtime.batch import Batch
from mcd.runtime.supervise import supervise

from .builders import LIVE, MLP, make_batch, make_contrast, make_keep, make_model, make_plan, make_weigh

LENGTHS = [9, 6]
ROWS = [(0, [1, 2]), (0, [3]), (0, [5, 6]), (0, [8]), (0, [7]), (1, [0]), (1, [2, 3]), (1, [5])]
LABELS = [0, 0, 1, 2, 3, 1, 4, 2]
"""Rows 2 and 3 have their positives on the other rank, 4 and 6 none; the ranks have 5 rows and 3."""


def make_two(per: str) -> Plan:
    return make_plan(
        make_contrast(scope="batch", per=per, layers=(1, 3)), make_contrast("other", scope="batch", through=MLP)
    )


def make_part(plan: Plan, record: int) -> Batch:
    """The batch of one record, with the tokens that it has in the batch of both."""
    mine = [n for n, row in enumerate(ROWS) if row[0] == record]
    rows, labels = [(0, ROWS[n][1]) for n in mine], [LABELS[n] for n in mine]
    part = make_batch(plan, LENGTHS[record : record + 1], dict.fromkeys(IDS, rows), labels=dict.fromkeys(IDS, labels))
    ids = make_batch(plan, LENGTHS).input_ids[record : record + 1, : LENGTHS[record]]
    return Batch(**{**{name: getattr(part, name) for name in part.__slots__}, "input_ids": ids})


LIVELY = make_plan(make_weigh(factor=None, score=(1.0, 1.0, LIVE, "+", "/")), make_keep(share=0.5))


def make_lively(records: list[int]) -> Batch:
    """Some of two records, every token weighed and ranked by its loss."""
    lengths = [LENGTHS[record] for record in records]
    rows = [(place, at) for place, length in enumerate(lengths) for at in range(1, length)]
    part = make_batch(LIVELY, lengths, weigh={"boost": [(*row, 1.0) for row in rows]}, keep={"hard": rows})
    ids = make_batch(LIVELY, LENGTHS).input_ids[records, : max(lengths)]
    return Batch(**{**{name: getattr(part, name) for name in part.__slots__}, "input_ids": ids})


IDS = ("group", "other")
PER = ("row", "record")


def step(plan: Plan, batch: Batch) -> dict[str, Any]:
    supervised = supervise(make_model("llama"), plan)
    totals = supervised.totals([batch], 0.0)
    out = supervised(batch, time=0.0, totals=totals)
    out.loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in supervised.parameters()]
    return {"loss": out.loss.detach(), "values": out.values.detach(), "counts": out.counts, "gradients": gradients}


def run(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for per in PER:
        plan = make_two(per)
        torch.save(step(plan, make_part(plan, rank)), f"{folder}/{per}{rank}.pt")
    torch.save(step(LIVELY, make_lively([rank])), f"{folder}/live{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_give_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # where the processes find this module
    processes.spawn(run, (str(tmp_path),), nprocs=2)
    for per in PER:
        agree(per, *(torch.load(tmp_path / f"{per}{rank}.pt") for rank in range(2)))
    one, other = (torch.load(tmp_path / f"live{rank}.pt") for rank in range(2))
    whole = step(LIVELY, make_lively([0, 1]))
    torch.testing.assert_close((one["loss"] + other["loss"]) / 2, whole["loss"])
    for a, b, expected in zip(one["gradients"], other["gradients"], whole["gradients"], strict=True):
        torch.testing.assert_close((a + b) / 2, expected, atol=1e-6, rtol=1e-4)


def agree(per: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    plan = make_two(per)
    both = make_batch(plan, LENGTHS, dict.fromkeys(IDS, ROWS), labels=dict.fromkeys(IDS, LABELS))
    whole = step(plan, with_shares(plan, both))
    assert (one["counts"] + other["counts"]).tolist() == whole["counts"].tolist() == [6, 6]
    torch.testing.assert_close(one["values"] + other["values"], whole["values"])
    torch.testing.assert_close((one["loss"] + other["loss"]) / 2, whole["loss"])
    for a, b, expected in zip(one["gradients"], other["gradients"], whole["gradients"], strict=True):
        torch.testing.assert_close((a + b) / 2, expected, atol=1e-6, rtol=1e-4)


def with_shares(plan: Plan, batch: Batch) -> Batch:
    """`per = record` by hand: of record 0 rows 0 to 3 count, of record 1 rows 5 and 7."""
    counted = torch.tensor([1, 1, 1, 1, 0, 1, 0, 1.0])
    share: Tensor = counted / torch.tensor([4, 4, 4, 4, 4, 2, 2, 2])
    hidden = []
    for rows, rule in zip(batch.hidden, plan.rules, strict=True):
        assert torch.equal((rows.share > 0).float(), counted)
        values = {name: getattr(rows, name) for name in rows.__slots__}
        hidden.append(type(rows)(**{**values, "share": share if rule.per == "record" else counted}))
    return Batch(**{**{name: getattr(batch, name) for name in batch.__slots__}, "hidden": tuple(hidden)})
