"""`mcd compile`: a spec and its sources -> a dataset directory."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..compiler.compile import Compiled, compile_program
from ..compiler.manifest import Counts, Manifest
from ..dsl.check import check
from .output import ExitCode, report


@click.command
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the dataset goes."
)
@click.option("-q", "--quiet", is_flag=True, help="Print findings alone.")
@click.pass_context
def command(context: click.Context, spec: Path, output: Path, quiet: bool) -> None:
    """Compile a spec and its sources into DIR.

    DIR appears complete or not at all; what it held before stays whole until then. Where it already holds the shards of the
    same sets over the same content, the plan alone is written. Exits with 0 where there is no error, 1 where there is one, 2
    on wrong usage.
    """
    program, findings = check(spec)
    if program is None:
        context.exit(report(findings.items, err=True))
    compiled = compile_program(program, output, _progress(quiet))
    if found := (*findings.items, *compiled.warnings):
        report(found, err=True)
    if not quiet:
        click.echo(summary(compiled, output), nl=False)
    context.exit(ExitCode.CLEAN)


class _progress:
    """Counts tasks on a terminal, and says nothing elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._shown = sys.stderr.isatty() and not quiet

    def __call__(self, done: int, total: int) -> None:
        if self._shown:
            click.echo(f"\r{done} of {total} tasks" + ("\n" if done == total else ""), nl=False, err=True)


def summary(compiled: Compiled, output: Path) -> str:
    """What was written, and what every rule found, as a table."""
    manifest = compiled.manifest
    what = "plan written, shards kept" if compiled.reused else f"{len(manifest.shards)} shards"
    splits = ", ".join(
        f"{split} {records:,} records, {manifest.tokens[split]:,} tokens" for split, records in manifest.records.items()
    )
    return f"{output}: {what}; {splits}\n" + "".join(f"  {line}\n" for line in _rules(manifest))


def _rules(manifest: Manifest) -> list[str]:
    rows = [("rule", "matched", "rows", "lost and ragged")]
    rows += [(name, f"{c.total('matched'):,}", f"{c.total('rows'):,}", _lost(c)) for name, c in manifest.rules.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return [
        f"{name:<{widths[0]}}  {matched:>{widths[1]}}  {count:>{widths[2]}}  {lost}".rstrip()
        for name, matched, count, lost in rows
    ]


def _lost(counts: Counts) -> str:
    causes = sorted({cause for causes in counts.splits.values() for cause in causes} - {"matched", "rows"})
    return ", ".join(f"{cause} {counts.total(cause):,}" for cause in causes if counts.total(cause))
