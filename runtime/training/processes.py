"""The processes of a run: those that `torchrun` started, or this one alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from ...dsl.codes.runtime import RANK_ENDED
from ...dsl.diagnostics import Failure

PATIENCE = timedelta(hours=2)
"""How long ranks wait for each other: rank 0 evaluates and writes checkpoints while the others wait."""


@dataclass(frozen=True, slots=True)
class Place:
    """This process among `ranks`; `device`: where it exchanges tensors with the others."""

    rank: int = 0
    ranks: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0


ALONE = Place()


def launched() -> bool:
    """Whether `torchrun` started this process, as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1


def local_device(device: torch.device) -> torch.device:
    """The device of this process, of its kind: each of a machine's processes has a GPU of its own."""
    if device.type == "cuda" and launched():
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


@contextmanager
def meeting(device: torch.device) -> Iterator[Place]:
    """Within it, the processes of `torchrun` are ranks of torch.distributed."""
    if not launched():
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    ended = False
    try:
        yield Place(dist.get_rank(), dist.get_world_size(), device if device.type == "cuda" else torch.device("cpu"))
        ended = True
    finally:
        if ended:  # A rank that fails leaves at once: the others would be waited for.
            dist.destroy_process_group()


def summed(values: Tensor, place: Place) -> Tensor:
    """The sum over ranks, on each of them."""
    if place.ranks == 1:
        return values
    total = values.to(place.device, copy=True)
    dist.all_reduce(total)
    return total.to(values.device)


def first_that_failed(failed: bool, place: Place) -> int | None:
    """The lowest rank that failed. Every rank has to ask."""
    own = torch.tensor(place.rank if failed else place.ranks)
    if place.ranks > 1:
        own = own.to(place.device)
        dist.all_reduce(own, dist.ReduceOp.MIN)
    lowest = int(own)
    return None if lowest == place.ranks else lowest


def gathered(own: bytes, place: Place) -> list[bytes]:
    """What every rank gives, by rank, on each of them."""
    if place.ranks == 1:
        return [own]
    sizes = [torch.zeros(1, dtype=torch.int64, device=place.device) for _ in range(place.ranks)]
    dist.all_gather(sizes, torch.tensor([len(own)], device=place.device))
    room = max(int(size) for size in sizes)
    padded = torch.frombuffer(bytearray(own.ljust(room, b"\0")), dtype=torch.uint8).to(place.device)
    parts = [torch.empty_like(padded) for _ in range(place.ranks)]
    dist.all_gather(parts, padded)
    pairs = zip(parts, sizes, strict=True)
    return [part[: int(size)].cpu().numpy().tobytes() for part, size in pairs]


@contextmanager
def together(place: Place) -> Iterator[None]:
    """Has the end of another rank, as it is met in an exchange with it, end in MCD764."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or "gloo" in str(error)
        if place.ranks == 1 or not lost:
            raise
        message = (
            f"another rank of the run ended, as rank {place.rank} found when it wanted to exchange tensors with it"
        )
        raise Failure(RANK_ENDED.at(None, message, help="see what that rank printed, or the kernel's log")) from None
