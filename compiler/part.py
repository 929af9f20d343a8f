"""A share of the tasks of a program: what one of several jobs does that build one dataset together.

The jobs need nothing of each other but the folder beside the target. Whoever comes first lists the sources there; the others take
that list where the files still look the same, and every task holds what it reads against the digest that the list has of it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..dsl import checked as c
from ..dsl.canonical import digest
from .build.engines import Engine, Missing
from .build.stage import Stage, staged
from .build.tasks import units_of
from .cache.cache import CacheFolder
from .compile import Compiled, Inputs, Report, build, run_tasks, take_stock
from .files import disk
from .prepare import prepare
from .sources.files import look
from .sources.inventory import Inventory, origin_of
from .teaching import Teach

LIST_FILE = "sources.json"
"""In a dataset that is being built by several jobs: what the sources hold."""

_STOCK = TypeAdapter(tuple[Inventory, ...])


@dataclass(frozen=True, slots=True)
class Part:
    """What a job did: of `total` tasks of the program, `own` are its share; it ran `ran` of them, the others were done."""

    total: int
    own: int
    ran: int


def compile_part(
    program: c.Program,
    out: Path,
    part: int,
    of: int,
    engine: Engine,
    report: Report,
    cache: CacheFolder | None = None,
) -> Part:
    """Have the tasks done whose numbers leave the remainder `part` when divided by `of`. `cache`: as of `compile_program`.

    Raises Failure as `compile_program` does.
    """
    with staged(out, shared=True) as stage:
        inputs = _inputs(program, stage)
        own = inputs.units[part::of]
        ran = run_tasks(inputs, own, stage, engine, report, cache)
    return Part(len(inputs.units), len(own), ran.ran)


def finish_parts(program: c.Program, out: Path, report: Report, teach: Teach | None = None) -> Compiled:
    """Make a dataset of what `compile_part` did. Raises Failure where a task is not done, and as `compile_program` does."""
    with staged(out) as stage:
        return build(lambda: _inputs(program, stage), stage, report, teach, Missing())


def _inputs(program: c.Program, stage: Stage) -> Inputs:
    lowered, encoder = prepare(program)
    stock = _listed(program, stage)
    return Inputs(program, lowered, encoder, stock, units_of(lowered.recipe, stock))


def _listed(program: c.Program, stage: Stage) -> tuple[Inventory, ...]:
    """What the sources hold, read once for all jobs."""
    path = stage.root / LIST_FILE
    with _alone(stage):
        seen = _seen(program)
        try:
            found = json.loads(path.read_bytes())
            if found["seen"] == seen:
                return _STOCK.validate_python(found["stock"])
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            pass
        stock = take_stock(program)
        text = json.dumps({"seen": seen, "stock": _STOCK.dump_python(stock, mode="json")})
        with stage.refusals():
            disk.write(path, text.encode())
    return stock


def _seen(program: c.Program) -> list[object]:
    """What the list is of: the sources as they are declared, and their files as they look from outside."""
    looks: list[object] = []
    for source in program.sources:
        looks.append(digest((source.name, source.format, source.records, source.marked)))
        origins = (origin_of(source, program.root, index) for index in range(len(source.files)))
        looks += [[origin.path, *look(source, origin.file)] for origin in origins]
    return looks


@contextmanager
def _alone(stage: Stage) -> Iterator[None]:
    """Has the list to itself, after waiting for whoever is making it."""
    with stage.refusals():
        handle = os.open(stage.root / f".{LIST_FILE}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
