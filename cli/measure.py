"""`mcd measure`: a model run over compiled shards -> a number per token beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..compiler.files.measures import info_path
from ..dsl.codes.runtime import MEASURE_EXISTS
from ..dsl.diagnostics import Failure
from ..dsl.source import DataPlace
from ..dsl.vocabulary import names_measure
from ..runtime.dataset import Dataset, load
from ..runtime.measures import MEASURES
from ..runtime.measures.take import Taken, check_causal, take
from ..runtime.run import model_digest, saved_model
from .devices import device_option
from .options import quiet_option
from .output import Counter, ExitCode


@click.command
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--model", required=True, type=click.Path(path_type=Path), help="A folder that holds a saved model.")
@click.option("-o", "--output", "name", required=True, metavar="NAME", help='What `measure("NAME", ...)` calls it.')
@click.option(
    "--measure",
    "measures",
    multiple=True,
    type=click.Choice(list(MEASURES)),
    help="Which to take; may stand several times. All that can be taken, where it does not.",
)
@click.option("--reference", type=click.Path(path_type=Path), help="A second model's folder, for excess_loss.")
@click.option("--batch-size", default=8, show_default=True, type=click.IntRange(1), help="Rows at a time.")
@device_option
@click.option("--overwrite", is_flag=True, help="Replace a measure of that name.")
@quiet_option
@click.pass_context
def command(
    context: click.Context,
    directory: Path,
    model: Path,
    name: str,
    measures: tuple[str, ...],
    reference: Path | None,
    batch_size: int,
    device: Any,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Run a saved model over every row of the dataset in DIR and write a number per token, as measures/NAME.arrow in DIR.

    loss is -log p(token), entropy that of the distribution which predicts it, excess_loss the loss in the model less that in the
    reference; all in nats. A spec reads them as `measure("NAME", loss)`. Exits with 0 where it ended well, 1 where something is
    wrong, 2 on wrong usage.
    """
    chosen = _chosen(measures, reference is not None)
    if not names_measure(name):
        raise click.BadParameter(f"{name!r} cannot name a file: letters, digits, _, - and . can", param_hint="'-o'")
    dataset = load(directory)
    check_causal(dataset)
    _check_free(dataset, name, overwrite)
    models = [saved_model(path, dataset, device) for path in (model, reference) if path is not None]
    columns = {measure: _made_with(measure, model, reference) for measure in chosen}
    show = Counter("rows", quiet)
    second = models[1] if len(models) > 1 else None
    taken = take(dataset, name, columns, models[0], second, batch_size=batch_size, report=show)
    if not quiet:
        click.echo(summary(directory, name, taken), nl=False)
    context.exit(ExitCode.CLEAN)


def _chosen(measures: tuple[str, ...], compares: bool) -> tuple[str, ...]:
    """The measures to take, in the order of the table. Fails where one lacks its reference, or a reference its measure."""
    chosen = tuple(name for name in MEASURES if name in measures or not measures)
    if not measures and not compares:
        return tuple(name for name in chosen if not MEASURES[name].reference)
    comparing = [name for name in chosen if MEASURES[name].reference]
    if comparing and not compares:
        raise click.UsageError(f"`{comparing[0]}` compares with a second model: give `--reference`")
    if compares and not comparing:
        raise click.UsageError("`--reference` is for `excess_loss`, which `--measure` leaves out")
    return chosen


def _check_free(dataset: Dataset, name: str, overwrite: bool) -> None:
    if (dataset.path / info_path(name)).exists() and not overwrite:
        message = f"`{dataset.path.name}` has a measure `{name}`"
        place = DataPlace(str(dataset.path / info_path(name)))
        raise Failure(MEASURE_EXISTS.at(place, message, help="`--overwrite` replaces it"))


def _made_with(measure: str, model: Path, reference: Path | None) -> str:
    made = f"{measure} of model {model_digest(model)}"
    return f"{made} over {model_digest(reference)}" if MEASURES[measure].reference and reference is not None else made


def summary(directory: Path, name: str, taken: dict[str, Taken]) -> str:
    """What was written, and the mean of each measure over the tokens that have it."""
    width = max(len(column) for column in taken)
    lines = [f"{column:<{width}}  {found.tokens:>12,} tokens  mean {found.mean:.4f}" for column, found in taken.items()]
    return f"{directory}: measure {name}\n" + "".join(f"  {line}\n" for line in lines)
