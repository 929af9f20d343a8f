"""A supervised training step (forward and backward) over the plain step of the same model: time, and peak memory.

    python benchmarks/step.py [--tokens 512 1024 2048] [--rounds 7] [--curve] [--device cuda --dtype bfloat16 --shape 1b]

The rules are those of `step_work.py`, with 32 rows per record each. The sides of a comparison take turns in one process:

- `plain`: the model's own kernel, and the token loss as the supervised step computes it; the reference,
- `supervised`: the same under the plan,
- `weights`: eager attention that returns every layer's weights, from which three rules are read,
- `states`: the model's own kernel with `output_hidden_states`, from which three rules are read.

On a CPU time is CPU seconds of one thread, and memory is what Linux says of the peak of a process of its own for each side, less
what it held before there was a model; there every large tensor is a mapping of its own, so that what is freed is gone. On a GPU
time is that of the device between two synchronisations, and memory what its allocator gave out. `--curve` varies the rows at one
length, and the length at one number of rows.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from mcd.benchmarks.step_work import SHAPES, make_batch, make_model, make_plan
from mcd.runtime.losses.token import token_losses
from mcd.runtime.supervise import supervise

ROWS = 32
TOKENS = 2048
"""Tokens of a batch on a CPU, in as many records as they give."""
SIDES = ("plain", "supervised", "weights", "states")

Step = Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison. `batch` records of `tokens` tokens, `rows` rows per rule and record."""

    shape: str
    tokens: int
    batch: int
    rows: int
    device: str
    dtype: str

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"


def make_step(side: str, case: Case) -> tuple[Step, torch.nn.Module]:
    """Gives the loss of a side, and the model that it is of."""
    shape, device, dtype = SHAPES[case.shape], torch.device(case.device), getattr(torch, case.dtype)
    batch = make_batch(shape.vocab, case.batch, case.tokens, case.rows).to(device)
    model = make_model(shape, case.tokens, "eager" if side == "weights" else "sdpa", device, dtype)
    plan = make_plan(shape, case.tokens)

    if side == "supervised":
        anchors = {"axis": functional.normalize(torch.ones(shape.hidden), dim=0)}
        supervised = supervise(model, plan, anchors=anchors)
        return (lambda: supervised(batch, time=0.5).loss), supervised

    asked = {"plain": {}, "weights": {"output_attentions": True}, "states": {"output_hidden_states": True}}[side]

    def step() -> Tensor:
        out = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, **asked)
        weights = batch.scored.float()
        loss = (token_losses(out.logits, batch.input_ids) * weights).sum() / weights.sum()
        if side == "weights":
            read = [out.attentions[rule.layers[0] - 1] for rule in plan.rules[:3]]
            return loss + sum(_rows(each, rows.position).mean() for each, rows in zip(read, batch.attend, strict=True))
        if side == "states":
            read = [out.hidden_states[rule.layers[0]] for rule in plan.rules[3:]]
            return loss + sum(
                s[rows.record, rows.position].float().norm(dim=-1).mean()
                for s, rows in zip(read, batch.hidden, strict=True)
            )
        return loss

    return step, model


def _rows(weights: Tensor, position: Tensor) -> Tensor:
    """The first key's weight in the rows at `position` [B, Q] of `weights` [B, H, T, T]."""
    return weights[:, :, :, 0].float().gather(2, position[:, None].expand(-1, weights.shape[1], -1))


def seconds(step: Step, model: torch.nn.Module, case: Case) -> float:
    """What one forward and backward pass takes."""
    model.zero_grad(set_to_none=True)
    if case.on_gpu:
        torch.cuda.synchronize()
    clock = time.perf_counter if case.on_gpu else time.process_time
    start = clock()
    step().backward()
    if case.on_gpu:
        torch.cuda.synchronize()
    return clock() - start


def timed(case: Case, sides: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side, which take turns, after a round that does not count."""
    made = {side: make_step(side, case) for side in sides}
    found: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(rounds + 1):
        for side, (step, model) in made.items():
            taken = seconds(step, model, case)
            if turn:
                found[side].append(taken)
    return found


def peak(case: Case, side: str) -> float:
    """Megabytes that a side takes at most, of model, gradients and pass, in a process of its own."""
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # else the C library keeps what is freed, more or less of it
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (case, side))


def _peak(case: Case, side: str) -> float:
    torch.set_num_threads(1)
    _turn("tiny", case, side)  # what libraries load on first use is not counted
    gc.collect()
    if case.on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _turn(case.shape, case, side)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of what follows
    before = _status("VmRSS")
    _turn(case.shape, case, side)
    return (_status("VmHWM") - before) / 1e6


def _turn(shape: str, case: Case, side: str) -> None:
    """Two steps, of which the second finds gradients there."""
    tokens = case.tokens if shape != "tiny" else 16
    step, _ = make_step(side, Case(shape, tokens, case.batch, case.rows, case.device, case.dtype))
    for _ in range(2):
        step().backward()


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def compare(case: Case, rounds: int) -> None:
    """The table of one length."""
    found = timed(case, SIDES, rounds)
    memory = {side: peak(case, side) for side in SIDES}
    plain = statistics.median(found["plain"])
    print(f"{case.tokens} tokens x {case.batch} records: plain {plain:.3f} s, {memory['plain']:.0f} MB")
    for side in SIDES[1:]:
        ratios = sorted(mine / other for mine, other in zip(found[side], found["plain"], strict=True))
        span = f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(
            f"  {side:<10} over plain: time {statistics.median(ratios):.3f} {span}, memory {memory[side] / memory['plain']:.3f}"
        )


def extra(case: Case, rounds: int) -> float:
    """Milliseconds that supervision adds to a step: the middle of the differences of neighbours."""
    found = timed(case, SIDES[:2], rounds)
    return 1e3 * statistics.median(
        mine - other for mine, other in zip(found["supervised"], found["plain"], strict=True)
    )


def curves(case: Case, rounds: int) -> None:
    """What supervision costs by rows and by length."""
    print("\nrows of each rule in a record of 1,024 tokens: ms that supervision adds to a step")
    for rows in (0, 8, 32, 128, 512):
        print(f"  {rows:>5}: {extra(Case(case.shape, 1024, 2, rows, case.device, case.dtype), rounds):8.1f}")
    print(f"tokens of a record with {ROWS} rows of each rule: ms that supervision adds to a step")
    for tokens in (256, 512, 1024, 2048):
        print(f"  {tokens:>5}: {extra(Case(case.shape, tokens, 1, ROWS, case.device, case.dtype), rounds):8.1f}")


def main() -> None:
    """Three lengths, and the curves where they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--batch", type=int, help="records; as many as give 2,048 tokens by default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--shape", choices=tuple(SHAPES), default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for tokens in options.tokens:
        batch = options.batch or max(1, TOKENS // tokens)
        compare(Case(options.shape, tokens, batch, ROWS, options.device, options.dtype), options.rounds)
    if options.curve:
        curves(Case(options.shape, 1024, 1, ROWS, options.device, options.dtype), options.rounds)


if __name__ == "__main__":
    main()
