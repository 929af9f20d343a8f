"""Scores of a plan, worked out: the same postfix expressions over tensors of tokens and over arrays of records."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ..compiler.plan import (
    FieldTerm,
    KeepPlan,
    LengthTerm,
    LiveTerm,
    MeasureTerm,
    Plan,
    RecordScore,
    TokenScore,
    WeighPlan,
)

V = TypeVar("V")
Variable = LiveTerm | MeasureTerm | LengthTerm | FieldTerm

OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def evaluate(score: TokenScore | RecordScore, value: Callable[[Variable], V]) -> V:
    """The score, with `value` for each of its variables: arrays or tensors of one shape, which the result has as well."""
    stack: list[Any] = []
    for term in score:
        if isinstance(term, str):
            right, left = stack.pop(), stack.pop()
            stack.append(OPERATORS[term](left, right))
        else:
            stack.append(term if isinstance(term, float) else value(term))
    found: V = stack.pop()
    return found


def reads_live(score: TokenScore | None) -> bool:
    """Whether a score needs the current pass of the training model."""
    return score is not None and any(isinstance(term, LiveTerm) for term in score)


def token_measures(plan: Plan) -> tuple[MeasureTerm, ...]:
    """The measures that scores of tokens read, each once."""
    return tuple(dict.fromkeys(term for rule in plan.rules for term in _measures(_score_of(rule))))


def measures_read(plan: Plan) -> dict[MeasureTerm, str]:
    """Every measure that a plan reads, with who reads it: a rule's id, or `order`."""
    readers = [(rule.id, _score_of(rule)) for rule in plan.rules] + [("order", plan.order)]
    found: dict[MeasureTerm, str] = {}
    for reader, score in readers:
        for term in _measures(score):
            found.setdefault(term, reader)
    return found


def _score_of(rule: object) -> TokenScore | RecordScore | None:
    return rule.score if isinstance(rule, WeighPlan | KeepPlan) else None


def _measures(score: TokenScore | RecordScore | None) -> Iterator[MeasureTerm]:
    yield from (term for term in score or () if isinstance(term, MeasureTerm))
