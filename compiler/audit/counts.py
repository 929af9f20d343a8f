"""Counts of the manifest that the shards tell again.

Of a span or edge set, a shard holds what acts: `matched` less `between` and `cut`. From the ranges follow `rows`, and of edges
`forward`. Of `tokens` and `record` follow `rows`, and of `record` what is `matched`; of two stored sets that are counted together
`rows` and `unmatched`. The counts of many rules follow from those of their sets.

What was lost before anything was stored cannot be counted again: `matched`, `between` and `cut` singly, `ragged`, `unmatched`,
`surplus`, `dropped`, `labels`, messages, and rows of states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Diagnostic
from ...dsl.windows import windows_at
from ..account import rule_counts
from ..files.shard_reader import Chunk, Lists
from ..manifest import MANIFEST_FILE, Cause, Counts, ShardEntry
from ..plan import (
    AttendPlan,
    ClassifyPlan,
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
from ..ragged import Bools, Ints, in_order, offsets, owners, ranges, uncovered
from ..sets import BLANK, RECORD, REPEAT, TOKENS, both, cut
from .base import Audited, Check, at, differences

STORED = "stored"
"""What a set has in shards: spans and edges that act."""

Tally = Counter[tuple[str, str]]
"""By set and cause."""


class Recounted(Check):
    """Counts every record batch anew, split by split, and compares where all shards of a split could be read."""

    def __init__(self, dataset: Audited) -> None:
        super().__init__(dataset)
        self._found: dict[str, Tally] = {}
        likes = [rule for rule in dataset.plan.rules if isinstance(rule, LikePlan)]
        self._pairs = sorted({(rule.subject.set, rule.to.set) for rule in likes} - self._unstored(likes))

    def _unstored(self, rules: Sequence[LikePlan]) -> set[tuple[str, str]]:
        """Pairs of which a set is not stored, or that were not counted."""
        pairs = {(rule.subject.set, rule.to.set) for rule in rules}
        sets, counted = self.dataset.plan.sets, self.dataset.manifest.sets
        return {pair for pair in pairs if both(*pair) not in counted or not sets.keys() >= {*pair}}

    def shard(self, shard: ShardEntry, chunks: Sequence[Chunk]) -> Iterator[Diagnostic]:
        tally = self._found.setdefault(shard.split, Counter())
        for chunk in chunks:
            tally.update(_Counting(chunk, self.dataset.plan, bool(self.dataset.manifest.causal)).tally(self._pairs))
        yield from ()

    def after(self, unread: Sequence[ShardEntry]) -> Iterator[Diagnostic]:
        left_out = {shard.split for shard in unread}
        for split, tally in sorted(self._found.items()):
            if split not in left_out:
                yield from self._compared(split, tally)
        yield from self._rules()

    def _compared(self, split: str, tally: Tally) -> Iterator[Diagnostic]:
        for key, counts in self.dataset.manifest.sets.items():
            found = self._told(key, split, tally)
            stated = {str(cause): count for cause, count in counts.splits.get(split, {}).items()}
            stated[STORED] = stated.get("matched", 0) - stated.get("between", 0) - stated.get("cut", 0)
            for cause, mine, theirs in differences(found, {cause: stated.get(cause, 0) for cause in found}):
                what = "spans or edges that act" if cause == STORED else f"`{cause}`"
                message = (
                    f"`{MANIFEST_FILE}` counts {theirs:,} {what} of {self._named(key)} in split `{split}`;"
                    f" its shards have {mine:,}"
                )
                yield at(codes.COUNTS_DIFFER, MANIFEST_FILE, message)

    def _told(self, key: str, split: str, tally: Tally) -> dict[str, int]:
        """What the shards of a split tell of a set, by cause."""
        if any(key == both(*pair) for pair in self._pairs):
            records = self.dataset.manifest.records.get(split, 0)
            return {"rows": tally[key, "rows"], "unmatched": records - tally[key, "records"]}
        stored = (STORED, "rows", "forward") if key in self.dataset.plan.sets else ()
        causes: tuple[str, ...] = {TOKENS: ("rows",), RECORD: ("matched", "rows")}.get(key, stored)
        return {cause: tally[key, cause] for cause in causes}

    def _named(self, key: str) -> str:
        sets = self.dataset.plan.sets
        return f"`{sets[key].written if key in sets else key}`"

    def _rules(self) -> Iterator[Diagnostic]:
        """Counts of rules that are not what those of their sets give."""
        plan, manifest = self.dataset.plan, self.dataset.manifest
        chosen = tuple(rule for rule in plan.rules if _follows(rule, plan, manifest.sets) and rule.id in manifest.rules)
        mine = rule_counts(plan.model_copy(update={"rules": chosen}), manifest.sets, {}, manifest.targets)
        for rule, counts in mine.items():
            if _plain(counts) != _plain(manifest.rules[rule]):
                message = f"`{MANIFEST_FILE}` counts for rule `{rule}` what does not follow from its sets"
                yield at(codes.COUNTS_DIFFER, MANIFEST_FILE, message)


def _follows(rule: RulePlan, plan: Plan, sets: Mapping[str, Counts]) -> bool:
    """Whether the counts of a rule follow from those of sets that were counted."""
    match rule:
        case ClassifyPlan() | ContrastPlan() | PredictPlan() | TowardPlan(field=str()):
            return False
        case TowardPlan(hidden=hidden) if hidden is not None:
            return False
        case AttendPlan(edges=EdgeSetRef(edges=key)):
            return key in sets and windows_at(plan.model.windows, rule.layers) == (None,)
        case AttendPlan(edges=CrossRef(query=query)):
            return query.set in sets
        case LikePlan(subject=subject, to=to):
            return all(key in sets for key in (subject.set, to.set, both(subject.set, to.set)))
        case HiddenRule(subject=subject) | WeighPlan(subject=subject) | KeepPlan(subject=subject):
            return subject.set in sets
    raise AssertionError(rule)


def _plain(counts: Counts) -> dict[str, dict[Cause, int]]:
    return {split: {cause: n for cause, n in causes.items() if n} for split, causes in counts.splits.items()}


class _Counting:
    """One record batch. Tokens have places, one row after another: row i begins at `begin[i]`; `ink` counts those that are no
    white space up to a place."""

    def __init__(self, chunk: Chunk, plan: Plan, causal: bool) -> None:
        self._chunk, self._plan, self._causal = chunk, plan, causal
        begin = chunk.tokens.offsets.astype(np.int64)
        self._begin, self._length = begin - begin[0], np.diff(begin)
        self._row = owners(np.diff(chunk.spans[0].offsets))
        self._set, self._start, self._end = (_used(lists) for lists in chunk.spans)
        blank = self._ranges(BLANK)
        inked = np.ones(int(self._begin[-1]), dtype=np.int64)
        inked[ranges((self._start + self._begin[self._row])[blank], (self._end - self._start)[blank])] = 0
        self._ink = offsets(inked)

    def tally(self, pairs: Sequence[tuple[str, str]]) -> Tally:
        """What there is of every set. `pairs`: of stored sets that are counted together; `records` has those that hold both."""
        found: Tally = Counter()
        self._number(found, STORED, self._set)
        self._rows(found, self._set, self._row, self._start, self._end, self._end - self._start == 1)
        if self._chunk.edges:
            self._edges(found)
        self._unstored(found)
        for one, other in pairs:
            rows = np.intersect1d(self._row[self._ranges(one)], self._row[self._ranges(other)])
            found[both(one, other), "rows"] = len(rows)
            found[both(one, other), "records"] = len(np.unique(self._record()[rows]))
        return found

    def _record(self) -> Ints:
        return np.cumsum(self._chunk.part == 0)

    def _ranges(self, key: str) -> Bools:
        """Which of the spans are of a set."""
        sets = self._chunk.sets
        number = sets.index(key) if key in sets else -1
        return np.asarray(self._set == number)

    def _edges(self, found: Tally) -> None:
        row = owners(np.diff(self._chunk.edges[0].offsets))
        sets, query_start, query_end, key_start, _ = (_used(lists) for lists in self._chunk.edges)
        possible = key_start < query_end if self._causal else np.ones(len(sets), dtype=np.bool_)
        start = np.maximum(query_start, key_start) if self._causal else query_start
        self._number(found, STORED, sets)
        self._number(found, "forward", sets[~possible])
        sets, row, start, end = (column[possible] for column in (sets, row, start, query_end))
        self._rows(found, sets, row, start, end, end - query_start[possible] == 1)

    def _number(self, found: Tally, cause: str, sets: Ints, amount: Ints | None = None) -> None:
        total = np.bincount(sets, amount, minlength=len(self._chunk.sets))
        for number in np.flatnonzero(total).tolist():
            found[self._chunk.sets[number], cause] += int(total[number])

    def _rows(self, found: Tally, sets: Ints, row: Ints, start: Ints, end: Ints, alone: Bools) -> None:
        """Tokens of ranges, each once per set and row. White space is none, but where a range is that token alone."""
        group = sets * len(self._length) + row
        order = in_order(group * (int(start.max(initial=0)) + 1) + start)
        row, group = row[order], group[order]
        begin, stop = uncovered(group, start[order], end[order])
        first = self._begin[row]
        amount = np.where(alone[order], stop - begin, self._ink[first + stop] - self._ink[first + begin])
        self._number(found, "rows", sets[order], amount)

    def _unstored(self, found: Tally) -> None:
        """`tokens`: all but those that are repeated, and those that the tokenizer adds; `record`: the whole ones."""
        chunk, tokenizer = self._chunk, self._plan.tokenizer
        bare = chunk.sources(tokenizer.bare) >= 0 if tokenizer.bare else np.zeros(chunk.rows, dtype=np.bool_)
        prefix, suffix = (np.where(bare, 0, added) for added in (tokenizer.prefix, tokenizer.suffix))
        repeat, first = self._ranges(REPEAT), chunk.part == 0
        goes_on = np.zeros(chunk.rows, dtype=np.bool_)
        last = repeat & (self._end == self._length[self._row]) & (self._start > 0)
        goes_on[self._row[last]] = True
        again = int((self._end - self._start)[repeat].sum())
        added = int(prefix[first].sum() + suffix[~goes_on].sum())
        found[TOKENS, "rows"] = int(self._length.sum()) - again - added
        whole = first.copy()
        whole[self._row[self._ranges(cut(RECORD))]] = False
        begin, end = (self._begin[:-1] + prefix)[whole], (self._begin[1:] - suffix)[whole]
        found[RECORD, "matched"] = int(first.sum())
        found[RECORD, "rows"] = int((self._ink[end] - self._ink[begin]).sum())


def _used(lists: Lists) -> Ints:
    return lists.used.astype(np.int64)
