"""Out of memory: where, of what, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import torch

from ...dsl.codes.runtime import OUT_OF_MEMORY
from ...dsl.diagnostics import Failure
from ..batch import Batch
from ..online import Online
from ..supervised import Supervised
from ..terms import Term

_OF_THE_CPU = "DefaultCPUAllocator"
"""What torch's messages about the memory of the host begin with: it has no type of its own for them."""


@dataclass(slots=True)
class Where:
    """What a step is at: `doing`, on `batch`."""

    step: int = 0
    doing: str = "collating"
    batch: Batch | None = None


@contextmanager
def explained(where: Where, supervised: Supervised) -> Iterator[None]:
    """Has an exception about memory end in MCD755, with where it was and the rows of every rule."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        message = f"out of memory in step {where.step}, {_doing(where, error.__traceback__)}"
        if where.batch is not None:
            message += f": a micro-batch of {_size(where.batch)}{_rows(where.batch, supervised)}"
        help = "halve `--batch-size` and double `--accumulate`, which changes no gradient, or try `--checkpointing`"
        raise Failure(OUT_OF_MEMORY.at(None, message, help=help)) from None


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory does not suffice."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _OF_THE_CPU in str(error)
    )


def _doing(where: Where, trace: TracebackType | None) -> str:
    """What was being computed. The frames of the exception know which rule's loss it was."""
    found = where.doing
    while trace is not None:
        own = trace.tb_frame.f_locals.get("self")
        if isinstance(own, Term):
            found = f"in the loss of {', '.join(f'`{rule.id}`' for rule in own.rules[:4])}"
        elif isinstance(own, Online):
            found = "in the pass of a teacher"
        trace = trace.tb_next
    return found


def _size(batch: Batch) -> str:
    records, tokens = batch.input_ids.shape
    return f"{records} x {tokens} tokens"


def _rows(batch: Batch, supervised: Supervised) -> str:
    try:
        rows = supervised.rows_of(batch)
    except RuntimeError:  # Nothing is left, not even for counting.
        return ""
    shown = ", ".join(f"`{rule}` {count:,}" for rule, count in rows.items())
    return f"; rows: {shown}" if shown else ""
