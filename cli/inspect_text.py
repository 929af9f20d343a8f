"""What `mcd inspect` prints of a dataset for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..compiler.columns import in_columns
from ..compiler.inspect.meaning import LOST
from ..compiler.inspect.report import DatasetReport, RuleReport, Share, Statistics, Summary, ValueCounts
from ..dsl.render import visible

SHOWN = 20
"""How many rules, sets and values are shown one by one."""


def dataset_text(found: DatasetReport) -> str:
    """The whole of it: a section for each thing that is told."""
    sections = [
        ("columns", in_columns((each.name, each.type, each.meaning or "not of this format") for each in found.columns)),
        ("splits", _splits(found)),
        ("sources", _sources(found)),
        ("records left out", [f"{count:,}  {cause}" for cause, count in sorted(found.dropped.items())]),
        ("rules", _rules(found)),
        ("counts", _counts(found.rules)),
        *(_statistics(found.statistics) if found.statistics is not None else ()),
        ("beside the shards", _beside(found)),
    ]
    head = [
        f"{visible(found.directory)}: {visible(found.spec)}, compiled by mcd {found.version}",
        f"  {found.model}; tokenizer {found.tokenizer[:8]}",
    ]
    body = (line for title, lines in sections if lines for line in ("", title, *(f"  {line}" for line in lines)))
    return "".join(f"{line}\n" for line in (*head, *body))


def _splits(found: DatasetReport) -> list[str]:
    rows = [("split", "records", "rows", "tokens", "shards", "bytes")]
    rows += [
        (
            each.name,
            f"{each.records:,}",
            "" if each.rows is None else f"{each.rows:,}",
            f"{each.tokens:,}",
            f"{each.shards:,}",
            f"{each.bytes:,}",
        )
        for each in found.splits
    ]
    return in_columns(rows, right=range(1, 6))


def _sources(found: DatasetReport) -> list[str]:
    named = [each for each in found.sources if each.name is not None]
    if not named:
        return []
    rows = [("source", "records", "tokens", "shards")]
    rows += [(visible(str(each.name)), f"{each.records:,}", f"{each.tokens:,}", f"{each.shards:,}") for each in named]
    return in_columns(rows, right=range(1, 4))


def _rules(found: DatasetReport) -> list[str]:
    rows = [
        (visible(each.name), each.kind, visible(each.subject), each.layers, each.formula, visible(each.place))
        for each in found.rules[:SHOWN]
    ]
    more = [*_more(len(found.rules), "rules"), f"`mcd plan {visible(found.spec)}` prints the whole plan"]
    return in_columns(rows) + more


def _counts(rules: Sequence[RuleReport]) -> list[str]:
    """A line for each rule, and below it what it lost, in words; of rules that lost nothing the first."""
    clean = [each for each in rules if not _lost(each)]
    left = {each.name for each in clean[SHOWN:]}
    shown = [each for each in rules if each.name not in left]
    rows = [("rule", "records", "matched", "rows")]
    rows += [
        (
            visible(each.name),
            f"{each.records:,}",
            f"{each.counts.get('matched', 0):,}",
            f"{each.counts['rows']:,}" if "rows" in each.counts else "",
        )
        for each in shown
    ]
    head, *table = in_columns(rows, right=range(1, 4))
    lines = [head]
    for each, line in zip(shown, table, strict=True):
        lines += [line, *(f"  {count:,} {words}" for words, count in _lost(each).items())]
    return lines + ([f"and {len(left):,} more rules that lost nothing"] if left else [])


def _lost(rule: RuleReport) -> dict[str, int]:
    return {words: rule.counts[cause] for cause, words in LOST.items() if rule.counts.get(cause)}


def _statistics(found: Statistics) -> Iterator[tuple[str, list[str]]]:
    head = ("rows", *_HEAD)
    lengths = [("split", *head), *((split, f"{each.count:,}", *_cells(each)) for split, each in found.tokens.items())]
    yield "tokens per row", in_columns(lengths, right=range(1, 7))
    for kind, title in (("span", "spans per row, by set"), ("edge", "edges per row, by set")):
        mine = sorted((each for each in found.sets if each.kind == kind), key=lambda each: -each.tokens.count)
        rows: list[Sequence[str]] = [("set", *_HEAD, "tokens", "of all")]
        rows += [(visible(each.written), *_cells(each.per_row), *_share(each.tokens)) for each in mine[:SHOWN]]
        yield title, in_columns(rows, right=range(1, 8)) + _more(len(mine), "sets") if mine else []
    rows = [("rule", "rows", "of all", "tokens", "of all")]
    rows += [(visible(each.name), *_share(each.rows), *_share(each.tokens)) for each in found.rules[:SHOWN]]
    supervised = in_columns(rows, right=range(1, 5)) + _more(len(found.rules), "rules") if found.rules else []
    yield "what rules supervise", supervised
    for rule in found.rules:
        if rule.labels is not None:
            yield f"labels of {visible(rule.name)}", _labels(rule.labels)
    numbers: list[tuple[str, Summary | None]] = [
        (visible(rule.name), rule.numbers) for rule in found.rules if rule.numbers is not None
    ]
    numbers += [(visible(each.written), each.weights) for each in found.sets if _weighted(each.weights)]
    rows = [("of", "numbers", *_HEAD), *((name, f"{each.count:,}", *_cells(each)) for name, each in numbers if each)]
    yield "weights", in_columns(rows, right=range(1, 7)) if numbers else []


def _weighted(weights: Summary | None) -> bool:
    """Whether edges have weights of their own: those that nothing lists have 1."""
    return weights is not None and (weights.min, weights.max) != (1.0, 1.0)


_HEAD = ("min", "median", "mean", "p95", "max")


def _cells(found: Summary) -> tuple[str, ...]:
    return tuple(f"{value:,.4g}" for value in (found.min, found.median, found.mean, found.p95, found.max))


def _share(found: Share) -> tuple[str, str]:
    return f"{found.count:,}", f"{found.share:.1%}"


def _labels(found: ValueCounts) -> list[str]:
    total = sum(each.count for each in found.values) + found.others + found.null
    rest = found.values[SHOWN:]
    rows = [(visible(str(each.value)), each.count) for each in found.values[:SHOWN]]
    if rest:
        rows.append((f"{len(rest):,} other values", sum(each.count for each in rest)))
    if found.others:
        rows.append(("values beyond the first 10,000", found.others))
    if found.null:
        rows.append(("none", found.null))
    return in_columns(((name, f"{count:,}", f"{count / total:.1%}") for name, count in rows), right=(1, 2))


def _beside(found: DatasetReport) -> list[str]:
    return [
        *(f"states of teacher {visible(name)}" for name in found.teachers),
        *(f"measure {visible(name)}" for name in found.measures),
    ]


def _more(count: int, things: str) -> list[str]:
    return [f"and {count - SHOWN:,} more {things}, which `--format json` lists"] if count > SHOWN else []
