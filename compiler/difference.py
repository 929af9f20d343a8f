"""What changes between two specs, as far as it means anything: names, order, comments and layout do not.

Takes two programs that checked clean, each with what it was lowered to. Every change is sorted by what it costs: the plan is
written anew, the shards are compiled again, or somebody who reads the shards finds something gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import Any

from ..dsl import checked as c
from ..dsl.canonical import digest
from ..dsl.windows import described
from .lower import Lowered
from .plan import Digest, KeepPlan, Line, Plan, RulePlan, SetInfo, WeighPlan
from .recipe import VECTORS, Recipe, StoredField
from .scores import score_text
from .written import field_text, template_text


class Effect(IntEnum):
    """What a change costs, the least first."""

    PLAN = 0
    SHARDS = 1
    BREAKING = 2


MEANING = {
    Effect.PLAN: "only the plan changes",
    Effect.SHARDS: "the shards are compiled again",
    Effect.BREAKING: "breaking for readers of the shards",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `subject`: what it is about, `rule coref`; `line`: where that stands, in the new spec if it is there."""

    effect: Effect
    subject: str
    fact: str
    line: Line | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One of two specs: what it says, and what it compiles to."""

    program: c.Program
    lowered: Lowered

    @property
    def plan(self) -> Plan:
        return self.lowered.plan

    @property
    def recipe(self) -> Recipe:
        return self.lowered.recipe


def differences(old: Side, new: Side) -> tuple[Change, ...]:
    """Every change from `old` to `new`, the costliest first."""
    parts = (_model, _tokenizer, _sources, _sets, _columns, _rules, _anchors, _teachers, _stages, _claims, _others)
    found = chain.from_iterable(part(old, new) for part in parts)
    return tuple(sorted(found, key=lambda change: -change.effect))


# --- what shards depend on -------------------------------------------------------------------------------------------


def _model(old: Side, new: Side) -> Iterator[Change]:
    for name, before, after in _unequal(old.plan.model.model_dump(), new.plan.model.model_dump()):
        effect = Effect.SHARDS if name == "context" else Effect.PLAN
        words = described if name == "windows" else _said
        yield Change(effect, "model", f"{name} {words(before)} -> {words(after)}")
    before_overflow, after_overflow = old.program.model.overflow, new.program.model.overflow
    if before_overflow != after_overflow:
        yield Change(Effect.SHARDS, "model", f"overflow {_overflow(before_overflow)} -> {_overflow(after_overflow)}")
    if old.program.model.lost != new.program.model.lost:
        yield Change(Effect.PLAN, "model", f"lost {old.program.model.lost} -> {new.program.model.lost}")


def _tokenizer(old: Side, new: Side) -> Iterator[Change]:
    before, after = old.plan.tokenizer.digest, new.plan.tokenizer.digest
    if before != after:
        yield Change(Effect.BREAKING, "tokenizer", f"{before[:8]} -> {after[:8]}: token ids mean something else")


def _sources(old: Side, new: Side) -> Iterator[Change]:
    before, after = ({source.name: source for source in side.program.sources} for side in (old, new))
    for name, source in before.items():
        if name not in after:
            yield Change(Effect.BREAKING, f"source {name}", "removed")
        else:
            yield from _source(source, after[name], old, new)
    for name, source in after.items():
        if name not in before:
            yield Change(Effect.SHARDS, f"source {name}", f"added: {source.format}, {source.amount}")


def _source(old: c.Source, new: c.Source, before: Side, after: Side) -> Iterator[Change]:
    subject = f"source {new.name}"
    if old.format != new.format:
        yield Change(Effect.SHARDS, subject, f"format {old.format} -> {new.format}")
    if old.records != new.records:
        yield Change(Effect.SHARDS, subject, f"other records: {len(old.records)} -> {len(new.records)}")
    yield from _files(subject, _paths(old, before), _paths(new, after))
    if old.id != new.id:
        yield Change(Effect.BREAKING, subject, f"id {_path(old.id)} -> {_path(new.id)}: records are called otherwise")
    if old.split != new.split:
        gone = _splits(old.split) - _splits(new.split)
        fact = f"split {_split(old.split)} -> {_split(new.split)}"
        if gone:
            yield Change(Effect.BREAKING, subject, f"{fact}: no more {', '.join(sorted(gone))}")
        else:
            yield Change(Effect.SHARDS, subject, fact)
    if digest((old.text, old.marked)) != digest((new.text, new.marked)):
        yield Change(Effect.SHARDS, subject, f"text {_text(old.text)} -> {_text(new.text)}")


def _files(subject: str, old: set[str], new: set[str]) -> Iterator[Change]:
    for fact, paths in (("no longer reads", old - new), ("also reads", new - old)):
        if paths:
            yield Change(Effect.SHARDS, subject, f"{fact} {_few(paths)}")


def _sets(old: Side, new: Side) -> Iterator[Change]:
    """A set is its definition. One that is gone, and whose place in the spec another has taken, is redefined and not removed."""
    before, after = old.plan.sets, new.plan.sets
    gone, come = before.keys() - after.keys(), after.keys() - before.keys()
    redefined = {was: now for was, now in _replaced(old, new) if was in gone and now in come}
    for was, now in redefined.items():
        same = before[was].written == after[now].written
        fact = "redefined: a set that it reads is another" if same else f"redefined, was {before[was].written}"
        yield Change(Effect.SHARDS, _set(after[now]), fact)
    for key in sorted(gone - redefined.keys()):
        yield Change(Effect.BREAKING, _set(before[key]), "no longer stored")
    for key in sorted(come - set(redefined.values())):
        yield Change(Effect.SHARDS, _set(after[key]), "stored as well")


def _set(info: SetInfo) -> str:
    return f"{'edges' if info.kind == 'edge' else 'set'} {info.written}"


def _replaced(old: Side, new: Side) -> Iterator[tuple[Digest, Digest]]:
    """Sets that stand in the same place: under the same name, at the same attribute of the same rule, in the same words."""
    before, after = (
        {
            **{info.written: key for key, info in side.plan.sets.items()},
            **{(rule.id, role): key for rule in side.plan.rules for role, key in _read(rule)},
            **{("span", named.name): digest(named) for named in side.program.spans},
        }
        for side in (old, new)
    )
    yield from ((key, after[place]) for place, key in before.items() if place in after)


def _read(rule: RulePlan) -> Iterator[tuple[str, Digest]]:
    """The sets that a rule reads, by attribute."""
    for role, value in rule.model_dump().items():
        match value:
            case {"set": str(key)} | {"edges": str(key)}:
                yield role, key
            case {"query": {"set": query}, "key": {"set": key}}:
                yield "query", query
                yield "key", key


def _columns(old: Side, new: Side) -> Iterator[Change]:
    for name in old.plan.columns:
        if name not in new.plan.columns:
            yield Change(Effect.BREAKING, f"column {name}", "no longer stored")
    for name in new.plan.columns:
        if name not in old.plan.columns:
            yield Change(Effect.SHARDS, f"column {name}", "stored as well")
    before = {stored.name: stored for stored in old.recipe.fields}
    for stored in new.recipe.fields:
        if stored.name in before and _kind(before[stored.name]) != _kind(stored):
            fact = f"{_kind(before[stored.name])} -> {_kind(stored)}"
            yield Change(Effect.BREAKING, f"column field.{stored.name}", fact)


# --- what the plan alone says ----------------------------------------------------------------------------------------


def _rules(old: Side, new: Side) -> Iterator[Change]:
    before, after = ({rule.id: rule for rule in side.plan.rules} for side in (old, new))
    for name, rule in before.items():
        if name not in after:
            yield Change(Effect.PLAN, f"rule {name}", "removed")
        else:
            yield from _rule(rule, after[name], old.plan, new.plan)
    for name, rule in after.items():
        if name not in before:
            yield Change(Effect.PLAN, f"rule {name}", f"added: {rule.kind}", rule.line)


def _rule(old: RulePlan, new: RulePlan, before: Plan, after: Plan) -> Iterator[Change]:
    if old.kind != new.kind:
        yield Change(Effect.PLAN, f"rule {new.id}", f"{old.kind} -> {new.kind}", new.line)
        return
    for name, was, now in _unequal(_attributes(old), _attributes(new)):
        words = _in_words(was, before), _in_words(now, after)
        if words[0] != words[1]:
            yield Change(Effect.PLAN, f"rule {new.id}", f"{name} {_said(words[0])} -> {_said(words[1])}", new.line)


def _attributes(rule: RulePlan) -> dict[str, Any]:
    found = rule.model_dump(exclude={"line"})
    if isinstance(rule, WeighPlan | KeepPlan) and rule.score is not None:
        found["score"] = score_text(rule.score)
    return found


def _in_words(value: Any, plan: Plan) -> Any:
    """A set in the words of the spec; one whose words stay has changed below them, and is said to be redefined."""
    match value:
        case {"set": str(key)} | {"edges": str(key)}:
            return plan.sets[key].written if key in plan.sets else key
        case {"query": query, "key": key}:
            return f"{_in_words(query, plan)} -> {_in_words(key, plan)}"
    return value


def _anchors(old: Side, new: Side) -> Iterator[Change]:
    yield from _named("anchor", old.plan.anchors, new.plan.anchors)


def _teachers(old: Side, new: Side) -> Iterator[Change]:
    before, after = (side.plan.model_dump()["teachers"] for side in (old, new))
    yield from _named("teacher", before, after)


def _stages(old: Side, new: Side) -> Iterator[Change]:
    before, after = ({stage.name: stage.model_dump() for stage in side.plan.stages} for side in (old, new))
    yield from _named("stage", before, after)


def _claims(old: Side, new: Side) -> Iterator[Change]:
    before, after = (
        {
            **{
                f"coverage({claim.written}) of {claim.of}": f"{claim.op} {claim.count:g}"
                for claim in side.program.expects
            },
            **{f"trained {claim.subject}": f"{claim.op} {claim.bound:g}" for claim in side.plan.claims},
        }
        for side in (old, new)
    )
    yield from _named("expect", before, after)


COMPARED = {
    "version",
    "spec",
    "model",
    "tokenizer",
    "columns",
    "sets",
    "anchors",
    "centroids",
    "teachers",
    "rules",
    "stages",
    "claims",
}
"""What of the plan the other functions compare, or what says nothing of what is meant."""


def _others(old: Side, new: Side) -> Iterator[Change]:
    before, after = ({**side.plan.model_dump(exclude=COMPARED), "order": _order(side.plan)} for side in (old, new))
    for name, was, now in _unequal(before, after):
        yield Change(Effect.PLAN, name, f"{_said(was)} -> {_said(now)}")


def _order(plan: Plan) -> str | None:
    return None if plan.order is None else score_text(plan.order)


# --- words -----------------------------------------------------------------------------------------------------------


def _named(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Entries that go, change or come."""
    for name, value in old.items():
        if name not in new:
            yield Change(Effect.PLAN, f"{kind} {name}", "removed")
        elif isinstance(value, dict):
            for key, was, now in _unequal(value, new[name]):
                yield Change(Effect.PLAN, f"{kind} {name}", f"{key} {_said(was)} -> {_said(now)}")
        elif value != new[name]:
            yield Change(Effect.PLAN, f"{kind} {name}", f"{_said(value)} -> {_said(new[name])}")
    for name in new:
        if name not in old:
            yield Change(Effect.PLAN, f"{kind} {name}", "added")


def _unequal(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name)


def _said(value: Any) -> str:
    """A value of the plan in a line of words."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case {"start": start, "end": end, "shape": shape}:
            return f"x {start:g}" if start == end else f"x {start:g} to {end:g} ({shape})"
        case dict():
            return "{" + ", ".join(f"{name}: {_said(each)}" for name, each in value.items()) + "}"
        case tuple() | list():
            return "[" + ", ".join(map(_said, value)) + "]"
    return str(value)


def _few(paths: Iterable[str], shown: int = 3) -> str:
    listed = sorted(paths)
    more = f" and {len(listed) - shown} more" if len(listed) > shown else ""
    return ", ".join(f"`{path}`" for path in listed[:shown]) + more


def _paths(source: c.Source, side: Side) -> set[str]:
    return {path.relative_to(side.program.root).as_posix() for path in source.files}


def _path(path: Sequence[str] | None) -> str:
    return field_text(tuple(path)) if path is not None else "the record's number"


def _overflow(overflow: c.Overflow) -> str:
    return f"split(stride: {overflow.stride})" if overflow.how == "split" else overflow.how


def _splits(split: c.Split) -> set[str]:
    match split:
        case c.HashSplit(shares):
            return {name for name, share in shares if share > 0}
        case c.ConstantSplit(name):
            return {name}
    return set()


def _split(split: c.Split) -> str:
    match split:
        case c.HashSplit(shares):
            return "hash(" + ", ".join(f"{name}: {share * 100:g}%" for name, share in shares) + ")"
        case c.ConstantSplit(name):
            return f'"{name}"'
        case c.FieldSplit(path):
            return field_text(path)


def _text(text: c.Template | c.Chat) -> str:
    if isinstance(text, c.Chat):
        return f"of messages {field_text(text.path)} through {text.template.path} ({digest(text.template)[:8]})"
    return repr(template_text(text))


def _kind(stored: StoredField) -> str:
    return f"{stored.type} of {stored.width}" if stored.type in VECTORS.values() else stored.type
