"""`mcd init`: a new project that checks, compiles and trains as it is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from .output import ExitCode
from .starter.stories import stories, tokenizer

COPIED = {
    "mcd.toml": "mcd.toml",
    "spec.mcd": "spec.mcd",
    "config.json": "config.json",
    "README.md": "README.md",
    "gitignore": ".gitignore",
}
"""File of the package -> its name in the project."""

STORIES = "data/stories.jsonl"
TOKENIZER = "tokenizer.json"


@click.command
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path(), metavar="[DIR]")
@click.pass_context
def command(context: click.Context, directory: Path) -> None:
    """Lay out a new project in DIR (here, without one): a spec, its data, a small model and its tokenizer.

    Nothing that is there is written over: where a file of that name exists, nothing is written at all. Exits with 2 then.
    """
    names = [*COPIED.values(), STORIES, TOKENIZER]
    there = [name for name in names if (directory / name).exists()]
    if there:
        click.echo(f"error: {directory / there[0]} is there already; nothing was written", err=True)
        context.exit(ExitCode.USAGE)
    (directory / STORIES).parent.mkdir(parents=True, exist_ok=True)
    for source, name in COPIED.items():
        (directory / name).write_bytes(files(f"{__package__}.starter").joinpath(source).read_bytes())
    (directory / STORIES).write_text("".join(stories()), encoding="utf-8", newline="\n")
    (directory / TOKENIZER).write_text(tokenizer().to_str(pretty=True) + "\n", encoding="utf-8", newline="\n")
    for name in names:
        click.echo(f"wrote {directory / name}")
    click.echo(f"next: cd {directory} && mcd check spec.mcd && mcd compile spec.mcd -o out")
