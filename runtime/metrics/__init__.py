"""One file per metric, each a pure function of what a loss reads too; here is the table that says which rule has which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...compiler.plan import (
    AttendPlan,
    ClassifyPlan,
    ContrastPlan,
    LikePlan,
    PredictPlan,
    RelatePlan,
    RuleBase,
    TowardPlan,
)
from . import cosine
from .accuracy import accuracy, classes, majority, neighbour_accuracy
from .mass import mass
from .satisfied import satisfied

Function = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of a rule: `final` of the mean over its rows, layers and heads of `of`, which takes what the rule's loss takes.

    `more`: whether more of it is better.
    """

    name: str
    of: Function
    more: bool = True
    final: Function = torch.clone


def metrics_of(rule: RuleBase, loss: Function) -> tuple[Metric, ...]:
    """The metrics of a rule with that loss, the loss itself last."""
    bound = Metric("satisfied", satisfied(loss))
    cost = Metric("loss", loss, more=False)
    match rule:
        case AttendPlan(mass=None, avoid=avoid):
            return Metric("mass", mass, more=not avoid), cost
        case AttendPlan(avoid=avoid):
            return Metric("mass", mass, more=not avoid), bound, cost
        case TowardPlan():
            return Metric("cosine", cosine.with_target), cost
        case ClassifyPlan():
            return Metric("accuracy", accuracy), Metric("majority", classes, final=majority), cost
        case ContrastPlan():
            return Metric("accuracy", neighbour_accuracy), cost
        case PredictPlan():
            return Metric("accuracy", accuracy), cost
        case RelatePlan(relation="distinct"):
            return Metric("cosine", cosine.size, more=False), bound, cost
        case RelatePlan(relation=relation):
            return Metric("cosine", cosine.known, more=relation == "is_a"), bound, cost
        case LikePlan():
            return Metric("cosine", cosine.with_target), bound, cost
    return (cost,)
