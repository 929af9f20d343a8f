"""Rows of a dataset, found by number, id or rule, each with what is stored of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure, did_you_mean
from ...dsl.source import DataPlace
from ..ragged import Ints
from .opened import Opened
from .ranges import Ranges
from .reads import Reads, reads
from .report import RowReport
from .view import Texts, View


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows: of a split; by number in it, or over all splits; of records with one of `ids`; in which `rule` acts."""

    split: str | None = None
    numbers: range | None = None
    ids: tuple[str, ...] = ()
    rule: str | None = None


def find_rows(opened: Opened, query: Query, texts: Texts | None) -> Iterator[RowReport]:
    """The rows that a query asks for, in their order, one by one: a shard is read when the first of its rows is due.

    Raises Failure for a split, a rule, an id or a first number that is not there, and for a shard that is not as it was written.
    """
    view = View(opened.plan, texts)
    read = _reads(opened, query.rule)
    missing, passed = set(query.ids), 0
    within: dict[str, int] = {}
    for shard in opened.shards(query.split):
        if query.numbers is not None and passed >= query.numbers.stop:
            return
        if query.numbers is not None and passed + (rows := opened.rows(shard)) <= query.numbers.start:
            passed, within[shard.split] = passed + rows, within.get(shard.split, 0) + rows
            continue
        for chunk in opened.chunks(shard):
            ranges = Ranges(chunk, opened.plan)
            for at in _chosen(ranges, query, read, passed).tolist():
                found = view.row(ranges, at, shard, within.get(shard.split, 0) + at)
                missing.discard(found.id)
                yield found
            passed, within[shard.split] = passed + chunk.rows, within.get(shard.split, 0) + chunk.rows
    if query.numbers is not None and passed <= query.numbers.start:
        raise _no_row(opened, query.numbers.start, passed)
    if query.rule is None and query.numbers is None:
        for name in sorted(missing):
            raise _no_record(opened, query.split, name)


def _reads(opened: Opened, name: str | None) -> Reads | None:
    rules = {rule.id: rule for rule in opened.plan.rules}
    if name is None:
        return None
    if name not in rules:
        message = f"the plan of `{opened.directory.name}` has no rule `{name}`"
        help = did_you_mean(name, rules)
        raise Failure(codes.NO_SUCH_RULE.at(DataPlace(str(opened.directory)), message, help=help))
    return reads(rules[name])


def _chosen(ranges: Ranges, query: Query, read: Reads | None, passed: int) -> Ints:
    kept = np.ones(ranges.chunk.rows, np.bool_)
    if query.numbers is not None:
        number = passed + np.arange(ranges.chunk.rows)
        kept &= (number >= query.numbers.start) & (number < query.numbers.stop)
    if query.ids:
        wanted = pa.array(query.ids, pa.string())
        kept &= np.asarray(pc.is_in(ranges.chunk.arrow("id"), value_set=wanted))
    if read is not None:
        kept &= np.isin(np.arange(ranges.chunk.rows), ranges.acting(read).row)
    return np.flatnonzero(kept)


def _no_row(opened: Opened, number: int, rows: int) -> Failure:
    has = f"it has rows 0..{rows - 1}" if rows else "it has none"
    message = f"`{opened.directory.name}` has no row {number}; {has}"
    return Failure(codes.NO_SUCH_ROW.at(DataPlace(str(opened.directory)), message))


def _no_record(opened: Opened, split: str | None, name: str) -> Failure:
    where = "" if split is None else f" in split `{split}`"
    message = f"`{opened.directory.name}` has no record `{name}`{where}"
    return Failure(codes.NO_SUCH_RECORD.at(DataPlace(str(opened.directory)), message))
