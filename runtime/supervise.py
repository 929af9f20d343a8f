"""`supervise(model, program)`: a model that gives a loss per rule beside its token loss.

    supervised = supervise(model, plan, anchors=anchors)
    optimizer = AdamW(supervised.parameters())
    for step, batch in enumerate(batches):
        out = supervised(batch, time=step / steps)
        out.loss.backward()

The model's forward pass, parameters and state dict stay what they were. Between passes nothing of it differs but hooks that do
nothing, and `close` takes those off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from torch import nn

from ..compiler.manifest import Manifest
from ..compiler.plan import KeepPlan, Plan, RulePlan, WeighPlan
from .adapters import Adapter
from .anchors import Vectors
from .online import Known
from .supervised import Supervised
from .teachers import GivenTeachers


class Program(Protocol):
    """What a compiled directory gives: the plan, its anchors by name, and the manifest."""

    @property
    def plan(self) -> Plan: ...
    @property
    def anchors(self) -> Mapping[str, np.ndarray[Any, Any]]: ...
    @property
    def manifest(self) -> Manifest: ...


def supervise(
    model: nn.Module,
    program: Plan | Program,
    *,
    anchors: Vectors | None = None,
    expected: Mapping[str, float] | None = None,
    records: int = 0,
    split: str = "train",
    adapter: Adapter | None = None,
    teachers: GivenTeachers | None = None,
    chunk: int | None = None,
) -> Supervised:
    """Attaches a plan to a model.

    `program`: a plan, or what holds one with its anchors and manifest, which then stand for what is left out. `anchors`: by name,
    each of the model's width. `expected`: the rows per rule that the manifest promises in the `records` records of `split`; a
    rule of which none comes stops the run. `adapter`: for models that `adapters.ADAPTERS` does not know. `teachers`: models,
    or their folders, for teachers that run online; the others are looked for where the plan says. A teacher that is the model
    before training is a copy of the model as it is now. `chunk`: how many tokens have their logits at a time, of whom each takes
    the vocabulary's numbers; None computes the token loss from whole logits.

    Fails with MCD701 where the model's numbers are not the plan's, with MCD702 or MCD703 where the model is not supported, with
    MCD705 for an anchor that is missing or of another width, with MCD708 for a ramp that cannot be followed, with MCD720, MCD721
    or MCD722 for a teacher that cannot be loaded, is missing or has changed, with MCD716 for a chunk of no token.
    """
    known = Known(teachers or {}, getattr(program, "path", None), getattr(program, "manifest", None))
    if isinstance(program, Plan):
        return Supervised(model, program, anchors or {}, expected, records, adapter, known, chunk)
    manifest = program.manifest
    if expected is None:
        expected = {rule.id: _promised(rule, manifest, split, program.plan.model.causal) for rule in program.plan.rules}
        records = sum(shard.records for shard in manifest.shards if shard.split == split)
    vectors = program.anchors if anchors is None else anchors
    return Supervised(model, program.plan, vectors, expected, records, adapter, known, chunk)


def _promised(rule: RulePlan, manifest: Manifest, split: str, causal: bool) -> int:
    """How many records promise a row: rows may crowd in a few of them, of which the first to come tell nothing.

    A `weigh` or `keep` rule has no row at a record's first token, which has no loss: each of its records may lose one. Of a model
    that is not causal it has one where a token is masked, which a hundredth of them are at least.
    """
    counts = manifest.rules[rule.id].splits.get(split) if rule.id in manifest.rules else None
    if counts is None:
        return 0
    rows, records = counts.get("rows", 0), manifest.records[split] - counts.get("unmatched", 0)
    if not isinstance(rule, WeighPlan | KeepPlan):
        return min(rows, records)
    return min(rows - records, records) if causal else min(rows, records) // 100
