"""What compiling again would reuse of a dataset that is there, and why not the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..dsl import checked as c
from ..dsl.diagnostics import Failure
from .build.finished import finished_in, uncounted
from .build.tasks import units_of
from .compile import take_stock
from .lower import Lowered
from .manifest import PLAN_FILE, InputEntry, Manifest, read_manifest
from .plan import Plan
from .sources.inventory import Inventory


@dataclass(frozen=True, slots=True)
class Rebuild:
    """How many tasks a dataset already has (`kept`) and how many are to run, with `reasons`. `inputs`: the sources' files."""

    kept: int
    ran: int
    reasons: tuple[str, ...]
    inputs: tuple[InputEntry, ...]


def rebuild(program: c.Program, lowered: Lowered, out: Path) -> Rebuild:
    """What compiling `program` into `out` would do. The content of every source is read for its digest.

    Raises Failure where a source cannot be read. Shards are taken to be what their manifest says.
    """
    stock = take_stock(program)
    inputs = tuple(entry for held in stock for entry in held.inputs)
    units = units_of(lowered.recipe, stock)
    found = _there(out)
    if found is None:
        return Rebuild(0, len(units), ("there is no dataset yet",), inputs)
    manifest, plan = found
    there = {done.key: tuple(uncounted(done, lowered.recipe)) for done in finished_in(out)}
    kept = sum(there.get(unit.key) == () for unit in units)
    if kept == len(units):
        return Rebuild(kept, 0, (), inputs)
    lacking = dict.fromkeys(reason for unit in units for reason in there.get(unit.key, ()))
    reasons = (*lacking, *_reasons(manifest, plan, lowered, stock)) or ("a source or a set is defined otherwise",)
    return Rebuild(kept, len(units) - kept, reasons, inputs)


def _there(out: Path) -> tuple[Manifest, Plan] | None:
    try:
        return read_manifest(out), Plan.model_validate_json((out / PLAN_FILE).read_bytes())
    except (OSError, ValidationError, Failure):
        return None


def _reasons(manifest: Manifest, old: Plan, lowered: Lowered, stock: tuple[Inventory, ...]) -> Iterator[str]:
    new = lowered.plan
    if old.tokenizer.digest != new.tokenizer.digest:
        yield f"another tokenizer: {old.tokenizer.digest[:8]} -> {new.tokenizer.digest[:8]}"
    if old.model.context != new.model.context:
        yield f"context {old.model.context} -> {new.model.context}"
    known = {entry.path: entry.digest for entry in manifest.inputs}
    for entry in (entry for held in stock for entry in held.inputs):
        if entry.path not in known:
            yield f"new input `{entry.path}`"
        elif known[entry.path] != entry.digest:
            yield f"other content in `{entry.path}`"
    yield from (f"set not stored yet: {new.sets[key].written}" for key in sorted(new.sets.keys() - old.sets.keys()))
    yield from (f"set no longer read: {old.sets[key].written}" for key in sorted(old.sets.keys() - new.sets.keys()))
    yield from (f"column not stored yet: {name}" for name in new.columns if name not in old.columns)
