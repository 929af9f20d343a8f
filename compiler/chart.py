"""The schedule as a chart of characters: a row per rule, a column per slice of training time."""

from __future__ import annotations

from collections.abc import Sequence

from .plan import Plan, StagePlan
from .ramps import factor_at, ramp, stage_at

WIDTH = 60
"""Columns of the chart: each is a slice of training time, drawn by the value in its middle."""

BARS = "▁▂▃▄▅▆▇█"
OFF = "·"
"""A multiplier of 0."""


def chart(plan: Plan, width: int = WIDTH) -> list[str]:
    """A line with the names of the stages, one for the token loss and one for each rule; none without stages.

    The height of a bar is the multiplier as a share of the largest one in its row, which stands behind the row. Rules that are
    alike share a row.
    """
    if not plan.stages:
        return []
    moments = [stage_at(plan.stages, (column + 0.5) / width) for column in range(width)]
    alike: dict[tuple[float, ...], list[str]] = {}
    for rule in plan.rules:
        alike.setdefault(tuple(factor_at(stage, rule.id, share) for stage, share in moments), []).append(rule.id)
    rows = [
        ("token loss", tuple(ramp(stage.token_loss, share) for stage, share in moments)),
        *((_called(rules), values) for values, rules in alike.items()),
    ]
    margin = max(len(name) for name, _ in rows)
    names = _names([stage for stage, _ in moments])
    return [
        f"{'':<{margin}}  {names}".rstrip(),
        *(f"{name:<{margin}}  {_bars(values)}  at most {max(values):.3g}" for name, values in rows),
    ]


def _called(rules: Sequence[str]) -> str:
    return (
        rules[0]
        if len(rules) == 1
        else ", ".join(rules)
        if len(rules) == 2
        else f"{rules[0]} and {len(rules) - 1} more"
    )


def _names(stages: Sequence[StagePlan]) -> str:
    """Each stage's name over its columns, cut to fit them, behind the mark at which it begins."""
    starts = [i for i, stage in enumerate(stages) if i == 0 or stage is not stages[i - 1]]
    ends = [*starts[1:], len(stages)]
    return "".join(
        f"|{stages[start].name}"[: end - start].ljust(end - start) for start, end in zip(starts, ends, strict=True)
    )


def _bars(values: Sequence[float]) -> str:
    top = max(values)
    return "".join(OFF if value <= 0 else BARS[round(value / top * (len(BARS) - 1))] for value in values)
