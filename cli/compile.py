"""`mcd compile`: a spec and its sources -> a dataset directory."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import click

from ..compiler.build.engines import Engine, Pool
from ..compiler.columns import in_columns
from ..compiler.compile import Compiled, compile_program
from ..compiler.lessons import runs_while_compiling
from ..compiler.manifest import Counts, Manifest
from ..compiler.part import Part, compile_part, finish_parts
from ..compiler.plan import AttendPlan, CrossRef, Plan
from ..compiler.remote import looked_up
from ..compiler.teaching import Teach
from ..dsl.check import check
from ..dsl.checked import Program
from ..dsl.codes.shards import TEACHER_RUN
from ..dsl.diagnostics import Failure
from .destination import allow_remote_option, destination, work_option
from .options import model_option, no_device, quiet_option, settings_option
from .output import Counter, ExitCode, report
from .progress import TaskProgress


@click.command
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="Where the dataset goes; an s3:// URL with --allow-remote."
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many processes run tasks; as many as there are cores.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Who runs tasks: processes of this machine, or a Ray cluster.",
)
@click.option("--address", metavar="ADDRESS", help="The Ray cluster; without it, one on this machine.")
@click.option(
    "--task", "part", type=click.IntRange(min=0), metavar="I", help="Run one share of the tasks, of `--of` shares."
)
@click.option(
    "--of", "shares", type=click.IntRange(min=1), metavar="N", help="Into how many shares the tasks are divided."
)
@click.option("--finish", "finishing", is_flag=True, help="Make a dataset of what all shares did; run no task.")
@allow_remote_option
@work_option
@quiet_option
@click.option("--device", help="Where teachers run: cuda if there is one, else cpu.")
@model_option
@settings_option
@click.pass_context
def command(
    context: click.Context,
    spec: Path,
    model: Path | None,
    settings: tuple[str, ...],
    output: str,
    allow_remote: bool,
    work: Path | None,
    quiet: bool,
    device: str | None,
    workers: int | None,
    engine: str,
    address: str | None,
    part: int | None,
    shares: int | None,
    finishing: bool,
) -> None:
    """Compile a spec and its sources into DIR.

    DIR appears complete or not at all; what it held before stays whole until then. Tasks whose shards DIR has already, of the
    same sets over the same content, are not run again. What was done before a run was stopped is kept in a hidden folder beside
    DIR, and the next run goes on from there. A teacher that is cached runs over the shards once.

    Array jobs: `--task I --of N` with I from 0 to N - 1, each on any machine that sees the sources and DIR's folder, then
    `--finish` once.

    With `--allow-remote`, folders that mcd.toml declares remote are read at their URLs, and DIR may be a URL: the dataset is
    built in the folder of `--work` and put there, the manifest last.

    Exits with 0 where there is no error, 1 where there is one, 2 on wrong usage.
    """
    share = _share(part, shares, finishing)
    program, findings = check(spec, model, settings)
    if program is None:
        context.exit(report(findings.items, err=True))
    if allow_remote:
        program = looked_up(program)
    shared = finishing or share is not None
    place = context.with_resource(destination(output, program, allow_remote, work, shared))
    runs, progress = _engine(engine, workers, address), TaskProgress(quiet)
    if share is not None:
        done = compile_part(program, place.directory, *share, runs, progress)
        if not quiet:
            click.echo(f"{place.shown}: {_said(*share, done)}")
        context.exit(ExitCode.CLEAN)
    teach = teaching(program, device, Counter("shards", quiet))
    if finishing:
        compiled = finish_parts(program, place.directory, progress, teach)
    else:
        compiled = compile_program(program, place.directory, progress, teach, runs)
    if found := (*findings.items, *compiled.warnings):
        report(found, err=True)
    place.deliver(Counter("files put", quiet))
    if not quiet:
        click.echo(summary(compiled, place.shown), nl=False)
    context.exit(ExitCode.CLEAN)


def _share(part: int | None, shares: int | None, finishing: bool) -> tuple[int, int] | None:
    """Which share of the tasks is asked for, None for all."""
    if (part is None) != (shares is None):
        raise click.UsageError("--task and --of go together: --task 0 --of 8, say")
    if part is None or shares is None:
        return None
    if finishing:
        raise click.UsageError("--finish comes after all shares, in a command of its own")
    if part >= shares:
        raise click.UsageError(f"--task {part} --of {shares}: shares count from 0 to {shares - 1}")
    return part, shares


def _engine(name: str, workers: int | None, address: str | None) -> Engine:
    """Who runs the tasks. Ray is loaded only if it is asked for."""
    if name == "local":
        if address is not None:
            raise click.UsageError("--address goes with --engine ray")
        return Pool(workers or cores())
    if workers is not None:
        raise click.UsageError("--workers is for this machine; a Ray cluster decides for itself")
    try:
        cluster = import_module("..compiler.build.cluster", __package__)
    except ModuleNotFoundError as error:
        raise click.UsageError(f"--engine ray needs {error.name}: pip install 'mcd-lang[ray]'") from None
    engine: Engine = cluster.Cluster(address)
    return engine


def _said(part: int, shares: int, done: Part) -> str:
    return f"share {part} of {shares}, {done.own:,} of {done.total:,} tasks: {done.ran:,} run, {done.own - done.ran:,} were done"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def teaching(program: Program, device: str | None, report: Counter) -> Teach | None:
    """What runs the teachers of a program; None for one without. It needs torch, which nothing else of compiling does."""
    teacher = next(runs_while_compiling(program), None)
    if teacher is None:
        return None
    try:
        module = import_module("..runtime.teach", __package__)
    except ModuleNotFoundError as error:
        message = f"teacher `{teacher.name}` is run while compiling, which needs {error.name}"
        raise Failure(TEACHER_RUN.at(teacher.place, message, help="pip install 'mcd-lang[train]'")) from None
    try:
        teach: Teach = module.Teaching(device, report)
    except RuntimeError:
        raise no_device(device) from None
    return teach


def summary(compiled: Compiled, output: str) -> str:
    """What was written, and what the rules found, as a table: those that lost something, and the first of the others."""
    manifest = compiled.manifest
    before = {"kept": compiled.kept, "done before": compiled.resumed}
    said = [f"{count:,} {words}" for words, count in before.items() if count]
    total = compiled.ran + compiled.resumed + compiled.kept
    kept = f" ({', '.join(said)} of {total:,} tasks)" if said else ""
    what = "plan written, shards kept" if compiled.reused else f"{len(manifest.shards):,} shards{kept}"
    splits = ", ".join(
        f"{split} {records:,} records, {manifest.tokens[split]:,} tokens" for split, records in manifest.records.items()
    )
    return f"{output}: {what}; {splits}\n" + "".join(f"  {line}\n" for line in _rules(manifest, compiled.plan))


SHOWN = 20
"""How many rules without a loss are shown one by one."""

USUAL = {"matched", "rows", "unmatched"}
"""Causes that are no loss."""


def _rules(manifest: Manifest, plan: Plan) -> list[str]:
    uncounted = {rule.id for rule in plan.rules if isinstance(rule, AttendPlan) and isinstance(rule.edges, CrossRef)}
    clean = [name for name, counts in manifest.rules.items() if not _lost(counts)]
    rest = set(clean[SHOWN:])
    rows = [("rule", "records", "matched", "rows", "lost or ragged")]
    rows += [
        _row(name, counts, manifest, name not in uncounted)
        for name, counts in manifest.rules.items()
        if name not in rest
    ]
    table = in_columns(rows, right=(1, 2, 3))
    if rest:
        matched = sum(manifest.rules[name].total("matched") for name in rest)
        table.append(f"and {len(rest):,} more rules that matched {matched:,} and lost nothing")
    return table


def _row(name: str, counts: Counts, manifest: Manifest, counted: bool) -> tuple[str, str, str, str, str]:
    """A rule: the records in which it matched something, what it matched, its rows where they are counted, what it lost."""
    records = sum(manifest.records.values()) - counts.total("unmatched")
    rows = f"{counts.total('rows'):,}" if counted else ""
    return name, f"{records:,}", f"{counts.total('matched'):,}", rows, _lost(counts)


def _lost(counts: Counts) -> str:
    causes = sorted({cause for causes in counts.splits.values() for cause in causes} - USUAL)
    return ", ".join(f"{cause} {counts.total(cause):,}" for cause in causes if counts.total(cause))
