"""From the condition of a join to ranges of keys.

The condition is cut into alternatives (a top-level `or`), and each of these into parts that must all hold, which are used in
turn:

- a part that asks one side alone filters that side;
- an equality with one side on each hand makes groups: spans meet only within a record and a group;
- a `linked` names the keys of each query span, and what groups say is tried on these;
- an order with one side on each hand (`key before query`, `query.index > key.index`) cuts the group's keys off at one end,
  wherever the keys' values rise along the group;
- the rest is tried on pairs.

Keys are sorted by group and stand in the order of the text within it, so that what a query span can meet is one range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ...dsl import checked as c
from ..batch import Bools, Ints
from ..ragged import changes, ranges
from .links import Links
from .scalars import Pairs, Scope, roles
from .spans import NONE
from .values import Column, Numbers, codes, combine, dense, rankings

MAX_ALTERNATIVES = 16
"""Alternatives that a condition is cut into; an `or` that would give more is tried on pairs."""
ROOM = 1 << 62

Parts = tuple[c.Scalar, ...]
"""Conditions that must all hold."""

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}


@dataclass(frozen=True, eq=False)
class Alternative:
    """What meets one alternative: query span i can meet the keys `keys[low[i]:high[i]]`, and must then meet `rest`.

    `keys`: rows of the key set, sorted by `group` and then as in the set; `before`: every key of the ranges ends before its
    query span begins.
    """

    query: Scope
    key: Scope
    keys: Ints
    group: Ints
    low: Ints
    high: Ints
    rest: Parts
    before: bool
    links: Mapping[c.Linked, Links]

    def pairs(self, rows: Ints, counts: Ints) -> tuple[Ints, Ints]:
        """The first `counts` pairs of the query spans at `rows`."""
        return np.repeat(rows, counts), self.keys[ranges(self.low[rows], counts)]

    def tried(self, rows: Ints) -> tuple[Ints, Ints]:
        """The pairs of the query spans at `rows` that meet the rest too."""
        query, key = self.pairs(rows, self.high[rows] - self.low[rows])
        for part in self.rest:
            met = Pairs(self.query, self.key, query, key, self.links).condition(part)
            query, key = query[met], key[met]
        return query, key

    def end(self, side: str) -> Ints:
        """The `first` or `last` key in the range of each query span, -1 where it is empty."""
        return self._keys_at(np.where(self.low < self.high, self.low if side == "first" else self.high - 1, NONE))

    def nearest(self) -> list[Ints] | None:
        """A few keys per query span, -1 for none, the nearest among them; None where only pairs can tell.

        Along a group without nested keys, starts and ends both rise. Then the keys before the query span come first, the
        nearest of them last; then those that overlap it; then those after it, the nearest of them first.
        """
        start, end = self.key.spans.start[self.keys], self.key.spans.end[self.keys]
        if self.rest or not _rises(end, self.group):
            return None
        rows = np.flatnonzero(self.low < self.high)
        if self.before or not len(rows):
            return [self.end("last")]
        low, high = self.low[rows], self.high[rows]
        group, query = self.group[low], self.query.spans
        ahead = np.clip(_search(self.group, end, group, query.start[rows], "right"), low, high)
        behind = np.clip(_search(self.group, start, group, query.end[rows], "left"), low, high)
        tied = np.minimum(_search(self.group, start, group, start[np.minimum(behind, high - 1)], "right"), high)
        offers = [(ahead > low, ahead - 1), (behind > ahead, behind - 1), (behind < high, tied - 1)]
        places = [np.full(len(self.low), NONE) for _ in offers]
        for place, (there, found) in zip(places, offers, strict=True):
            place[rows] = np.where(there, found, NONE)
        return [self._keys_at(place) for place in places]

    def _keys_at(self, places: Ints) -> Ints:
        found = np.full(len(places), NONE)
        there = places != NONE
        found[there] = self.keys[places[there]]
        return found


def alternatives(
    condition: c.Scalar | None, query: Scope, key: Scope, links: Mapping[c.Linked, Links]
) -> list[Alternative]:
    """What meets a condition, by alternatives. Raises Failure (MCD556) where types do not go together, pairs or no pairs."""
    return [_Matching(query, key, parts, links).alternative() for parts in cut(condition)]


def cut(condition: c.Scalar | None) -> list[Parts]:
    """The alternatives of a condition."""
    match condition:
        case None:
            return [()]
        case c.Or():
            found = [parts for operand in condition.operands for parts in cut(operand)]
            return found if len(found) <= MAX_ALTERNATIVES else [(condition,)]
        case c.And():
            found = [()]
            for operand in condition.operands:
                parts = cut(operand)
                if len(found) * len(parts) > MAX_ALTERNATIVES:
                    parts = [(operand,)]
                found = [one + other for one in found for other in parts]
            return found
    return [(condition,)]


@dataclass(frozen=True, eq=False)
class _Order:
    """`key op query`, of values per span: what the condition `part` says.

    `weaker` follows from it, for where this one is of no use. `before`: it says that the key ends before the query begins.
    """

    part: c.Scalar
    key: Column
    op: str
    query: Column
    weaker: _Order | None = None
    before: bool = False


@dataclass(eq=False)
class _Matching:
    """One alternative, while its parts are sorted by what they are good for."""

    query: Scope
    key: Scope
    parts: Parts
    links: Mapping[c.Linked, Links]
    linked: Links | None = None
    equal: list[tuple[Ints, Ints]] = field(default_factory=list)
    orders: list[_Order] = field(default_factory=list)
    rest: list[c.Scalar] = field(default_factory=list)
    query_kept: Bools = field(init=False)
    key_kept: Bools = field(init=False)

    def __post_init__(self) -> None:
        self.query_kept = np.ones(len(self.query.spans), np.bool_)
        self.key_kept = np.ones(len(self.key.spans), np.bool_)
        self.equal.append((self.query.spans.record, self.key.spans.record))
        for part in self.parts:
            self._sort_out(part)

    def _sort_out(self, part: c.Scalar) -> None:
        asked = roles(part)
        if not asked >= {"query", "key"}:
            if asked == {"key"}:
                self.key_kept &= self.key.condition(part)
            else:
                self.query_kept &= self.query.condition(part)
        elif isinstance(part, c.Before):
            self._before(part)
        elif isinstance(part, c.Linked) and self.linked is None:
            self.linked = self.links[part]
        elif not (isinstance(part, c.Compare) and self._compare(part)):
            self._try(part)

    def _try(self, part: c.Scalar) -> None:
        """Leaves a part for the pairs. Types are checked now, so that an error does not wait for the first pair."""
        none = np.zeros(0, np.int64)
        Pairs(self.query, self.key, none, none, self.links).condition(part)
        self.rest.append(part)

    def _before(self, part: c.Before) -> None:
        plain = not part.left.steps and not part.right.steps
        if part.left.role == "key":
            key, query = self.key.places(part.left), self.query.places(part.right)
            weaker = _Order(part, key.start, "<=", query.start)
            self.orders.append(_Order(part, key.end, "<=", query.start, weaker, before=plain))
        else:
            key, query = self.key.places(part.right), self.query.places(part.left)
            self.orders.append(_Order(part, key.start, ">=", query.end))
        self.key_kept &= key.valid
        self.query_kept &= query.valid

    def _compare(self, part: c.Compare) -> bool:
        """Uses a comparison of one side with the other; False where it is none, or of no use."""
        sides = roles(part.left), roles(part.right)
        if part.op == "!=" or len(sides[0]) != 1 or len(sides[1]) != 1:
            return False
        flipped = sides[0] == {"query"}
        left, right, op = (part.right, part.left, _FLIPPED[part.op]) if flipped else (part.left, part.right, part.op)
        key, query = self.key.value(left), self.query.value(right)
        if op == "==":
            found = codes(query, key)
            if found is None:
                self.key_kept[:] = False
                return True
            self.equal.append(found)
        elif isinstance(key, Numbers) and isinstance(query, Numbers):
            self.orders.append(_Order(part, key.data, op, query.data))
        else:
            return False
        self.key_kept &= key.valid
        self.query_kept &= query.valid
        return True

    def alternative(self) -> Alternative:
        """The ranges that links or groups, and orders, leave."""
        query_group, key_group = combine(self.equal)
        if self.linked is None:
            ranges = self._grouped(query_group, key_group)
        else:
            ranges = self._listed(query_group, key_group, self.linked)
        before = False
        for order in self.orders:
            if ranges.narrow(order):
                before |= order.before
                continue
            if order.weaker is not None:
                ranges.narrow(order.weaker)
            self._try(order.part)
        lows, highs = np.zeros((2, len(self.query.spans)), np.int64)
        lows[ranges.rows], highs[ranges.rows] = ranges.low, np.maximum(ranges.low, ranges.high)
        rest = tuple(self.rest)
        return Alternative(self.query, self.key, ranges.keys, ranges.group, lows, highs, rest, before, self.links)

    def _grouped(self, query_group: Ints, key_group: Ints) -> _Ranges:
        """Keys by group: a query span meets those of its own."""
        keys, rows = np.flatnonzero(self.key_kept), np.flatnonzero(self.query_kept)
        keys, rows = keys[argsort(key_group[keys])], rows[argsort(query_group[rows])]
        low, high = (np.searchsorted(key_group[keys], query_group[rows], side) for side in ("left", "right"))
        met = low < high
        return _Ranges(keys, np.cumsum(changes(key_group[keys])) - 1, rows[met], low[met], high[met])

    def _listed(self, query_group: Ints, key_group: Ints, links: Links) -> _Ranges:
        """Keys by query span: each meets those that are listed with it, and of its group."""
        query, key = links.query, links.key
        met = self.query_kept[query] & self.key_kept[key] & (query_group[query] == key_group[key])
        query, key = query[met], key[met]
        first = np.flatnonzero(changes(query))
        return _Ranges(key, np.cumsum(changes(query)) - 1, query[first], first, np.append(first, len(query))[1:])


class _Ranges:
    """The keys in groups, and the range that each query span at `rows` has of its own group's; `high` may fall below `low`."""

    def __init__(self, keys: Ints, group: Ints, rows: Ints, low: Ints, high: Ints) -> None:
        self.keys, self.group, self.rows, self.low, self.high = keys, group, rows, low, high
        self._own = group[low]

    def narrow(self, order: _Order) -> bool:
        """Cuts the ranges off where the order begins or ceases to hold; False where the keys do not rise along the groups."""
        limit, values = dense(order.query[self.rows], order.key[self.keys])
        if not _rises(values, self.group):
            return False
        side: Literal["left", "right"] = "right" if order.op in ("<=", ">") else "left"
        cut_off = _search(self.group, values, self._own, limit, side)
        if order.op in ("<", "<="):
            self.high = np.minimum(self.high, cut_off)
        else:
            self.low = np.maximum(self.low, cut_off)
        return True


def _rises(values: Ints, group: Ints) -> bool:
    """Whether values never fall within a group."""
    return bool(np.all((values[1:] >= values[:-1]) | (group[1:] != group[:-1])))


def _search(group: Ints, values: Ints, own: Ints, limit: Ints, side: Literal["left", "right"]) -> Ints:
    """Where `limit[i]` belongs among the values of group `own[i]`. Values rise along the groups 0, 1, ...; none is negative."""
    width = 2 + max(int(values.max(initial=0)), int(limit.max(initial=0)))
    if len(group) and int(group[-1]) + 1 > ROOM // width:
        values, limit = rankings(values, limit)
        width = 2 + len(values) + len(limit)
    return np.searchsorted(group * width + values, own * width + limit, side)


def argsort(codes: Ints) -> Ints:
    """The stable order of codes from 0."""
    count = len(codes)
    if count < 2 or bool(np.all(codes[1:] >= codes[:-1])):
        return np.arange(count)
    if int(codes.max()) < ROOM // count:
        return np.sort(codes * count + np.arange(count)) % count  # sorting values is several times as fast as places
    return np.argsort(codes, kind="stable")
