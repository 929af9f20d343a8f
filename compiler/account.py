"""Nothing vanishes: the counts of sets and labels -> counts per rule, and what `lost` says should happen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..dsl import checked as c
from ..dsl.codes import model as model_codes
from ..dsl.codes import sources as codes
from ..dsl.diagnostics import Diagnostic
from ..dsl.windows import described
from .manifest import Cause, Counts, TargetEntry
from .plan import (
    AttendPlan,
    ContrastPlan,
    CrossRef,
    EdgeSetRef,
    HiddenRule,
    KeepPlan,
    LikePlan,
    Plan,
    PredictPlan,
    RulePlan,
    TowardPlan,
    WeighPlan,
)
from .sets import both

LOSSES: tuple[Cause, ...] = ("cut", "between", "forward", "window", "surplus", "null", "outside", "lonely", "unpaired")
"""The causes by which a span, an edge or a label is lost to its rule. A ragged span still acts."""

WORDS: Mapping[Cause, str] = {
    "cut": "cut off by the context",
    "between": "between tokens",
    "forward": "that only point forward in time",
    "window": "outside the window of every layer of the rule",
    "surplus": "beyond `max_edges`",
    "null": "without a value",
    "outside": "with a label outside the classes",
    "lonely": "without another of equal value in their record",
    "unpaired": "without a token of the teacher",
}


def rule_counts(
    plan: Plan,
    sets: Mapping[str, Counts],
    labels: Mapping[str, Counts],
    targets: Mapping[str, TargetEntry] | None = None,
    windowed: Mapping[str, Counts] | None = None,
) -> dict[str, Counts]:
    """Counts of every rule by split and cause. `rows` is how many rows of its loss the runtime will meet in one epoch.

    `labels`: of each rule that reads one, by its id; `targets`: as in the manifest, once teachers ran; `windowed`: of each rule
    at layers with windows. A rule over two whole sets has no `rows`: its edges are never formed while compiling.
    """
    counted = {**{rule.id: paired for rule in plan.rules if (paired := _paired(rule, targets or {}))}, **labels}
    found = {rule.id: _counts(rule, plan.model.causal, sets, counted.get(rule.id)) for rule in plan.rules}
    return found | {rule: _within(found[rule], counts) for rule, counts in (windowed or {}).items()}


def _within(counts: Counts, windowed: Counts) -> Counts:
    """Counts with what the windows of a rule's layers leave: fewer rows, and the edges that are lost to all or to some layers."""
    return Counts(splits={split: causes | windowed.splits.get(split, {}) for split, causes in counts.splits.items()})


def _paired(rule: RulePlan, targets: Mapping[str, TargetEntry]) -> Counts | None:
    """The rows of a rule that reads stored states of a teacher, once these are there."""
    if not isinstance(rule, TowardPlan) or rule.hidden is None or rule.hidden.key not in targets:
        return None
    return targets[rule.hidden.key].counts[rule.rows_key]


def _counts(rule: RulePlan, causal: bool, sets: Mapping[str, Counts], labels: Counts | None) -> Counts:
    match rule:
        case AttendPlan(edges=EdgeSetRef(edges=key)):
            counts = sets[key].splits
        case AttendPlan(edges=CrossRef(query=query)):
            counts = {
                split: {k: n for k, n in causes.items() if k != "rows"}
                for split, causes in sets[query.set].splits.items()
            }
        case LikePlan(subject=subject, to=to):
            return _together(sets[subject.set], sets[to.set], sets[both(subject.set, to.set)])
        case HiddenRule(subject=subject) | WeighPlan(subject=subject) | KeepPlan(subject=subject):
            counts = sets[subject.set].splits
    found: dict[str, dict[Cause, int]] = {}
    for split, causes in counts.items():
        mine = dict(causes)
        if isinstance(rule, AttendPlan) and not causal:
            mine.pop("forward", None)
        if isinstance(rule, HiddenRule):
            found_by_rule = labels.splits.get(split, {}) if labels is not None else {}
            mine = _hidden_rows(rule, mine, found_by_rule)
        found[split] = mine
    return Counts(splits=found)


def _together(one: Counts, other: Counts, together: Counts) -> Counts:
    """What two sets hold and lose; rows are the parts of records that hold both, and what is unmatched are records without."""
    found: dict[str, dict[Cause, int]] = {}
    for split in sorted({*one.splits, *other.splits, *together.splits}):
        mine, others = one.splits.get(split, {}), other.splits.get(split, {})
        added = {cause: mine.get(cause, 0) + others.get(cause, 0) for cause in sorted({*mine, *others})}
        rows: dict[Cause, int] = {"rows": 0, "unmatched": 0, **together.splits.get(split, {})}
        found[split] = {**added, **rows}
    return Counts(splits=found)


def _hidden_rows(rule: HiddenRule, causes: dict[Cause, int], labels: Mapping[Cause, int]) -> dict[Cause, int]:
    """Rows of a rule on hidden states: tokens under `pool = each`, else spans; those without a usable label are none. Where rows
    depend on each other, or on where a text ends, they were counted one by one."""
    counted = isinstance(rule, ContrastPlan) or (isinstance(rule, PredictPlan) and rule.ahead is not None)
    if counted or (isinstance(rule, TowardPlan) and labels):
        return {**causes, "rows": 0, **labels}
    matched = causes.get("matched", 0)
    acting = matched - causes.get("cut", 0) - causes.get("between", 0)
    rows = causes.get("rows", 0) if rule.pool == "each" else acting
    unlabelled = sum(labels.values())
    if unlabelled and matched:
        rows = rows * max(matched - unlabelled, 0) // matched
    return {**causes, **labels, "rows": rows}


def lost_findings(program: c.Program, counts: Mapping[str, Counts]) -> Iterator[Diagnostic]:
    """One finding per rule and cause, as the rule's `lost` asks."""
    for rule in program.rules:
        found = counts[rule.id]
        if rule.lost == "drop":
            continue
        refused = rule.lost == "error"
        code, empty = (codes.LOST_REFUSED, codes.EMPTY_REFUSED) if refused else (codes.LOST, codes.EMPTY)
        why = " (`lost = error`)" if refused else ""
        if found.total("matched") == 0:
            yield empty.at(rule.place, f"`{rule.id}` matched nothing in any record{why}", related=rule.uses)
            continue
        if isinstance(rule, c.Like) and found.total("rows") == 0:
            both = f"`{rule.subject.name}` and `{rule.subject_to.name}`"
            yield empty.at(rule.place, f"`{rule.id}`: no record holds spans of both {both}{why}", related=rule.uses)
        for cause in LOSSES:
            if found.total(cause) and not (cause == "cut" and isinstance(rule, c.Weigh | c.Keep)):
                yield code.at(rule.place, _said(rule, cause, found) + why, related=rule.uses)
        if isinstance(rule, c.Attend) and (narrow := found.total("narrow")):
            yield model_codes.NARROW_WINDOWS.at(rule.place, _narrow(program, rule, narrow, found), related=rule.uses)
        if (ragged := found.total("ragged")) and not refused:
            edges = "1 edge of a span" if ragged == 1 else f"{ragged:,} edges of spans"
            yield codes.RAGGED.at(rule.place, f"`{rule.id}`: {edges} inside a token", related=rule.uses)


def _narrow(program: c.Program, rule: c.Attend, narrow: int, counts: Counts) -> str:
    windows = program.model.windows
    layers = {layer for layer in rule.layers.resolved if layer != "final" and windows[layer - 1] is not None}
    mine = tuple(window if layer in layers else None for layer, window in enumerate(windows, 1))
    edges = f"{narrow:,} of {counts.total('matched'):,} edges"
    return f"`{rule.id}`: {edges} reach beyond the window of some layers and act in the others ({described(mine)})"


def _said(rule: c.Rule, cause: Cause, counts: Counts) -> str:
    if cause == "unpaired":
        rows = counts.total("rows") + counts.total("unpaired")
        return f"`{rule.id}`: {counts.total(cause):,} of {rows:,} rows {WORDS[cause]}"
    things = "edges" if isinstance(rule, c.Attend) else "spans"
    words = "whose target is no single token" if cause == "outside" and isinstance(rule, c.Predict) else WORDS[cause]
    return f"`{rule.id}`: {counts.total(cause):,} of {counts.total('matched'):,} {things} {words}"
