"""`mcd fmt`: specs in their one form."""

from __future__ import annotations

from pathlib import Path

import click

from ..dsl.diagnostics import Failure, Findings
from ..dsl.format import format_source
from ..dsl.source import SourceText
from .files import STDIN, difference, read_spec, spec_files, write_file
from .output import ExitCode, report


@click.command
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; name what would change, and exit with 1 if anything would.")
@click.option("--diff", is_flag=True, help="Write nothing; print the differences, and exit with 1 if there are any.")
@click.option("--stdin-filename", default="<stdin>", metavar="NAME", help="What findings call standard input.")
@click.pass_context
def command(context: click.Context, paths: tuple[Path, ...], check: bool, diff: bool, stdin_filename: str) -> None:
    """Format specs: files, and every *.mcd below folders. `-` reads standard input and prints the result.

    A file with syntax errors is left as it is, and they are printed on standard error. Exits with 0 where there are none, 1 where
    there are (and where --check or --diff found something to do), 2 on wrong usage.
    """
    if STDIN in paths and len(paths) > 1:
        raise click.UsageError("`-` stands alone, since its result goes to standard output")
    findings, changes = Findings(), 0
    for path in spec_files(paths):
        try:
            source = read_spec(path, stdin_filename)
            text = format_source(source, findings)
            if path == STDIN and text is not None and not (check or diff):
                click.echo(text.encode(), nl=False)
            elif text is not None and text != source.text:
                changes += 1
                _change(path, source, text, check, diff)
        except Failure as failure:
            findings.items.extend(failure.diagnostics)
    code = report(findings.items, err=True)
    context.exit(ExitCode.FINDINGS if changes and (check or diff) else code)


def _change(path: Path, source: SourceText, text: str, check: bool, diff: bool) -> None:
    """Write `text` to the file, or tell what would become of it."""
    if diff:
        click.echo(difference(source.path, source.text, text), nl=False)
    if check:
        click.echo(f"would format {source.path}")
    if not (check or diff):
        write_file(path, text)
        click.echo(f"formatted {source.path}")
