"""A dataset as a whole: columns, splits, sources, rules with what was counted, and the statistics of its rows."""

from __future__ import annotations

from collections.abc import Iterator

from ..describe import describe_rule
from ..files.listed import check_file
from ..files.measures import info_path
from ..manifest import MEASURES, ShardEntry
from .meaning import CAUSES, column_meaning, type_text
from .opened import Opened, schema_of
from .report import ColumnReport, DatasetReport, RuleReport, SourceReport, SplitReport, Statistics
from .statistics import Progress, statistics


def overview(opened: Opened, split: str | None, numbers: bool, progress: Progress) -> DatasetReport:
    """What a dataset holds. `split`: of one split alone; `numbers`: with statistics, for which every shard is read.

    Raises Failure for a split that is not there, and for a shard that is not what was written.
    """
    shards = tuple(opened.shards(split))
    found = statistics(opened, shards, progress) if numbers else None
    plan, manifest, model = opened.plan, opened.manifest, opened.plan.model
    name = model.architecture or "a model given by numbers"
    measured = sorted((opened.directory / MEASURES).glob("*.json"))
    return DatasetReport(
        spec=plan.spec,
        version=manifest.version,
        directory=str(opened.directory),
        model=f"{name}: {model.layers} layers, {model.heads} heads, width {model.hidden}, context {model.context}",
        tokenizer=plan.tokenizer.digest,
        columns=tuple(_columns(opened, shards)),
        splits=tuple(_split(name, shards, found) for name in dict.fromkeys(shard.split for shard in shards)),
        sources=tuple(_source(name, shards) for name in dict.fromkeys(shard.source for shard in shards)),
        dropped=dict(manifest.dropped),
        rules=tuple(_rules(opened)),
        teachers=tuple(manifest.teachers),
        measures=tuple(path.stem for path in measured if info_path(path.stem) == f"{MEASURES}/{path.name}"),
        statistics=found,
    )


def _columns(opened: Opened, shards: tuple[ShardEntry, ...]) -> Iterator[ColumnReport]:
    """Those of the first shard, which all others share."""
    for shard in shards[:1]:
        for column in schema_of(check_file(opened.directory, shard, "size")):
            name = column.name
            yield ColumnReport(name=name, type=type_text(column.type), meaning=column_meaning(name, opened.plan))


def _split(name: str, shards: tuple[ShardEntry, ...], found: Statistics | None) -> SplitReport:
    mine = [shard for shard in shards if shard.split == name]
    rows = None if found is None else found.tokens[name].count if name in found.tokens else 0
    return SplitReport(
        name=name,
        records=sum(shard.records for shard in mine),
        rows=rows,
        tokens=sum(shard.tokens for shard in mine),
        shards=len(mine),
        bytes=sum(shard.bytes for shard in mine),
    )


def _source(name: str | None, shards: tuple[ShardEntry, ...]) -> SourceReport:
    mine = [shard for shard in shards if shard.source == name]
    records, tokens = sum(shard.records for shard in mine), sum(shard.tokens for shard in mine)
    return SourceReport(name=name, records=records, tokens=tokens, shards=len(mine))


def _rules(opened: Opened) -> Iterator[RuleReport]:
    records = sum(opened.manifest.records.values())
    for rule in opened.plan.rules:
        name, place, subject, layers, formula = describe_rule(rule, opened.plan)
        counted = opened.manifest.rules.get(name)
        splits = () if counted is None else counted.splits.values()
        counts = {
            cause: sum(each.get(cause, 0) for each in splits) for cause in CAUSES if any(cause in s for s in splits)
        }
        yield RuleReport(
            name=name,
            kind=rule.kind,
            place=place,
            subject=subject,
            layers=layers,
            formula=formula,
            records=records - counts.get("unmatched", 0),
            counts={str(cause): count for cause, count in counts.items()},
        )
