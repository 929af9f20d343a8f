"""`mcd repair`: what is damaged of a dataset is written anew, and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from ..compiler.build.engines import Pool
from ..compiler.remote import looked_up
from ..compiler.repair import Repaired, repair
from ..dsl.check import check
from .compile import cores, teaching
from .destination import allow_remote_option
from .options import model_option, quiet_option, settings_option
from .output import Counter, ExitCode, report
from .progress import TaskProgress


@click.command
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The dataset to repair."
)
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="How many processes run tasks.")
@allow_remote_option
@quiet_option
@click.option("--device", help="Where teachers run: cuda if there is one, else cpu.")
@model_option
@settings_option
@click.pass_context
def command(
    context: click.Context,
    spec: Path,
    output: Path,
    workers: int | None,
    allow_remote: bool,
    quiet: bool,
    device: str | None,
    model: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Write anew what is damaged of the dataset in DIR, of the spec and the sources that it was compiled from.

    Shards that are whole are kept. What comes of it is byte for byte what the manifest tells of, or DIR stays as it is. Exits
    with 0 where there is no error, 1 where there is one, 2 on wrong usage.
    """
    program, findings = check(spec, model, settings)
    if program is None:
        context.exit(report(findings.items, err=True))
    if allow_remote:
        program = looked_up(program)
    teach = teaching(program, device, Counter("shards", quiet))
    repaired = repair(program, output, TaskProgress(quiet), teach, Pool(workers or cores()))
    if found := (*findings.items, *repaired.compiled.warnings):
        report(found, err=True)
    if not quiet:
        click.echo(f"{output}: {_said(repaired)}")
    context.exit(ExitCode.CLEAN)


SHOWN = 8
"""How many damaged files are named."""


def _said(repaired: Repaired) -> str:
    compiled, damaged = repaired.compiled, repaired.damaged
    total = compiled.ran + compiled.resumed + compiled.kept
    tasks = f"{compiled.ran:,} of {total:,} tasks run again"
    if not repaired.known:
        return f"the manifest was damaged, and is written anew of what the spec asks for now; {tasks}"
    if not damaged:
        return "nothing was damaged"
    more = f" and {len(damaged) - SHOWN:,} more" if len(damaged) > SHOWN else ""
    return f"as it was again; damaged: {', '.join(damaged[:SHOWN])}{more}; {tasks}"
