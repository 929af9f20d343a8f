"""What is told of a dataset and of its rows: `mcd inspect --format json` prints it, docs/schema/inspect.json is made from it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..plan import Frozen

Value = str | int | float | None

REPORT_VERSION = 1
"""Raised by every change that an older reader would misread."""


class Summary(Frozen):
    """Numbers: how many there are, the least, the mean, the greatest, and the least that at least half (`median`) and 95% (`p95`)
    of them do not exceed."""

    count: int
    min: float
    median: float
    mean: float
    p95: float
    max: float


class Share(Frozen):
    """A part of a whole, from 0 to 1."""

    count: int
    share: float


class ValueCount(Frozen):
    """How often a label or a key was met."""

    value: str | int
    count: int


class ValueCounts(Frozen):
    """Labels or keys, the most frequent first. `null`: entries without one; `others`: entries of values that were met after
    10,000 different ones."""

    values: tuple[ValueCount, ...]
    null: int
    others: int


class ColumnReport(Frozen):
    """A column of the shards. `meaning`: what it holds, in words; null for one that is not of this version's format."""

    name: str
    type: str
    meaning: str | None


class SplitReport(Frozen):
    """A split: its records, its tokens, and its shard files with their bytes. `rows`: parts of records; null where no shard was
    opened."""

    name: str
    records: int
    rows: int | None
    tokens: int
    shards: int
    bytes: int


class SourceReport(Frozen):
    """A source, by the shards that were made of it; null where the manifest names no source."""

    name: str | None
    records: int
    tokens: int
    shards: int


class RuleReport(Frozen):
    """A rule of the plan: its place in the spec, its set, layers and formula in words, and what was counted while compiling, over
    all splits, by cause. `records`: those in which it matched something."""

    name: str
    kind: str
    place: str
    subject: str
    layers: str
    formula: str
    records: int
    counts: dict[str, int]


class SetStatistics(Frozen):
    """A stored set. `per_row`: its spans or edges in each row; `tokens`: those in its spans, or those that are queries of its
    edges, each once, of all; `weights`: of edges that have some."""

    key: str
    kind: Literal["span", "edge"]
    written: str
    per_row: Summary
    tokens: Share
    weights: Summary | None = None


class RuleStatistics(Frozen):
    """A rule. `rows`: those that hold what it acts on, of all; `tokens`: those whose attention, state or loss it reads, of all,
    with a label or without one. `labels`, `numbers`: the values that it reads beside the text."""

    name: str
    rows: Share
    tokens: Share
    labels: ValueCounts | None = None
    numbers: Summary | None = None


class Statistics(Frozen):
    """Numbers of the rows of the splits that were looked at. `tokens`: of each row, by split."""

    rows: int
    tokens: dict[str, Summary]
    sets: tuple[SetStatistics, ...]
    rules: tuple[RuleStatistics, ...]


class DatasetReport(Frozen):
    """A whole dataset. `dropped`: records by cause. `statistics`: null where they were not asked for."""

    spec: str
    version: str
    directory: str
    model: str
    tokenizer: str
    columns: tuple[ColumnReport, ...]
    splits: tuple[SplitReport, ...]
    sources: tuple[SourceReport, ...]
    dropped: dict[str, int]
    rules: tuple[RuleReport, ...]
    teachers: tuple[str, ...]
    measures: tuple[str, ...]
    statistics: Statistics | None


class RangeReport(Frozen):
    """Tokens `[start, end)` of a row. `text`: theirs, where the tokenizer is at hand. `attributes`: what is stored of the span,
    and of a field (`.NAME`) that a rule reads along the spans, its own value."""

    start: int
    end: int
    text: str | None = None
    attributes: dict[str, Value] = Field(default_factory=dict)


class EdgeReport(Frozen):
    """From the tokens of a query to those of a key."""

    query: RangeReport
    key: RangeReport
    weight: float | None = None


class HeldReport(Frozen):
    """What a row holds of a set. `role`: `acts`, or of what is derived from it `cut` (parts of spans that the context cuts, which
    `weigh` and `keep` alone read) or `again` (spans that acted in a part before). `rules`: those that read it."""

    key: str
    written: str
    role: Literal["acts", "cut", "again"]
    rules: tuple[str, ...]
    spans: tuple[RangeReport, ...] = ()
    edges: tuple[EdgeReport, ...] = ()


class RowReport(Frozen):
    """A row: a record, or a part of one. `number` counts from 0 in its split. `texts`: of each token, null without the tokenizer.
    `fields`: the record's own values; of a vector, how many numbers it has. `blank`, `repeat`: tokens of white space alone, and
    those that are context alone; `whole`: whether the context leaves the record whole."""

    split: str
    number: int
    shard: str
    id: str
    part: int
    source: str
    input_ids: tuple[int, ...]
    texts: tuple[str, ...] | None
    fields: dict[str, tuple[Value, ...] | None]
    vectors: dict[str, int]
    held: tuple[HeldReport, ...]
    blank: tuple[RangeReport, ...]
    repeat: tuple[RangeReport, ...]
    whole: bool


class Inspection(Frozen):
    """The whole of `mcd inspect --format json`: a dataset, or rows of it. `more`: there are further rows beyond `--limit`.
    `without_text`: why tokens have no text."""

    version: int = REPORT_VERSION
    dataset: DatasetReport | None = None
    rows: tuple[RowReport, ...] | None = None
    more: bool = False
    without_text: str | None = None
