"""Rules that differ in nothing but their rows and constants are computed together.

A spec with three hundred `is_a` lines is three hundred rules in the plan and in the receipts, and one group here: one gather,
one matrix product, one segmented mean. The collator builds one set of index tensors per group, the losses return one value
per rule of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from ..compiler.plan import (
    AttendPlan,
    ClassifyPlan,
    ContrastPlan,
    DistilPlan,
    EdgeSetRef,
    HiddenRule,
    KeepPlan,
    LikePlan,
    Plan,
    PredictPlan,
    RelatePlan,
    RulePlan,
    TowardPlan,
    WeighPlan,
)


@dataclass(frozen=True, slots=True)
class AttendGroup:
    """Attention rules with the same layers, heads, loss and direction, with or without weights."""

    rules: tuple[AttendPlan, ...]

    @property
    def weighted(self) -> bool:
        """Whether the loss reads the weights of edges."""
        return weighted(self.rules[0])


@dataclass(frozen=True, slots=True)
class TowardGroup:
    """Signals with the same layers, pool, loss and kind of target: anchors, a field of vectors, or a layer of a teacher."""

    rules: tuple[TowardPlan, ...]


@dataclass(frozen=True, slots=True)
class ClassifyGroup:
    """One rule: a probe is its own."""

    rules: tuple[ClassifyPlan]


@dataclass(frozen=True, slots=True)
class ContrastGroup:
    """Contrasts with the same layers and pool within records, or one rule that contrasts a whole batch."""

    rules: tuple[ContrastPlan, ...]


@dataclass(frozen=True, slots=True)
class PredictGroup:
    """Predictions with the same layers and pool, however far ahead or from which field."""

    rules: tuple[PredictPlan, ...]


@dataclass(frozen=True, slots=True)
class DistilGroup:
    """Distributions of one teacher, with the same layers and pool."""

    rules: tuple[DistilPlan, ...]


@dataclass(frozen=True, slots=True)
class RelateGroup:
    """Relations of the same kind with the same layers and pool."""

    rules: tuple[RelatePlan, ...]


@dataclass(frozen=True, slots=True)
class LikeGroup:
    """`like` relations with the same layers."""

    rules: tuple[LikePlan, ...]


HiddenGroup = TowardGroup | ClassifyGroup | ContrastGroup | PredictGroup | DistilGroup | RelateGroup | LikeGroup


@dataclass(frozen=True, slots=True)
class Groups:
    """Every rule of a plan, in exactly one group each; `weigh` and `keep` rules act together on the token weights. Of the hidden
    groups, those of `like` come last."""

    attend: tuple[AttendGroup, ...]
    hidden: tuple[HiddenGroup, ...]
    weigh: tuple[WeighPlan, ...]
    keep: tuple[KeepPlan, ...] = ()


R = TypeVar("R", bound=RulePlan)


def group_rules(plan: Plan) -> Groups:
    """The groups of a plan. Rules keep their order within a group, and groups that of their first rule. A rule with a map of its
    own is a group of its own."""
    attend = [rule for rule in plan.rules if isinstance(rule, AttendPlan)]
    toward = [rule for rule in plan.rules if isinstance(rule, TowardPlan)]
    relate = [rule for rule in plan.rules if isinstance(rule, RelatePlan)]
    like = [rule for rule in plan.rules if isinstance(rule, LikePlan)]
    hidden: list[HiddenGroup] = [
        TowardGroup(rules)
        for rules in _alike(toward, lambda r: (r.layers, r.pool, r.loss, r.field, r.hidden, _alone(r)))
    ]
    hidden += [ClassifyGroup((rule,)) for rule in plan.rules if isinstance(rule, ClassifyPlan)]
    contrast = [rule for rule in plan.rules if isinstance(rule, ContrastPlan)]
    hidden += [
        ContrastGroup(rules)
        for rules in _alike(contrast, lambda r: (r.layers, r.pool, r.id if r.scope == "batch" else _alone(r)))
    ]
    predict = [rule for rule in plan.rules if isinstance(rule, PredictPlan)]
    hidden += [PredictGroup(rules) for rules in _alike(predict, lambda r: (r.layers, r.pool, _alone(r)))]
    distil = [rule for rule in plan.rules if isinstance(rule, DistilPlan)]
    hidden += [DistilGroup(rules) for rules in _alike(distil, lambda r: (r.layers, r.pool, r.teacher, _alone(r)))]
    hidden += [RelateGroup(rules) for rules in _alike(relate, lambda r: (r.layers, r.pool, r.relation))]
    hidden += [LikeGroup(rules) for rules in _alike(like, lambda r: r.layers)]
    return Groups(
        attend=tuple(AttendGroup(rules) for rules in _alike(attend, _attention)),
        hidden=tuple(hidden),
        weigh=tuple(rule for rule in plan.rules if isinstance(rule, WeighPlan)),
        keep=tuple(rule for rule in plan.rules if isinstance(rule, KeepPlan)),
    )


def _alone(rule: HiddenRule) -> str | None:
    return None if rule.through is None else rule.id


def weighted(rule: AttendPlan) -> bool:
    """Whether the rule's loss reads the weights of its edges."""
    return rule.loss == "kl" and isinstance(rule.edges, EdgeSetRef) and rule.edges.weighted


def _attention(rule: AttendPlan) -> Hashable:
    """What attention rules of one group share."""
    return rule.layers, rule.heads, rule.pairs, rule.loss, rule.avoid, weighted(rule)


def _alike(rules: Iterable[R], key: Callable[[R], Hashable]) -> list[tuple[R, ...]]:
    found: dict[Hashable, list[R]] = {}
    for rule in rules:
        found.setdefault(key(rule), []).append(rule)
    return [tuple(group) for group in found.values()]
