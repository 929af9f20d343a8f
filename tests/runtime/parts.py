"""One batch of eight records, and any few of them as a batch of their own: for ranks and micro-batches, which have to
add up to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mcd.compiler.plan import Plan
from mcd.runtime.batch import Batch
from mcd.runtime.supervise import supervise
from mcd.runtime.supervised import Supervised

from .builders import (
    make_anchors,
    make_attend,
    make_batch,
    make_classify,
    make_contrast,
    make_keep,
    make_model,
    make_plan,
    make_predict,
    make_relate,
    make_toward,
    make_weigh,
)
from .reference import in_float64, naive

LENGTHS = [9, 6, 11, 5, 8, 7, 10, 6]
_LOSSES = (
    make_attend("look", heads="any", layers=(1, 3), weight=0.5),
    make_attend("hold", loss="hinge", mass=0.9, layers=(2,)),
    make_toward("axis", layers=(0, 2, "final"), weight=0.4),
    make_relate("learn", anchor="own", margin=0.9, layers=(1,)),
    make_classify("read", layers=(2,)),
    make_predict("early", layers=(1,)),
    make_weigh(),
)
LEARNED = {"learned": ("own",)}
PLAN = make_plan(*_LOSSES, make_contrast("group", layers=(2,)), **LEARNED)
"""What the float64 reference knows."""
RANKS_PLAN = make_plan(*_LOSSES, make_contrast("group", layers=(2,), scope="batch"), make_keep(), **LEARNED)
"""With a contrast over the batch of all ranks, and weights that a pass finds."""

_SPOTS = [(record, [at]) for record, length in enumerate(LENGTHS) for at in (1, length - 2)]
_KEYS = [(record, length - 1, [0, length // 2]) for record, length in enumerate(LENGTHS) if record != 3]
ROWS: dict[str, list[Any]] = {
    "look": _KEYS,
    "hold": _KEYS[2:],
    "axis": _SPOTS,
    "learn": _SPOTS[3:],
    "read": _SPOTS[:-3],
    "early": _SPOTS,
    "group": [(record, [at]) for record in range(8) for at in (0, 2, 3, 4)],
}
LABELS = {"read": [n % 3 for n in range(13)], "early": list(range(16)), "group": [n % 2 for n in range(32)]}
WEIGHED = [(record, 2, 4.0) for record in range(0, 8, 3)]
KEPT = [(record, at) for record, length in enumerate(LENGTHS) for at in range(1, length)]


def make_part(plan: Plan, records: list[int]) -> Batch:
    """The batch of some records, with the tokens that they have in the batch of all."""
    place = {record: n for n, record in enumerate(records)}
    lengths = [LENGTHS[record] for record in records]
    mine = {rule: [n for n, row in enumerate(rows) if row[0] in place] for rule, rows in ROWS.items()}
    batch = make_batch(
        plan,
        lengths,
        {rule: [(place[ROWS[rule][n][0]], *ROWS[rule][n][1:]) for n in found] for rule, found in mine.items()},
        labels={rule: [labels[n] for n in mine[rule]] for rule, labels in LABELS.items()},
        weigh={"boost": [(place[record], *rest) for record, *rest in WEIGHED if record in place]},
        keep={"hard": [(place[record], at) for record, at in KEPT if record in place]},
    )
    tokens = torch.randint(0, plan.model.vocab, (8, max(LENGTHS)), generator=torch.Generator().manual_seed(5))
    ids = tokens[records, : max(lengths)] * batch.attention_mask
    return Batch(**{**{name: getattr(batch, name) for name in batch.__slots__}, "input_ids": ids})


def supervised_of(model: nn.Module, plan: Plan = PLAN) -> Supervised:
    return supervise(model, plan, anchors=make_anchors()).train()


def gradients_of(supervised: nn.Module) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in supervised.parameters()]


def expected_of(kind: str) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """The total, the losses, and the gradients of all parameters, probes and anchors last, by the float64 reference."""
    model = in_float64(make_model(kind))
    probes = supervised_of(make_model(kind)).probes.double()
    read = {key: tuple(probes[key].parameters()) for key in probes}
    anchors = make_anchors() | probes.anchors
    losses = naive(model, PLAN, make_part(PLAN, list(range(8))), read, anchors)
    parameters = [*model.parameters(), *probes.parameters()]
    found = torch.autograd.grad(losses["total"], parameters, allow_unused=True)
    whole = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    return losses["total"].detach(), losses, whole


def distance(found: list[Tensor], expected: list[Tensor]) -> float:
    """Length of the difference over that of what is expected, all gradients as one vector."""
    one, other = (torch.cat([each.double().flatten() for each in given]) for given in (found, expected))
    return float((one - other).norm() / other.norm())
