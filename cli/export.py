"""`mcd export`: a compiled dataset -> Parquet, with a dataset card and Croissant metadata."""

from __future__ import annotations

from pathlib import Path

import click

from ..compiler.export.export import export
from ..compiler.inspect.opened import open_dataset
from .options import quiet_option
from .output import Counter, ExitCode


@click.command
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="OUT", help="Where it goes.")
@click.option(
    "--license", help="An identifier of a licence, for the card and the metadata, which name none without it."
)
@click.option("--overwrite", is_flag=True, help="Replace an export.")
@quiet_option
@click.pass_context
def command(
    context: click.Context, directory: Path, output: Path, license: str | None, overwrite: bool, quiet: bool
) -> None:
    """Write the dataset in DIR to OUT as Parquet, with a dataset card for the Hugging Face Hub and Croissant metadata.

    OUT appears complete or not at all. Every file of DIR is held against its checksum first. Training reads DIR, and not an
    export. Exits with 0 where it ended well, 1 where something is wrong, 2 on wrong usage.
    """
    opened = open_dataset(directory)
    contents = export(opened, output, license, overwrite, Counter("shards", quiet))
    if not quiet:
        size = sum(file.entry.bytes for file in contents.files)
        rows = ", ".join(f"{split} {contents.rows(split):,} rows" for split in contents.splits)
        click.echo(f"{output}: {len(contents.files):,} Parquet files, {size:,} bytes; {rows}")
    context.exit(ExitCode.CLEAN)
