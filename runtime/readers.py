"""Which rules read which sets, as lookup tables: a plan of three hundred rules costs a batch about what one of three costs.

A *slot* is a rule in the order of the groups, so that what is sorted by slot is sorted by group. Keys of sets get small numbers,
and a table gives the slots that read a number. Values that rules read beside the text (labels, factors, vectors) are *sources*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..compiler.files.opening import label_column, stored_keys
from ..compiler.files.shard_reader import Chunk
from ..compiler.plan import (
    AttendPlan,
    ClassifyPlan,
    ContrastPlan,
    CrossRef,
    LikePlan,
    Plan,
    PredictPlan,
    RulePlan,
    TowardPlan,
    WeighPlan,
)
from ..compiler.ragged import Bools, Ints, offsets, owners, ranges
from ..compiler.sets import BLANK, RECORD, REPEAT, TOKENS, again, cut
from ..dsl.windows import windows_at
from .groups import Groups, LikeGroup, group_rules
from .scores import token_measures

POOLS = ("each", "first", "last", "mean")
FAR = 1 << 40
"""A window that every key is in."""


@dataclass(frozen=True, eq=False)
class Table:
    """Key -> slots: those of key k are `slots[offsets[k]:offsets[k + 1]]`."""

    offsets: Ints
    slots: Ints

    def expand(self, keys: Ints) -> tuple[Ints, Ints]:
        """Every (entry, slot): the place in `keys` and a slot that reads its key."""
        counts = self.offsets[keys + 1] - self.offsets[keys]
        return owners(counts), self.slots[ranges(self.offsets[keys], counts)]

    def reads(self, key: int) -> bool:
        """Whether any slot reads the key."""
        return bool(self.offsets[key + 1] > self.offsets[key])


@dataclass(frozen=True, slots=True)
class Source:
    """Values by record or span: a column, and for labels the classes that they are places in. `width` numbers each. `key`: they
    are read as numbers that are equal where the values are."""

    column: str
    classes: tuple[str, ...] | None = None
    width: int = 1
    key: bool = False

    @property
    def along_spans(self) -> bool:
        """Whether the column runs along the spans, and not along a list of the record."""
        return self.column.startswith("span.")


@dataclass(frozen=True, eq=False)
class Slots:
    """What is known of each slot. `groups[G + 1]`: where each group begins; `source`: place in the sources, or -1."""

    rules: tuple[RulePlan, ...]
    groups: Ints
    place: Ints
    source: Ints
    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return len(self.rules)

    def flags(self, attribute: str, value: object = True) -> Bools:
        """For each slot, whether `attribute` of its rule is `value`."""
        return np.array([getattr(rule, attribute, None) == value for rule in self.rules], dtype=np.bool_)


@dataclass(slots=True)
class _Keys:
    """Numbers for keys, given out as they are asked for."""

    numbers: dict[str, int] = field(default_factory=dict)

    def __call__(self, key: str) -> int:
        return self.numbers.setdefault(key, len(self.numbers))


class Readers:
    """The lookup tables of a plan. `numbers`: the number of every key that anything reads; `bare`: the sources whose texts
    have no added tokens where others have some.

    `reach`: of each attention slot, the widest window of its layers, within which every key lies that any of them can see.
    `by_like` gives sides of slots: twice the slot for its `subject`, and 1 more for its `to`.
    """

    def __init__(self, plan: Plan) -> None:
        self.groups: Groups = group_rules(plan)
        added = plan.tokenizer.prefix + plan.tokenizer.suffix > 0
        self.bare = frozenset(plan.tokenizer.bare) if added else frozenset[str]()
        keys = _Keys()
        self.blank, self.repeat, self.record_cut = keys(BLANK), keys(REPEAT), keys(cut(RECORD))
        self.tokens, self.tokens_again, self.record = keys(TOKENS), keys(again(TOKENS)), keys(RECORD)
        alone = [group.rules for group in self.groups.hidden if not isinstance(group, LikeGroup)]
        like = [group.rules for group in self.groups.hidden if isinstance(group, LikeGroup)]
        self.hidden, self.like = _slots(alone, plan.model.hidden), _slots(like, plan.model.hidden)
        self.attend = _slots([group.rules for group in self.groups.attend], plan.model.hidden)
        self.weigh = _slots([(rule,) for rule in self.groups.weigh], plan.model.hidden)
        self.keep = _slots([(rule,) for rule in self.groups.keep], plan.model.hidden)
        stored: list[tuple[int, int]] = []
        query: list[tuple[int, int]] = []
        key: list[tuple[int, int]] = []
        query_again: list[tuple[int, int]] = []
        key_again: list[tuple[int, int]] = []
        reach: list[int] = []
        for slot, rule in enumerate(self.attend.rules):
            assert isinstance(rule, AttendPlan)
            reach.append(windows_at(plan.model.windows, rule.layers)[-1] or FAR)
            if isinstance(rule.edges, CrossRef):
                query.append((keys(rule.edges.query.set), slot))
                key.append((keys(rule.edges.key.set), slot))
                query_again.append((keys(again(rule.edges.query.set)), slot))
                key_again.append((keys(again(rule.edges.key.set)), slot))
            else:
                stored.append((keys(rule.edges.edges), slot))
        subjects = [(keys(_subject(rule)), slot) for slot, rule in enumerate(self.hidden.rules)]
        sides = [
            (keys(side), 2 * slot + to)
            for slot, rule in enumerate(self.like.rules)
            if isinstance(rule, LikePlan)
            for to, side in enumerate((rule.subject.set, rule.to.set))
        ]
        weighed, kept = _visible(keys, self.weigh), _visible(keys, self.keep)
        self.reach: Ints = np.array(reach, dtype=np.int64)
        self.numbers = keys.numbers
        count = len(self.numbers)
        self.by_hidden = _table(subjects, count)
        self.by_weigh, self.by_keep = _table(weighed, count), _table(kept, count)
        self.by_like = _table(sides, count)
        self.by_edges = _table(stored, count)
        self.by_query, self.by_key = _table(query, count), _table(key, count)
        self.by_query_again, self.by_key_again = _table(query_again, count), _table(key_again, count)
        self.sources = tuple(dict.fromkeys((*self.hidden.sources, *self.weigh.sources)))
        spans = (self.by_hidden, self.by_like, self.by_weigh, self.by_keep, self.by_query, self.by_key)
        self.reads_tokens = any(table.reads(self.tokens) for table in spans)
        self.reads_record = any(table.reads(self.record) for table in spans)
        self.measures = token_measures(plan)
        self.targets = stored_keys(self.hidden.rules)
        self.reads_weights = any(group.weighted for group in self.groups.attend)
        self._maps: dict[tuple[str, ...], Ints] = {}
        self._by_chunk: WeakKeyDictionary[Chunk, Ints] = WeakKeyDictionary()

    def numbered(self, chunk: Chunk) -> Ints:
        """The number of each key of a record batch, -1 where nothing reads it: one array for equal lists of keys."""
        found = self._by_chunk.get(chunk)
        if found is None:
            if chunk.sets not in self._maps:
                self._maps[chunk.sets] = np.array([self.numbers.get(key, -1) for key in chunk.sets], dtype=np.int64)
            found = self._by_chunk[chunk] = self._maps[chunk.sets]
        return found


def _visible(keys: _Keys, slots: Slots) -> list[tuple[int, int]]:
    """The sets of rules on the token loss, which also read what the context leaves of a span."""
    subjects = [(_subject(rule), slot) for slot, rule in enumerate(slots.rules)]
    return [(keys(key), slot) for subject, slot in subjects for key in (subject, cut(subject))]


def _subject(rule: RulePlan) -> str:
    assert not isinstance(rule, AttendPlan)
    return rule.subject.set


def _slots(groups: Sequence[Sequence[RulePlan]], width: int) -> Slots:
    rules = tuple(rule for group in groups for rule in group)
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    found = [_source(rule, width) for rule in rules]
    sources = tuple(dict.fromkeys(source for source in found if source is not None))
    place = {source: number for number, source in enumerate(sources)}
    numbers = np.array([-1 if source is None else place[source] for source in found], dtype=np.int64)
    return Slots(rules, offsets(sizes), ranges(np.zeros_like(sizes), sizes), numbers, sources)


def _source(rule: RulePlan, width: int) -> Source | None:
    match rule:
        case ClassifyPlan(field=column, attribute=attribute, labels=labels):
            return Source(label_column(column, attribute), labels)
        case ContrastPlan(field=column, attribute=attribute):
            return Source(label_column(column, attribute), key=True)
        case TowardPlan(field=str(column), through=through):
            return Source(f"field.{column}", width=width if through is None else through.width)
        case WeighPlan(field=str(column)) | PredictPlan(field=str(column)):
            return Source(f"field.{column}")
        case _:
            return None


def _table(entries: list[tuple[int, int]], keys: int) -> Table:
    found: npt.NDArray[np.int64] = np.array(sorted(entries), dtype=np.int64).reshape(-1, 2)
    return Table(offsets(np.bincount(found[:, 0], minlength=keys)), np.ascontiguousarray(found[:, 1]))
