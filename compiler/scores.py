"""Scores: checked -> plan, and the words of the language for them."""

from __future__ import annotations

from collections.abc import Callable

from ..dsl import checked as c
from .plan import FieldTerm, LengthTerm, LiveTerm, MeasureTerm, RecordScore, TokenScore

_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2}
_ALONE = 3


def token_score(score: c.Score) -> TokenScore:
    """A score of tokens as the plan holds it."""
    return tuple(_token_term(term) for term in score.terms)


def record_score(score: c.Score, column: Callable[[c.FieldPath], str]) -> RecordScore:
    """A score of records as the plan holds it; `column` stores a field and gives its name."""
    return tuple(_record_term(term, column) for term in score.terms)


def _token_term(term: c.Term) -> float | c.Operator | LiveTerm | MeasureTerm:
    match term:
        case c.Live(name):
            return LiveTerm(live=name)
        case c.Measured(file, measure):
            return MeasureTerm(file=file, column=measure)
        case c.Tokens_() | c.Number_():
            raise ValueError("the checker lets no number of a record stand in a score of tokens")
    return term


def _record_term(
    term: c.Term, column: Callable[[c.FieldPath], str]
) -> float | c.Operator | LengthTerm | FieldTerm | MeasureTerm:
    match term:
        case c.Measured(file, measure):
            return MeasureTerm(file=file, column=measure)
        case c.Number_(path):
            return FieldTerm(field=column(path))
        case c.Tokens_():
            return LengthTerm(length="tokens")
        case c.Live():
            raise ValueError("the checker lets nothing live stand in an order")
    return term


# --- in words --------------------------------------------------------------------------------------------------------


def score_text(score: TokenScore | RecordScore) -> str:
    """A score as the language would write it, with no more parentheses than it needs."""
    stack: list[tuple[str, int]] = []
    for term in score:
        if isinstance(term, str):
            right, left = stack.pop(), stack.pop()
            stack.append(_joined(term, left, right))
        else:
            stack.append((_term(term), _ALONE))
    return stack.pop()[0]


def _joined(op: str, left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
    """An operation, and how tightly it binds. What is subtracted from 0 was written with a minus in front."""
    binds = _BINDS[op]
    if op == "-" and left[0] == "0":
        return (f"-{right[0]}" if right[1] == _ALONE else f"-({right[0]})"), _ALONE
    first = left[0] if left[1] >= binds else f"({left[0]})"
    second = right[0] if right[1] > binds else f"({right[0]})"
    return f"{first} {op} {second}", binds


def _term(term: float | LiveTerm | MeasureTerm | LengthTerm | FieldTerm) -> str:
    match term:
        case LiveTerm(live=name):
            return f"live.{name}"
        case MeasureTerm(file=file, column=column):
            return f'measure("{file}", {column})'
        case LengthTerm():
            return "length"
        case FieldTerm(field=name):
            return f".{name}"
    return f"{term:g}"
