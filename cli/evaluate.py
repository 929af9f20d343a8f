"""`mcd evaluate`: what a trained model comes to under its spec, beside the untrained one, and whether the spec's claims hold."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..compiler.columns import in_columns
from ..runtime.batch import Batch
from ..runtime.checkpoint import trained, untrained
from ..runtime.claims import TRAINED, UNTRAINED, Decision, decide
from ..runtime.dataset import Dataset, load
from ..runtime.evaluate import Score, Scores, in_batches, scores_of
from ..runtime.run import plain
from ..runtime.supervised import Supervised
from .devices import device_option
from .options import format_option, quiet_option
from .output import ExitCode, report

JSON_VERSION = 1


class Other(click.ParamType[tuple[str, Path]]):
    """`NAME=DIR`."""

    name = "name=dir"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        name, equals, path = str(value).partition("=")
        if not (name and equals and path):
            self.fail(f"{value!r} is no run: off=runs/off, say", param, ctx)
        if name in (TRAINED, UNTRAINED):
            self.fail(f"`{name}` is a run of every evaluation: choose another name", param, ctx)
        return name, Path(path)


@click.command
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--model", required=True, type=click.Path(path_type=Path), metavar="RUN", help="A run, as `mcd train` left it."
)
@click.option(
    "--split", default="valid", show_default=True, help="The split to measure; claims have their own as well."
)
@click.option(
    "--over", "others", multiple=True, type=Other(), help="Another run, which `gain(..., over: NAME)` compares."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the untrained model's weights.")
@click.option("--batch-size", default=16, show_default=True, type=click.IntRange(1), help="Records at a time.")
@device_option
@format_option("it is")
@quiet_option
@click.pass_context
def command(
    context: click.Context,
    directory: Path,
    model: Path,
    split: str,
    others: tuple[tuple[str, Path], ...],
    seed: int,
    batch_size: int,
    device: Any,
    format: str,
    quiet: bool,
) -> None:
    """Measure a trained model on the dataset in DIR: the metrics of every rule, beside those of the untrained model.

    Then every `expect trained` of the spec is decided. Exits with 0 where all of them hold, with 1 where one fails or cannot be
    decided, with 2 on wrong usage.
    """
    dataset = load(directory, split=split)
    splits = tuple(dict.fromkeys([split, *(claim.of for claim in dataset.plan.claims)]))
    found: dict[str, dict[str, Scores]] = {name: {} for name in splits}
    show = Progress(quiet)
    for name, run in _runs(model, others, dataset, seed, device):
        with run as supervised:
            rows = dataset.with_plan(supervised.plan)
            for each in splits:
                mine = rows.split(each)
                found[each][name] = scores_of(
                    supervised, show(f"{name}, {each}", in_batches(mine, batch_size), len(mine))
                )
    decisions = [decide(claim, found) for claim in dataset.plan.claims]
    if format == "json":
        entry = as_json(directory, model, seed, found, decisions)
        click.echo(json.dumps(plain(entry), indent=1, ensure_ascii=False))
    elif not quiet:
        click.echo("\n".join([*(table(name, runs) for name, runs in found.items()), *_claims(decisions)]))
    failures = [finding for decision in decisions if (finding := decision.diagnostic()) is not None]
    if failures and format == "text":
        report(failures, err=True)
    context.exit(ExitCode.FINDINGS if failures else ExitCode.CLEAN)


def _runs(
    model: Path, others: Iterable[tuple[str, Path]], dataset: Dataset, seed: int, device: Any
) -> Iterator[tuple[str, Supervised]]:
    """Every model to measure with its name, loaded when it is asked for."""
    yield TRAINED, trained(model, dataset, seed, device)
    yield UNTRAINED, untrained(model, dataset, seed, device)
    for name, path in others:
        yield name, trained(path, dataset, seed, device)


class Progress:
    """Counts records on a terminal, and says nothing elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._shown = sys.stderr.isatty() and not quiet

    def __call__(self, what: str, batches: Iterable[Batch], total: int) -> Iterator[Batch]:
        done = 0
        for batch in batches:
            yield batch
            done += len(batch.ids)
            if self._shown:
                click.echo(f"\r\x1b[K{what}: {done:,} of {total:,} records", nl=done == total, err=True)


# --- text ------------------------------------------------------------------------------------------------------------


def table(split: str, runs: Mapping[str, Scores]) -> str:
    """Every metric of every run on a split, a column per run; `-` where a run cannot answer, or nothing counts."""
    first = runs[UNTRAINED]
    rows = [["", "", "rows", *runs]]
    rows += [
        [name, "", f"{first.tokens:,}", *(_shown(run.model[name]) for run in runs.values())] for name in first.model
    ]
    for rule, scores in first.rules.items():
        for number, metric in enumerate(scores.metrics):
            head = [rule, metric, f"{scores.rows:,}"] if number == 0 else ["", metric, ""]
            rows.append([*head, *(_shown(_metric(run, rule, metric)) for run in runs.values())])
    records = "1 record" if first.records == 1 else f"{first.records:,} records"
    return "\n".join([f"{split}: {records}", *(f"  {line}" for line in in_columns(rows, right=range(2, len(rows[0]))))])


def _metric(run: Scores, rule: str, metric: str) -> Score | None:
    scores = run.rules.get(rule)
    return None if scores is None else scores.metrics[metric]


def _shown(score: Score | None) -> str:
    return "-" if score is None or score.value is None else f"{score.value:.4f}"


def _claims(decisions: Sequence[Decision]) -> Iterator[str]:
    if decisions:
        yield "claims"
    for decision in decisions:
        claim = decision.claim
        word = "open" if decision.open else "holds" if decision.holds else "fails"
        number = "" if decision.found is None else f": found {decision.found:.4g}"
        yield f"  {word:<5}  {claim.subject} {claim.op} {claim.bound:g}{number}  ({claim.line.file}:{claim.line.line})"


# --- JSON ------------------------------------------------------------------------------------------------------------


def as_json(
    directory: Path,
    model: Path,
    seed: int,
    found: Mapping[str, Mapping[str, Scores]],
    decisions: Sequence[Decision],
) -> dict[str, object]:
    """The whole evaluation; its form is in docs/evaluate.md."""
    return {
        "version": JSON_VERSION,
        "dataset": str(directory),
        "model": str(model),
        "seed": seed,
        "splits": {split: {name: asdict(scores) for name, scores in runs.items()} for split, runs in found.items()},
        "claims": [
            {
                **decision.claim.model_dump(exclude={"line"}),
                "line": decision.claim.line.model_dump(),
                "found": decision.found,
                "holds": None if decision.open else decision.holds,
                "open": decision.open,
            }
            for decision in decisions
        ],
    }
