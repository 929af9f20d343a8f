"""Numbers of a dataset's rows, in one pass over its shards: what is kept does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from ..files.shard_reader import Chunk
from ..manifest import ShardEntry
from ..plan import ClassifyPlan, ContrastPlan, Plan, RulePlan, SetInfo, WeighPlan
from .opened import Opened
from .ranges import Ranges
from .reads import Reads, reads
from .report import RuleStatistics, SetStatistics, Statistics
from .tally import Real, Values, Whole, share

Progress = Callable[[int, int], None]


def statistics(
    opened: Opened, shards: Iterable[ShardEntry], progress: Progress = lambda done, total: None
) -> Statistics:
    """Of all rows of `shards`. Raises Failure for a shard that is not what was written."""
    chosen = tuple(shards)
    sets = {key: _Set(key, info) for key, info in opened.plan.sets.items()}
    rules = [_Rule(rule, reads(rule)) for rule in opened.plan.rules]
    lengths: dict[str, Whole] = {}
    total = _Total()
    for done, shard in enumerate(chosen, 1):
        for chunk in opened.chunks(shard):
            _add(chunk, opened.plan, lengths.setdefault(shard.split, Whole()), total, sets.values(), rules)
        progress(done, len(chosen))
    tokens = {split: summary for split, each in lengths.items() if (summary := each.summary()) is not None}
    return Statistics(
        rows=total.rows,
        tokens=tokens,
        sets=tuple(found for each in sets.values() if (found := each.report(total)) is not None),
        rules=tuple(rule.report(total) for rule in rules),
    )


@dataclass(slots=True)
class _Total:
    rows: int = 0
    tokens: int = 0


def _add(chunk: Chunk, plan: Plan, lengths: Whole, total: _Total, sets: Iterable[_Set], rules: Iterable[_Rule]) -> None:
    ranges = Ranges(chunk, plan)
    lengths.add(ranges.lengths)
    total.rows += chunk.rows
    total.tokens += int(ranges.lengths.sum())
    for each in sets:
        each.add(ranges)
    for rule in rules:
        rule.add(ranges)


@dataclass(slots=True)
class _Set:
    """A stored set."""

    key: str
    info: SetInfo
    per_row: Whole = field(default_factory=Whole)
    tokens: int = 0
    weights: Real = field(default_factory=Real)

    def add(self, ranges: Ranges) -> None:
        held = ranges.held(self.key)
        self.per_row.add(held.count, absent=ranges.chunk.rows - len(held.row))
        self.tokens += int(held.tokens.sum())
        if self.info.kind == "edge" and ranges.chunk.weights is not None:
            mine = ranges.chunk.edges[0].used == ranges.sets.get(self.key, -1)
            self.weights.add(ranges.chunk.weights.used[mine])

    def report(self, total: _Total) -> SetStatistics | None:
        per_row = self.per_row.summary()
        if per_row is None:
            return None
        return SetStatistics(
            key=self.key,
            kind=self.info.kind,
            written=self.info.written,
            per_row=per_row,
            tokens=share(self.tokens, total.tokens),
            weights=self.weights.summary(),
        )


@dataclass(slots=True)
class _Rule:
    """A rule, and the values that it reads beside the text."""

    rule: RulePlan
    reads: Reads
    rows: int = 0
    tokens: int = 0
    labels: Values = field(default_factory=Values)
    numbers: Real = field(default_factory=Real)

    def add(self, ranges: Ranges) -> None:
        held = ranges.acting(self.reads)
        self.rows += len(held.row)
        self.tokens += int(held.tokens.sum())
        if isinstance(self.rule, ClassifyPlan | ContrastPlan):
            self.labels.add(self._values(ranges))
        elif isinstance(self.rule, WeighPlan) and self.reads.column is not None:
            self.numbers.add(self._values(ranges).drop_null().to_numpy(zero_copy_only=False))

    def _values(self, ranges: Ranges) -> pa.Array:
        """Attributes of the spans of the rule's set; of a field all values of every record, in its first part."""
        assert self.reads.column is not None, "the plan's verifier asks for a field or an attribute"
        lists = ranges.chunk.arrow(self.reads.column)
        if self.reads.column.startswith("span.at."):
            return lists.flatten().filter(pa.array(ranges.set == ranges.sets.get(self.reads.first, -1)))
        return lists.filter(pa.array(ranges.chunk.part == 0)).flatten()

    def report(self, total: _Total) -> RuleStatistics:
        labelled = isinstance(self.rule, ClassifyPlan | ContrastPlan)
        return RuleStatistics(
            name=self.rule.id,
            rows=share(self.rows, total.rows),
            tokens=share(self.tokens, total.tokens),
            labels=self.labels.counts() if labelled else None,
            numbers=self.numbers.summary(),
        )
