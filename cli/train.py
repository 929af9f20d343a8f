"""`mcd train`: a model from scratch on a compiled dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..dsl.diagnostics import Failure
from ..runtime.dataset import load
from ..runtime.run import Log, claim, new_model, save, summary
from ..runtime.supervised import Supervised
from ..runtime.train import Settings, Sums, evaluate, train
from .devices import device_option
from .options import quiet_option
from .output import ExitCode, report


class Share(click.ParamType[float]):
    """`5%`, or `0.05`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            share = float(str(value).removesuffix("%")) / (100 if str(value).endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is no share: 5% or 0.05", param, ctx)
        return share


def _teachers(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    """Folders by the names of teachers."""
    found = {}
    for value in values:
        name, equal, folder = value.partition("=")
        if not equal or not name or not folder:
            raise click.BadParameter(f"{value!r} is no NAME=FOLDER")
        found[name] = Path(folder)
    return found


@click.command
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--config", required=True, type=click.Path(path_type=Path), help="A Hugging Face config.json.")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="OUT", help="Where the run goes."
)
@click.option("--steps", required=True, type=click.IntRange(1), help="Optimiser steps.")
@click.option("--batch-size", default=16, show_default=True, type=click.IntRange(1), help="Records per micro-batch.")
@click.option("--accumulate", default=1, show_default=True, type=click.IntRange(1), help="Micro-batches per step.")
@click.option("--lr", default=3e-4, show_default=True, type=click.FloatRange(0, min_open=True), help="Highest rate.")
@click.option("--warmup", default="5%", show_default=True, type=Share(), help="Share of the steps in which it rises.")
@click.option("--weight-decay", default=0.1, show_default=True, type=click.FloatRange(0), help="Of matrices.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of weights, order and dropout.")
@click.option("--split", default="train", show_default=True, help="The split to train on.")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    callback=_teachers,
    metavar="NAME=FOLDER",
    help="Where a teacher that runs along is, if not where the spec says; may stand several times.",
)
@device_option
@click.option("--without-rules", is_flag=True, help="The token loss alone: same model, records and order.")
@click.option("--log-every", default=10, show_default=True, type=click.IntRange(1), help="Steps between log entries.")
@click.option("--eval-every", default=0, type=click.IntRange(0), help="Steps between losses on the split `valid`.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in OUT.")
@quiet_option
@click.pass_context
def command(
    context: click.Context,
    /,
    directory: Path,
    config: Path,
    output: Path,
    split: str,
    device: Any,
    teachers: dict[str, Path],
    without_rules: bool,
    log_every: int,
    eval_every: int,
    overwrite: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train a model with random weights on the dataset in DIR, under the rules of its plan.

    Writes train.jsonl while it runs and, at the end, the model as transformers saves it, the probes and the receipts. A rule that
    does nothing stops the run. Exits with 0 where the run ended well, 1 where something is wrong, 2 on wrong usage.
    """
    dataset = load(directory, split=split)
    chosen = Settings(**settings)
    if without_rules:
        dataset = dataset.with_plan(dataset.plan.model_copy(update={"rules": ()}))
    valid = dataset.split("valid") if eval_every else None
    dataset.read_measures()
    model = new_model(config, dataset, chosen.seed, device)
    claim(output, overwrite)
    show = Progress(chosen.steps, quiet)
    log = Log(output / "train.jsonl", chosen, log_every, show)

    def watch(step: int, supervised: Supervised, sums: Sums, rate: float) -> None:
        log(step, supervised, sums, rate)
        if valid is not None and (step % eval_every == 0 or step == chosen.steps):
            time = step / chosen.steps
            log.write({"step": step, "split": "valid", **summary(supervised, evaluate(supervised, valid, time), time)})

    try:
        supervised = train(dataset, model, chosen, watch, teachers)
    except Failure as failure:
        show.end()
        context.exit(report(failure.diagnostics, err=True))
    finally:
        log.close()
    show.end()
    save(output, model, supervised)
    if not quiet:
        click.echo(receipts(supervised), nl=False)
        if claims := len(dataset.plan.claims):
            many = "1 claim" if claims == 1 else f"{claims} claims"
            click.echo(f"to decide {many} about the trained model: mcd evaluate {directory} --model {output}")
    context.exit(ExitCode.CLEAN)


class Progress:
    """Shows log entries: on a terminal one line that changes, elsewhere a line each."""

    def __init__(self, steps: int, quiet: bool) -> None:
        self._steps = steps
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._open = False

    def __call__(self, entry: dict[str, Any]) -> None:
        if self._quiet:
            return
        line = f"step {entry['step']}/{self._steps}  loss {entry['loss']:.4f}  token {entry['token']:.4f}"
        if "lr" in entry:
            line += f"  lr {entry['lr']:.2e}  {entry['step'] / max(entry['seconds'], 1e-9):.1f} steps/s"
        else:
            line = f"{entry['split']}: {line}"
        self._open = self._terminal and "lr" in entry
        click.echo(f"\r\x1b[K{line}" if self._terminal else line, nl=not self._open, err=True)

    def end(self) -> None:
        """Leave the line that changes."""
        if self._open:
            click.echo(err=True)
        self._open = False


def receipts(supervised: Supervised) -> str:
    """What every rule did, as a table."""
    found = supervised.receipts.all()
    width = max(4, *(len(receipt.rule) for receipt in found), 0)
    lines = []
    for receipt in found:
        last, mean = ("" if loss is None else f"{loss:.4f}" for loss in (receipt.last_loss, receipt.mean_loss))
        kept = "" if receipt.kept is None else f"kept {receipt.kept:,} of {receipt.ranked:,} ranked"
        lines.append(f"{receipt.rule:<{width}}  {receipt.rows:>10,}  {last:>9}  {mean:>9}  {kept}".rstrip())
    head = f"{'rule':<{width}}  {'rows':>10}  {'last loss':>9}  {'mean':>9}"
    conflict = supervised.flow.receipt().conflict
    table = [head, *lines] if lines else []
    if conflict is not None:
        table.append(f"rules pulled against the token loss in {conflict.opposed:,} of {conflict.steps:,} steps")
    return "".join(f"{line}\n" for line in table)
