"""A checked program -> what its sets and rules find in a few records of its sources, with an example of each loss.

The same steps as a compilation, on fewer records, and nothing is written: the executor measures each batch, the account sums up
by rule. Splits make no difference here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...dsl import checked as c
from ...dsl.canonical import digest
from ...dsl.codes import values as codes
from ...dsl.diagnostics import Diagnostic
from ...dsl.source import Place
from ..account import LOSSES, rule_counts
from ..alignment.locate import Locator
from ..batch import Edges, Spans, TextBatch
from ..counted import as_counts
from ..execute import Executor, Measured, Outcome
from ..lower import Lowered
from ..manifest import Cause
from ..prepare import prepare
from ..ragged import Ints
from ..sets import COUNTED, both
from ..sources.base import Tally
from ..sources.spread import some_batches
from ..windowed import EdgeText, Windowed
from .examples import Example, of_edge, of_record, of_span

SPAN_CAUSES: tuple[Cause, ...] = ("ragged", "cut", "between")


@dataclass(slots=True)
class Finds:
    """What one span set or rule found. `records`: those with a match; `counts`: by cause, `matched` among them; `examples`: the
    first of each cause. `place`: where it is declared."""

    name: str
    place: Place
    records: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Example] = field(default_factory=dict)


@dataclass(slots=True)
class Sample:
    """The records that were looked at, by source; what spans (those of concepts among them) and rules found in them."""

    records: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    spans: list[Finds] = field(default_factory=list)
    rules: list[Finds] = field(default_factory=list)


def sample(program: c.Program, count: int) -> Sample:
    """What a program finds in `count` records of each source. Raises Failure for what is wrong with its tokenizer or its data."""
    lowered, encoder = prepare(program)
    executor = Executor(lowered.recipe, program.root, encoder)
    sampler = _Sampler(program, lowered)
    outcome = Outcome()
    for source in program.sources:
        tally = Tally()
        for batch, splits in some_batches(source, program.root, count, executor.fields, encoder, tally):
            sampler.take(batch, executor.measure(batch, splits, outcome), source.id is not None)
        outcome.dropped += tally.dropped
    sampler.finish(outcome)
    return sampler.sample


def named_sets(program: c.Program) -> Iterator[tuple[str, Place, c.SpanSet]]:
    """The spans that a program declares, and those of its concepts that have none of these."""
    seen: set[int] = set()
    for span in program.spans:
        seen.add(id(span))
        yield span.name, span.place, span
    for concept in program.concepts:
        if concept.spans is not None and id(concept.spans) not in seen:
            seen.add(id(concept.spans))
            yield concept.name, concept.place, concept.spans


def not_seen(program: c.Program, found: Sample) -> Iterator[Diagnostic]:
    """A warning for each span that matches nothing in a sample, and for each rule that finds nothing but for another reason."""
    looked = sum(found.records.values())
    where = f"in the {looked:,} record{'s' * (looked != 1)} that {'were' if looked != 1 else 'was'} looked at"
    empty = {finds.name for finds in found.spans if not finds.counts["matched"]}
    for finds in found.spans:
        if finds.name in empty:
            yield codes.SPAN_NOT_SEEN.at(finds.place, f"`{finds.name}` matches nothing {where}")
    for rule, finds in zip(program.rules, found.rules, strict=True):
        named = {one.name for one in _subjects(rule) if isinstance(one, c.Named)}
        if not finds.counts["matched"] and not named & empty:
            yield codes.RULE_NOT_SEEN.at(rule.place, f"`{rule.id}` finds nothing {where}", related=rule.uses)


def _subjects(rule: c.Rule) -> tuple[c.SpanSet, ...]:
    """The sets that a rule is about."""
    match rule:
        case c.Attend(join=join):
            return join.query, join.key
        case c.Relate(subject=concept):
            return (concept.spans,) if concept.spans is not None else ()
        case c.Like(subject=concept, subject_to=to):
            return tuple(each.spans for each in (concept, to) if each.spans is not None)
    return (rule.subject,)


# --- the sampler -----------------------------------------------------------------------------------------------------


class _Sampler:
    """Sums up batches, and keeps the first example of each cause."""

    def __init__(self, program: c.Program, lowered: Lowered) -> None:
        self._program = program
        self._lowered = lowered
        self._sets = list(named_sets(program))
        self._windowed = Windowed(lowered.plan)
        self.sample = Sample(
            spans=[Finds(name, place) for name, place, _ in self._sets],
            rules=[Finds(rule.id, rule.place) for rule in program.rules],
        )

    def take(self, batch: TextBatch, measured: Measured, named: bool) -> None:
        """Add one batch. `named`: its records have ids of their own."""
        self.sample.records[batch.source] += batch.records
        self.sample.tokens += len(measured.aligned.input_ids)
        locator = Locator(batch.tokens, measured.aligned.parts)
        if self._windowed.asked:
            self._windowed.add(EdgeText.of_aligned(measured.aligned), "")
        for finds, (_, _, spans) in zip(self.sample.spans, self._sets, strict=True):
            _note_spans(finds, batch, locator, measured.evaluation.spans(spans), named)
        for rule, finds in zip(self._program.rules, self.sample.rules, strict=True):
            self._note_rule(rule, finds, batch, locator, measured, named)

    def _note_rule(
        self, rule: c.Rule, finds: Finds, batch: TextBatch, locator: Locator, measured: Measured, named: bool
    ) -> None:
        """Records and examples of one rule; its counts come with the account."""
        if isinstance(rule, c.Attend):
            key = digest(rule.join)
            if key in measured.edges:
                query, keys, edges = measured.edges[key]
                finds.records += len(np.unique(query.record[edges.query]))
                _note_edges(finds, batch, query, keys, edges, named)
                return
        found = [measured.evaluation.spans(spans) for spans in _subjects(rule)]
        with_all = [np.bincount(spans.record, minlength=batch.records) > 0 for spans in found]
        finds.records += int(np.logical_and.reduce(with_all).sum()) if with_all else 0
        own = Finds(finds.name, finds.place, examples=finds.examples)
        for spans in found:
            _note_spans(own, batch, locator, spans, named)
        if rule.id in measured.labels.names:
            for cause in LOSSES:
                lost = np.flatnonzero(measured.labels.per_record(cause, rule.id))
                if len(lost) and cause not in finds.examples:
                    finds.examples[cause] = _of_subject(batch, found, int(lost[0]), named)

    def finish(self, outcome: Outcome) -> None:
        """The counts of rules, as a manifest would have them."""
        plan, recipe = self._lowered.plan, self._lowered.recipe
        keys = [*(each.digest for each in recipe.sets), *(each.digest for each in recipe.edges)]
        pairs = (both(*pair) for pair in recipe.pairs)
        sets = as_counts(outcome.sets, [*keys, *COUNTED, *pairs])
        labels = as_counts(outcome.labels, [check.rule for check in recipe.checks])
        counted, windowed = rule_counts(plan, sets, labels), self._windowed.by_rule()
        for finds in self.sample.rules:
            totals = Counter[str]()
            for causes in counted[finds.name].splits.values():
                totals.update({str(cause): number for cause, number in causes.items()})
            if finds.name in windowed:
                own = windowed[finds.name]
                totals["rows"] = own.total("rows")
                totals.update(window=own.total("window"), narrow=own.total("narrow"))
            totals.pop("unmatched", None)
            finds.counts = totals
            finds.examples = {
                cause: one for cause, one in finds.examples.items() if cause == "matched" or totals[cause]
            }
        self.sample.dropped = +outcome.dropped


def _note_spans(finds: Finds, batch: TextBatch, locator: Locator, spans: Spans, named: bool) -> None:
    """Count the spans of a set in one batch, and what becomes of them."""
    parts = locator.parts
    kept = np.flatnonzero((parts.count > 0)[spans.record])
    spans = spans.take(kept)
    first, end, ragged = locator.find(spans)
    there = end > first
    record = spans.record
    start, stop = locator.content(record, first), locator.content(record, np.maximum(end, first + 1))
    cut = there & (parts.whole(record, start, stop) < 0)
    finds.records += len(np.unique(record))
    finds.counts["matched"] += len(spans)
    marks: Mapping[str, Ints] = {
        "matched": np.ones(len(spans), np.int64),
        "ragged": np.where(there, ragged, 0),
        "cut": cut.astype(np.int64),
        "between": (~there).astype(np.int64),
    }
    for cause, amount in marks.items():
        if cause != "matched":
            finds.counts[cause] += int(amount.sum())
        if amount.any() and cause not in finds.examples:
            finds.examples[cause] = of_span(batch, spans, int(np.flatnonzero(amount)[0]), named)


def _note_edges(finds: Finds, batch: TextBatch, query: Spans, key: Spans, edges: Edges, named: bool) -> None:
    """Examples of edges: the first, the first that points forward alone, a record with more than are kept."""
    ahead = key.start[edges.key] >= query.end[edges.query]
    for cause, chosen in (("matched", np.arange(len(edges.query))), ("forward", np.flatnonzero(ahead))):
        if len(chosen) and cause not in finds.examples:
            at = int(chosen[0])
            finds.examples[cause] = of_edge(batch, query, int(edges.query[at]), key, int(edges.key[at]), named)
    more = np.flatnonzero(edges.surplus)
    if len(more) and "surplus" not in finds.examples:
        finds.examples["surplus"] = of_record(batch, int(more[0]), named)


def _of_subject(batch: TextBatch, found: Iterable[Spans], record: int, named: bool) -> Example:
    """The first span that a rule is about in a record."""
    for spans in found:
        here = np.flatnonzero(spans.record == record)
        if len(here):
            return of_span(batch, spans, int(here[0]), named)
    return of_record(batch, record, named)
