"""`mcd fmt`: specs in their one form."""

from __future__ import annotations

import difflib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import click

from ..dsl.codes.syntax import UNWRITABLE
from ..dsl.diagnostics import Failure, Findings
from ..dsl.format import format_source
from ..dsl.limits import MAX_BYTES
from ..dsl.parse import decode_source, read_source
from ..dsl.source import DataPlace, SourceText
from .output import ExitCode, report

STDIN = Path("-")
SUFFIX = ".mcd"


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
    for path in _files(paths):
        try:
            source = _read(path, stdin_filename)
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


def _read(path: Path, stdin_filename: str) -> SourceText:
    if path == STDIN:
        return decode_source(sys.stdin.buffer.read(MAX_BYTES + 1), stdin_filename)
    return read_source(path, str(path))


def _change(path: Path, source: SourceText, text: str, check: bool, diff: bool) -> None:
    """Write `text` to the file, or tell what would become of it."""
    if diff:
        click.echo(_difference(source, text), nl=False)
    if check:
        click.echo(f"would format {source.path}")
    if not (check or diff):
        _write(path, text)
        click.echo(f"formatted {source.path}")


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Files that were named or are below a folder that was, each once. Hidden folders and links to folders are passed over."""
    seen: set[Path] = set()
    for path in paths:
        for file in _below(path) if path.is_dir() else (path,):
            real = Path(os.path.realpath(file))
            if real not in seen:
                seen.add(real)
                yield file


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files) if name.endswith(SUFFIX))


def _difference(source: SourceText, text: str) -> str:
    lines = difflib.unified_diff(_lines(source.text), _lines(text), source.path, source.path)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Lines with their ends, as `\\n` alone ends them."""
    *lines, last = text.split("\n")
    return [*(f"{line}\n" for line in lines), *([last] if last else [])]


def _write(path: Path, text: str) -> None:
    """Replace a file by `text`, whole or not at all. Its mode stays, and a link goes on to lead to it."""
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(text.encode("utf-8"))
        temporary.chmod(target.stat().st_mode)
        temporary.replace(target)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        message = f"cannot write `{path}`: {error.strerror or error}"
        raise Failure(UNWRITABLE.at(DataPlace(str(path)), message)) from None
