"""`mcd inspect`: what a compiled dataset holds, or rows of it with their supervision."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click

from ..compiler.inspect.opened import Opened, open_dataset
from ..compiler.inspect.overview import overview
from ..compiler.inspect.pieces import Pieces, find_tokenizer
from ..compiler.inspect.report import Inspection
from ..compiler.inspect.rows import Query, find_rows
from .inspect_rows import rows_text
from .inspect_text import dataset_text
from .options import format_option
from .output import Counter, ExitCode, in_color

WITHOUT = "no file with the digest of the tokenizer was found: `--tokenizer FILE` names one"


class Rows(click.ParamType[range]):
    """`A..B`, both ends included, as in a spec."""

    name = "A..B"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> range:
        first, dots, last = str(value).partition("..")
        if not dots or not (first + last).isascii() or not first.isdigit() or not last.isdigit():
            self.fail(f"{value!r} is no range of rows: 10..20, say", param, ctx)
        if int(last) < int(first):
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return range(int(first), int(last) + 1)


@click.command
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--split", help="Look at this split alone.")
@click.option("--id", "ids", multiple=True, help="Show the rows of the record of this id; may stand several times.")
@click.option("--row", type=click.IntRange(0), metavar="N", help="Show a row by its number, from 0.")
@click.option("--rows", type=Rows(), help="Show rows by their numbers, the last one included.")
@click.option("--rule", help="Show rows in which this rule acts.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1), help="Show at most so many rows.")
@click.option("--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="The tokenizer of the shards.")
@click.option("--no-statistics", is_flag=True, help="Read the manifest and the plan alone, and no shard.")
@format_option("it is")
@click.pass_context
def command(
    context: click.Context,
    directory: Path,
    split: str | None,
    ids: tuple[str, ...],
    row: int | None,
    rows: range | None,
    rule: str | None,
    limit: int,
    tokenizer: Path | None,
    no_statistics: bool,
    format: str,
) -> None:
    """Print what the dataset in DIR holds: columns, splits, sources, rules, counts, and statistics of its rows.

    With --id, --row, --rows or --rule, print rows instead, each with its tokens and what supervises them. Rows are numbered from
    0 in the split that --split names, else over all splits in their order. A shard is held against its checksum before anything
    of it is shown. Exits with 0 where it ended well, 1 where something is wrong, 2 on wrong usage.
    """
    if row is not None and rows is not None:
        raise click.UsageError("`--row` and `--rows` are two ways to say one thing")
    opened = open_dataset(directory)
    numbers = rows if row is None else range(row, row + 1)
    if ids or rule is not None or numbers is not None:
        found = _rows(opened, Query(split, numbers, ids, rule), limit, tokenizer)
    else:
        show = Counter("shards", format == "json")
        found = Inspection(dataset=overview(opened, split, not no_statistics, show))
    if format == "json":
        click.echo(found.model_dump_json(indent=1))
    elif found.dataset is not None:
        click.echo(dataset_text(found.dataset), nl=False)
    else:
        click.echo(rows_text(found, opened.plan, in_color()), nl=False)
    context.exit(ExitCode.CLEAN)


def _rows(opened: Opened, query: Query, limit: int, tokenizer: Path | None) -> Inspection:
    file = find_tokenizer(opened, tokenizer)
    matching = find_rows(opened, query, None if file is None else Pieces(file))
    shown = tuple(islice(matching, limit))
    more = len(shown) == limit and next(matching, None) is not None
    return Inspection(rows=shown, more=more, without_text=WITHOUT if file is None else None)
