"""`mcd check --data`: what specs find in a few records of their sources, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..compiler.account import WORDS
from ..compiler.sample.examples import Example
from ..compiler.sample.sample import Finds, Sample, not_seen, sample
from ..dsl import checked as c
from ..dsl.diagnostics import Diagnostic, Failure
from ..dsl.render import visible

LOST: Mapping[str, str] = {
    **{str(cause): words for cause, words in WORDS.items()},
    "narrow": "outside the window of some layers of the rule",
    "ragged": "edges inside a token",
}
"""What becomes of spans and edges, in words."""
SHOWN = 40
"""Spans and rules that are shown one by one; the others that lost nothing are counted."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A program and its sample."""

    program: c.Program
    sample: Sample


def sampled(programs: Iterable[c.Program], count: int) -> tuple[list[Sampled], list[Diagnostic]]:
    """Samples of programs with `count` records of each source, and what they bring up."""
    found: list[Sampled] = []
    diagnostics: list[Diagnostic] = []
    for program in programs:
        try:
            one = sample(program, count)
        except Failure as failure:
            diagnostics += failure.diagnostics
            continue
        found.append(Sampled(program, one))
        diagnostics += not_seen(program, one)
    return found, diagnostics


# --- text ------------------------------------------------------------------------------------------------------------


def text(found: Iterable[Sampled]) -> str:
    """A table of spans and one of rules for each program, each loss with its example."""
    return "".join(f"{line}\n" for one in found for line in _lines(one))


def _lines(one: Sampled) -> Iterator[str]:
    taken = one.sample
    sources = ", ".join(f"{count:,} of `{name}`" for name, count in taken.records.items())
    yield f"{visible(one.program.path)}: looked at {sources or 'no records'}, {taken.tokens:,} tokens"
    for cause, count in sorted(taken.dropped.items()):
        yield f"  {count:,} dropped: {cause}"
    yield from _table("span", taken.spans)
    yield from _table("rule", taken.rules)
    yield ""


def _table(head: str, found: list[Finds]) -> Iterator[str]:
    if not found:
        return
    shown = [finds for at, finds in enumerate(found) if at < SHOWN or _losses(finds)]
    width = max(len(head), *(len(visible(finds.name)) for finds in shown), 0)
    yield f"  {head:<{width}}  {'records':>9}  {'matched':>9}"
    for finds in shown:
        yield f"  {visible(finds.name):<{width}}  {finds.records:>9,}  {finds.counts['matched']:>9,}"
        for cause, count in _losses(finds).items():
            yield f"    {cause}: {count:,} {LOST[cause]}"
            if cause in finds.examples:
                example = finds.examples[cause]
                yield f"      {visible(example.record)}: {visible(example.text)}"
    if len(found) > len(shown):
        yield f"  and {len(found) - len(shown):,} more that lost nothing"


def _losses(finds: Finds) -> Mapping[str, int]:
    return {cause: finds.counts[cause] for cause in LOST if finds.counts[cause]}


# --- JSON ------------------------------------------------------------------------------------------------------------


def as_json(found: Iterable[Sampled]) -> list[dict[str, Any]]:
    """What docs/schema/check.json describes as `data`."""
    return [
        {
            "path": one.program.path,
            "records": dict(one.sample.records),
            "tokens": one.sample.tokens,
            "dropped": dict(sorted(one.sample.dropped.items())),
            "spans": [_finds(finds) for finds in one.sample.spans],
            "rules": [_finds(finds) for finds in one.sample.rules],
        }
        for one in found
    ]


def _finds(finds: Finds) -> dict[str, Any]:
    return {
        "name": finds.name,
        "records": finds.records,
        "counts": {cause: count for cause, count in sorted(finds.counts.items()) if count or cause == "matched"},
        "examples": {cause: _example(example) for cause, example in sorted(finds.examples.items())},
    }


def _example(example: Example) -> dict[str, Any]:
    return {"record": example.record, "path": example.place.path, "line": example.place.line, "text": example.text}
