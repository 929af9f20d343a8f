"""`mcd explain`: what a code means, why, and how a spec that gives it is mended."""

from __future__ import annotations

import json
import shutil
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from ..dsl.check import check
from ..dsl.codes import CODES, MODULES
from ..dsl.diagnostics import Code, did_you_mean
from ..dsl.explain import SPEC, Block, Example, Page, page
from ..dsl.render import render_text
from .options import format_option
from .output import ExitCode, in_color

WIDTH = 88
"""Columns of text at most."""

VERSION = 1
"""Of the JSON."""


@click.command
@click.argument("names", nargs=-1, metavar="[CODE]...")
@format_option("it is")
@click.pass_context
def command(context: click.Context, names: tuple[str, ...], format: str) -> None:
    """Tell what a code means and why, with an example that gives it and one that does not.

    CODE is a number (MCD407, or 407) or a name (no-such-layer). Without one, all codes are listed. Exits with 0, or with 2 where
    there is no such code.
    """
    found = [code for name in names for code in _codes(name)]
    if format == "json":
        click.echo(_json(found or CODES.values(), pages=bool(found)), nl=False)
    elif found:
        shown = "\n\n".join("\n".join(_page(code, page(code.id))) for code in dict.fromkeys(found))
        click.echo(shown, color=in_color())
    else:
        click.echo("\n".join(_list()), color=in_color())
    context.exit(ExitCode.CLEAN)


def _codes(name: str) -> list[Code]:
    """The code of a number, or those of a name: a name may stand in two hundreds. `name` is read in any case."""
    found = [code for code in CODES.values() if name.lower() in (code.id.lower(), code.id[3:], code.name)]
    if not found:
        known = [text for code in CODES.values() for text in (code.id, code.name)]
        near = did_you_mean(name.upper(), known) or did_you_mean(name.lower(), known)
        raise click.UsageError(f"no code `{name}`; {near or '`mcd explain` lists all'}")
    return found


# --- text ------------------------------------------------------------------------------------------------------------


def _list() -> Iterator[str]:
    for module in MODULES:
        yield click.style((module.__doc__ or "").rstrip("."), bold=True)
        for code in sorted(
            (code for code in vars(module).values() if isinstance(code, Code)), key=lambda code: code.id
        ):
            yield from _wrapped(f"{code.name}: {code.summary}", f"  {code.id}  ", " " * 10)
        yield ""
    yield "`mcd explain CODE` tells more."


def _page(code: Code, told: Page) -> Iterator[str]:
    yield from _wrapped(f"{code.id} {code.name}: {code.summary}", style=True)
    yield ""
    for title, paragraphs in (("What it means", told.meaning), ("Why it is so", told.why)):
        yield click.style(title, bold=True)
        yield from _paragraphs(paragraphs)
    failing = told.failing
    yield click.style(f"This gives {code.id}", bold=True)
    yield from _example(failing)
    yield from _indented(printed(failing, in_color()) or "")
    yield click.style("This does not", bold=True)
    yield from _example(told.fixed)


def _paragraphs(paragraphs: Iterable[str]) -> Iterator[str]:
    for paragraph in paragraphs:
        yield from _wrapped(paragraph, "  ", "  ")
        yield ""


def _example(example: Example) -> Iterator[str]:
    for piece in example.pieces:
        if isinstance(piece, str):
            yield from _paragraphs([piece])
        elif not piece.is_printed:
            yield from _block(piece)


def _block(block: Block) -> Iterator[str]:
    if block.file is not None:
        yield f"  {block.file}:"
    yield from _indented(
        "".join(f"$ {line}\n" for line in block.text.splitlines()) if block.language == "sh" else block.text
    )


def _indented(text: str) -> Iterator[str]:
    if text:
        yield from (f"    {line}".rstrip() for line in text.rstrip("\n").split("\n"))
        yield ""


def _wrapped(text: str, first: str = "", rest: str = "", *, style: bool = False) -> Iterator[str]:
    width = min(WIDTH, max(shutil.get_terminal_size().columns, 40))
    for line in textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    ):
        yield click.style(line, bold=True) if style else line


def printed(example: Example, color: bool = False) -> str | None:
    """What is printed where an example is run: for a check, by checking it; else as its page has it, if it has."""
    if not example.is_check:
        return example.printed
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "project")  # findings may tell the name of the root
        for file, text in example.files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        return render_text(check(folder / SPEC)[1].items, color)


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json(codes: Iterable[Code], *, pages: bool) -> str:
    found = {"version": VERSION, "codes": [_entry(code, page(code.id) if pages else None) for code in codes]}
    return json.dumps(found, indent=2, ensure_ascii=True) + "\n"


def _entry(code: Code, told: Page | None) -> dict[str, Any]:
    """Paragraphs are Markdown; `files` are all files of an example, those included that its page does not show."""
    entry = {"code": code.id, "name": code.name, "severity": code.severity.value, "summary": code.summary}
    if told is None:
        return entry
    examples = {"failing": _json_example(told.failing), "fixed": _json_example(told.fixed)}
    return {**entry, "meaning": list(told.meaning), "why": list(told.why), **examples}


def _json_example(example: Example) -> dict[str, Any]:
    return {
        "pieces": [piece if isinstance(piece, str) else _json_block(piece) for piece in example.pieces],
        "files": dict(example.files),
        "steps": [_json_block(step) for step in example.steps],
    }


def _json_block(block: Block) -> dict[str, Any]:
    return {"language": block.language, "file": block.file, "text": block.text}
