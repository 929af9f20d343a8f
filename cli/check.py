"""`mcd check`: what is wrong with specs, and what is dubious, without touching their data more than asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from ..dsl.diagnostics import Diagnostic, Failure, Findings
from ..dsl.lint.baseline import compared, written
from ..dsl.lint.project import Level, read_project, resolve
from ..dsl.lint.sweep import Swept, Wanted, repair, sweep
from ..dsl.load import find_root
from .files import STDIN, difference, read_spec, spec_files, write_file
from .options import model_option, settings_option
from .output import FORMATS, Context, ExitCode, rendered, report

UNSEEN = frozenset({"MCD350", "MCD351"})
"""Findings that only the data shows."""
RECORDS = 200
"""How many records of each source `--data` looks at."""


class WarningName(click.ParamType[str]):
    """The id or the name of a warning."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        _, wrong = resolve(str(value), "allow")
        if wrong is not None:
            self.fail("; ".join(filter(None, [wrong.message, wrong.help])), param, ctx)
        return str(value)


@dataclass(frozen=True, slots=True)
class Options:
    """How findings are shown, and what is done besides."""

    format: str
    output: Path | None
    baseline: Path | None
    write_baseline: bool
    fix: bool
    diff: bool
    data: int | None


class Command(click.Command):
    """A command whose `--data` may stand without its number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments with the number that is meant where none follows."""
        after = [*args[1:], ""]
        full = [
            f"{arg}={RECORDS}" if arg == "--data" and not follows.isdigit() else arg
            for arg, follows in zip(args, after, strict=True)
        ]
        return super().parse_args(ctx, full)


@click.command(cls=Command)
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=click.Path(path_type=Path))
@click.option(
    "--format", type=click.Choice(FORMATS), default="text", show_default=True, help="How findings are printed."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where they go instead of the terminal."
)
@click.option("-W", "--warn-as-error", "strict", is_flag=True, help="Every warning that is not allowed is an error.")
@click.option("--error", multiple=True, type=WarningName(), metavar="NAME", help="This warning is an error.")
@click.option("--allow", multiple=True, type=WarningName(), metavar="NAME", help="This warning is not reported.")
@click.option("--baseline", type=click.Path(path_type=Path), metavar="FILE", help="Warnings in FILE are not reported.")
@click.option("--write-baseline", is_flag=True, help="Write the warnings that there are to the baseline.")
@click.option("--fix", is_flag=True, help="Make the fixes that are certain, in the specs that are named.")
@click.option("--diff", is_flag=True, help="With --fix: print what it would change, and write nothing.")
@click.option(
    "--data",
    type=click.IntRange(1),
    metavar="[N]",
    help="Also look at N records of each source (200 without a number): what spans and rules find there, and lose.",
)
@click.option("--stdin-filename", default="<stdin>", metavar="NAME", help="What `-`, standard input, is taken for.")
@model_option
@settings_option
@click.pass_context
def command(
    context: click.Context,
    /,
    specs: tuple[Path, ...],
    strict: bool,
    error: tuple[str, ...],
    allow: tuple[str, ...],
    stdin_filename: str,
    model: Path | None,
    settings: tuple[str, ...],
    **options: Any,
) -> None:
    """Check specs and print every finding with its place: files, and every *.mcd below folders. `-` reads standard input.

    A file that declares neither model, source, curriculum nor claim is one that others import, and needs none. Exits with 0 where
    there is no error (warnings are allowed), 1 where there is one (and where --diff shows something), 2 on wrong usage.
    """
    chosen = Options(**options)
    _check_usage(specs, chosen)
    levels: dict[str, Level] = {code.id: "error" for word in error for code in resolve(word, "error")[0]}
    levels |= {code.id: "allow" for word in allow for code in resolve(word, "allow")[0]}
    skipped = frozenset[str]() if chosen.data else UNSEEN
    wanted = Wanted(model, settings, levels, strict, Path(os.path.realpath(Path.cwd())), skipped)
    given = _given(specs, stdin_filename)
    context.exit(_run(given, wanted, chosen))


def _check_usage(specs: tuple[Path, ...], options: Options) -> None:
    if STDIN in specs and len(specs) > 1:
        raise click.UsageError("`-` stands alone")
    if options.diff and not options.fix:
        raise click.UsageError("--diff shows what --fix would do, and stands beside it")
    if options.write_baseline and options.baseline is None:
        raise click.UsageError("--write-baseline needs --baseline FILE, where it goes")


@dataclass(frozen=True, slots=True)
class Given:
    """The specs to check, and the text of the one that was read from standard input, by its resolved path."""

    specs: list[Path]
    texts: Mapping[Path, str] = field(default_factory=dict)


def _given(specs: tuple[Path, ...], stdin_filename: str) -> Given:
    if specs == (STDIN,):
        source = read_spec(STDIN, stdin_filename)
        return Given([Path(stdin_filename)], {Path(os.path.realpath(stdin_filename)): source.text})
    found = list(spec_files(specs, _excluded()))
    if not found:
        raise click.UsageError("no *.mcd file below " + ", ".join(f"`{path}`" for path in specs))
    return Given(found)


class _excluded:
    """Whether the project of a path leaves it out of its folders. What is wrong with the project is reported with its specs."""

    def __init__(self) -> None:
        self._projects: dict[Path, Any] = {}

    def __call__(self, path: Path) -> bool:
        real = Path(os.path.realpath(path))
        root = find_root(real)
        if root not in self._projects:
            self._projects[root] = read_project(root, Findings())
        project = self._projects[root]
        return any(project.covers(pattern, real) for pattern in project.exclude)


def _run(given: Given, wanted: Wanted, options: Options) -> ExitCode:
    if not options.fix:
        swept = sweep(given.specs, wanted, given.texts)
        return _finish(swept, options)
    swept, changed = repair(given.specs, wanted, given.texts)
    files = {path: (swept.files[path].source.path, text) for path, text in changed.items()}
    if options.diff:
        for path, (shown, text) in files.items():
            click.echo(difference(shown, _before(path, given), text), nl=False)
        code = _finish(swept, options, err=True)
        return ExitCode.FINDINGS if files else code
    for path, (_, text) in files.items():
        if path not in given.texts:
            write_file(path, text)
    for path, text in given.texts.items():
        click.echo(changed.get(path, text).encode(), nl=False)
    return _finish(swept, options, err=bool(given.texts))


def _before(path: Path, given: Given) -> str:
    return given.texts[path] if path in given.texts else read_spec(path, "").text


def _finish(swept: Swept, options: Options, *, err: bool = False) -> ExitCode:
    """Look at the data, hold findings against the baseline, or write it, and report what is left."""
    more: dict[str, Any] = {}
    lead = ""
    if options.data is not None:
        # What reads data takes as long to import as a check takes in all.
        data = import_module(".data", __package__)
        taken, brought = data.sampled(swept.programs, options.data)
        swept.add(brought)
        more, lead = {"data": data.as_json(taken)}, data.text(taken)
    found = swept.findings()
    if options.baseline is not None:
        path = Path(os.path.realpath(options.baseline))
        if options.write_baseline:
            write_file(path, written(found, path))
        try:
            found, stale = compared(found, path, str(options.baseline), swept.files)
            found += swept.leveled(stale)
        except Failure as failure:
            found = [*found, *failure.diagnostics]
    return _report(found, options, err, Context(tuple(swept.shown), more, lead))


def _report(found: list[Diagnostic], options: Options, err: bool, context: Context) -> ExitCode:
    if options.output is None:
        return report(found, options.format, err=err, context=context)
    text, code = rendered(found, options.format, context)
    write_file(options.output, text)
    return code
