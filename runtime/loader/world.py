"""Which rank this process is, of how many."""

from __future__ import annotations

import os

import torch.distributed as dist

from ...dsl.codes import runtime as codes
from ...dsl.diagnostics import Failure


def world(rank: int | None, ranks: int | None) -> tuple[int, int]:
    """The rank and the number of ranks: as given, or those of torch.distributed, or 0 of 1 where nothing speaks of more.

    Raises Failure where one is given without the other, where the rank is none of them, and where a launcher has started several
    processes that do not know of each other yet: each would train on everything.
    """
    if rank is not None and ranks is not None:
        if not 0 <= rank < ranks:
            raise _wrong(f"`rank` is {rank}, and there are {ranks} `ranks`", "ranks are numbered from 0")
        return rank, ranks
    if rank is not None or ranks is not None:
        given, lacking = ("rank", "ranks") if ranks is None else ("ranks", "rank")
        raise _wrong(f"`{given}` is given without `{lacking}`", "give both, or none under torch.distributed")
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    started = os.environ.get("WORLD_SIZE", "1")
    if started not in ("", "1"):
        message = (
            f"{started} processes were started, and torch.distributed is not initialised: each would read every record"
        )
        raise _wrong(message, "call `torch.distributed.init_process_group` first, or give `rank` and `ranks`")
    return 0, 1


def _wrong(message: str, help: str) -> Failure:
    return Failure(codes.LOADER_SETTINGS.at(None, message, help=help))
