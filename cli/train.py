"""`mcd train`: a model from scratch on a compiled dataset."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from ..dsl.diagnostics import Failure
from ..runtime.train import Settings
from ..runtime.training import checkpoints
from ..runtime.training.job import Every, Interrupted, Job
from ..runtime.training.loop import Mode
from ..runtime.training.processes import Place, first_that_failed, local_device, meeting, together
from ..runtime.training.setup import Asked, begin
from .devices import device_option
from .options import quiet_option
from .output import ExitCode, report
from .train_table import Table, summary


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


_Option = Callable[[Callable[..., None]], Callable[..., None]]


def _steps(name: str, default: int, help: str) -> _Option:
    return click.option(name, default=default, show_default=True, type=click.IntRange(0), help=help)


SETTINGS: Sequence[_Option] = (
    click.option("--steps", required=True, type=click.IntRange(1), help="Optimiser steps."),
    click.option(
        "--batch-size", default=16, show_default=True, type=click.IntRange(1), help="Records per micro-batch."
    ),
    click.option("--accumulate", default=1, show_default=True, type=click.IntRange(1), help="Micro-batches per step."),
    click.option(
        "--lr", default=3e-4, show_default=True, type=click.FloatRange(0, min_open=True), help="Highest rate."
    ),
    click.option(
        "--warmup", default="5%", show_default=True, type=Share(), help="Share of the steps in which it rises."
    ),
    click.option("--weight-decay", default=0.1, show_default=True, type=click.FloatRange(0), help="Of matrices."),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of weights, order and dropout."),
)
MODE: Sequence[_Option] = (
    click.option(
        "--precision",
        default="float32",
        show_default=True,
        type=click.Choice(["float32", "bf16", "fp16"]),
        help="Of the model's passes, by autocast. fp16 needs a GPU.",
    ),
    click.option("--compile", "compile", is_flag=True, help="Compile the model's blocks, one by one."),
    click.option("--checkpointing", is_flag=True, help="Keep less for the backward pass, and compute it again."),
    click.option(
        "--workers", default=0, show_default=True, type=click.IntRange(0), help="Processes that make batches ahead."
    ),
    _steps("--inspect-every", 50, "Steps between inspections of each rule's gradient; 0: none."),
)
EVERY: Sequence[_Option] = (
    click.option(
        "--log-every", default=10, show_default=True, type=click.IntRange(1), help="Steps between log entries."
    ),
    _steps("--eval-every", 0, "Steps between losses on the split `valid`; 0: none."),
    _steps("--save-every", 0, "Steps between checkpoints; 0: none, but for that of Ctrl-C."),
    click.option("--keep", default=3, show_default=True, type=click.IntRange(1), help="Checkpoints that are kept."),
    click.option("--keep-best", is_flag=True, help="Keep the model with the lowest token loss on `valid` in OUT/best."),
)
LOGS: Sequence[_Option] = (
    click.option("--tensorboard", is_flag=True, help="Write event files into OUT/tensorboard."),
    click.option("--wandb", metavar="PROJECT", help="Log to this project of Weights & Biases."),
)


def _all_of(*groups: Sequence[_Option]) -> _Option:
    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


@click.command
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--config", required=True, type=click.Path(path_type=Path), help="A Hugging Face config.json.")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="OUT", help="Where the run goes."
)
@_all_of(SETTINGS)
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
@_all_of(MODE, EVERY, LOGS)
@click.option("--resume", is_flag=True, help="Go on from the newest whole checkpoint in OUT.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in OUT.")
@quiet_option
@click.pass_context
def command(context: click.Context, /, quiet: bool, **given: Any) -> None:
    """Train a model with random weights on the dataset in DIR, under the rules of its plan.

    Writes train.jsonl while it runs and, at the end, the model as transformers saves it, the probes, the receipts and a summary.
    A rule that does nothing stops the run, and one that fights the token loss is named at its end.

    Ctrl-C ends the step that is under way and writes a checkpoint. With `--resume` the same command goes on from the newest
    one, as if nothing had stopped it.

    On several GPUs or machines: `torchrun --nproc-per-node 2 -m mcd train DIR ...`. Each process takes a micro-batch of its own.

    Exits with 0 where the run ended well, 1 where something is wrong, 2 on wrong usage, 130 after Ctrl-C.
    """
    asked = _asked(given)
    with meeting(asked.device) as place:
        code = _run(asked, place, quiet)
        if code:
            # From within: the ranks that are left are not waited for.
            context.exit(code)


def _asked(given: dict[str, Any]) -> Asked:
    """The run that options describe."""
    if given["keep_best"] and not given["eval_every"]:
        raise click.UsageError("--keep-best needs --eval-every")
    if given["resume"] and given["overwrite"]:
        raise click.UsageError("--resume goes on with a run, --overwrite replaces it: give one of them")
    names = ("directory", "config", "output", "split", "teachers", "log_every", "tensorboard", "wandb")
    return Asked(
        **{name: given[name] for name in names},
        device=local_device(given["device"]),
        rules=not given["without_rules"],
        settings=Settings(**{f.name: given[f.name] for f in fields(Settings) if f.name in given}),
        mode=Mode(**{f.name: given[f.name] for f in fields(Mode)}),
        every=Every(given["eval_every"], given["save_every"], given["keep"], given["keep_best"]),
        resume=given["resume"],
        overwrite=given["overwrite"],
    )


def _run(asked: Asked, place: Place, quiet: bool) -> int:
    """Train, and say how to exit."""
    quiet = quiet or not place.first
    show = Table(asked.settings.steps, quiet)
    job = None
    try:
        with together(place):
            job = _begun(asked, place, show, quiet)
            if job is None:
                return ExitCode.FINDINGS
            job.go()
    except Failure as failure:
        show.close()
        return _failed(failure, asked, place)
    except Interrupted as stopped:
        show.close()
        if place.first:
            name = signal.Signals(stopped.signal).name
            click.echo(
                f"{name}: stopped after a step; the same command with --resume goes on from {stopped.path}", err=True
            )
        return 128 + stopped.signal
    finally:
        if job is not None:
            job.log.close()
            job.training.feed.close()
    if place.first:
        _end(job, asked, quiet)
    return ExitCode.CLEAN


def _begun(asked: Asked, place: Place, show: Table, quiet: bool) -> Job | None:
    """The run, if every rank has one. The first that has none says why."""
    failure, job = None, None
    try:
        job, said = begin(asked, place, [show])
    except Failure as found:
        failure = found
    first = first_that_failed(failure is not None, place)
    if failure is not None and first == place.rank:
        raise failure
    if first is not None:
        return None
    if not quiet:
        for line in said:
            click.echo(line, err=True)
    return job


def _failed(failure: Failure, asked: Asked, place: Place) -> int:
    """Print a failure, and from where the run can go on."""
    if place.ranks > 1:
        click.echo(f"rank {place.rank}:", err=True)
    code = report(failure.diagnostics, err=True)
    with suppress(Failure):
        path, state, _ = checkpoints.newest(asked.output)
        click.echo(
            f"the last checkpoint is whole: with --resume a run goes on from {path}, after step {state.step}", err=True
        )
    return code


def _end(job: Job, asked: Asked, quiet: bool) -> None:
    """Write what the run came to, and print it."""
    found = job.finish()
    if quiet:
        return
    supervised = job.training.supervised
    click.echo(summary(found, supervised, job.log.total, job.log.seconds, asked.output), nl=False)
    if claims := len(supervised.plan.claims):
        many = "1 claim" if claims == 1 else f"{claims} claims"
        click.echo(f"to decide {many} about the trained model: mcd evaluate {asked.directory} --model {asked.output}")
