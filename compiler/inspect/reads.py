"""What each rule reads of a row, as keys of sets: what is counted, what is shown, and the rows in which it acts follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..files.opening import label_column
from ..files.shard_reader import EDGE_WEIGHT
from ..plan import (
    AttendPlan,
    ClassifyPlan,
    ContrastPlan,
    CrossRef,
    EdgeSetRef,
    HiddenRule,
    KeepPlan,
    LikePlan,
    PredictPlan,
    RulePlan,
    TowardPlan,
    WeighPlan,
)
from ..sets import again, cut

Pool = Literal["first", "last"]


@dataclass(frozen=True, slots=True)
class Reads:
    """`first`: the key of what the rule supervises: of an edge set, or of spans; `again`, `cut`: further spans that count for it.
    `other`: what a row has to hold as well (the keys of a join of two sets, `to` of a `like`), with `other_again`.
    `column`: what it reads of each span beside the text: a field, an attribute, or the weights of edges. `pool`: the one token of
    each span whose state it reads; None for all of them."""

    first: str
    edges: bool = False
    cut: str | None = None
    again: str | None = None
    other: str | None = None
    other_again: str | None = None
    column: str | None = None
    pool: Pool | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key, each once."""
        named = (self.first, self.cut, self.again, self.other, self.other_again)
        return tuple(dict.fromkeys(key for key in named if key is not None))


def reads(rule: RulePlan) -> Reads:
    """What `rule` reads."""
    match rule:
        case AttendPlan(edges=EdgeSetRef(edges=key, weighted=weighted)):
            return Reads(key, edges=True, column=EDGE_WEIGHT if weighted else None)
        case AttendPlan(edges=CrossRef(query=query, key=other)):
            return Reads(query.set, again=again(query.set), other=other.set, other_again=again(other.set))
        case LikePlan(subject=subject, to=to):
            return Reads(subject.set, other=to.set, pool=_pool(rule))
        case WeighPlan(subject=subject) | KeepPlan(subject=subject):
            return Reads(subject.set, cut=cut(subject.set), column=_column(rule))
        case HiddenRule(subject=subject):
            return Reads(subject.set, column=_column(rule), pool=_pool(rule))
    raise ValueError(f"the plan's verifier knows no rule of kind {rule.kind}")


def _pool(rule: HiddenRule) -> Pool | None:
    return rule.pool if rule.pool in ("first", "last") else None


def _column(rule: RulePlan) -> str | None:
    match rule:
        case ClassifyPlan() | ContrastPlan():
            return label_column(rule.field, rule.attribute)
        case PredictPlan(field=str(name)) | TowardPlan(field=str(name)) | WeighPlan(field=str(name)):
            return f"field.{name}"
    return None
