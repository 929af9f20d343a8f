"""`mcd verify`: everything that is wrong with a compiled dataset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ..compiler.audit.dataset import Audit, verify_dataset
from .options import quiet_option
from .output import FORMATS, Context, Counter, report

UNITS = ("bytes", "kB", "MB", "GB", "TB")


@click.command
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--quick", is_flag=True, help="Look at the manifest, the plan and the sizes of files, and at no content.")
@click.option(
    "--format", type=click.Choice(FORMATS), default="text", show_default=True, help="How findings are printed."
)
@quiet_option
@click.pass_context
def command(context: click.Context, directory: Path, quick: bool, format: str, quiet: bool) -> None:
    """Look at the whole of the compiled dataset in DIR and print all that is wrong with it: files that are missing, cut or
    changed, files that nobody lists, shards that do not fit their plan, counts that are not those of the shards.

    Exits with 0 where there is no error (warnings are allowed), 1 where there is one, 2 on wrong usage.
    """
    begin = time.monotonic()
    audit = verify_dataset(directory, quick=quick, report=Counter("files", quiet))
    lead = "" if quiet else summary(directory, audit, quick, time.monotonic() - begin)
    context.exit(report(audit.findings, format, context=Context((str(directory),), {"dataset": _as_json(audit)}, lead)))


def summary(directory: Path, audit: Audit, quick: bool, seconds: float) -> str:
    """How much was looked at, how fast, and how it ended."""
    ended = "" if audit.findings else ": nothing is wrong"
    if audit.manifest is None:
        return ""
    if quick:
        what = f"{directory}: {audit.files:,} files, {_size(audit.bytes)}, by their sizes alone"
    else:
        rate = _size(audit.bytes / max(seconds, 1e-6))
        what = f"{directory}: {audit.files:,} files, {_size(audit.bytes)} in {seconds:.1f} s ({rate}/s)"
    notes = "".join(f"  {note}\n" for note in audit.notes)
    return f"{what}{ended}\n{notes}" + ("\n" if audit.findings else "")


def _size(count: float) -> str:
    """Bytes in the largest unit of which there is one."""
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:,.0f} {unit}" if unit == UNITS[0] else f"{count:,.1f} {unit}"


def _as_json(audit: Audit) -> dict[str, Any]:
    return {"files": audit.files, "bytes": audit.bytes, "damaged": list(audit.damaged), "notes": list(audit.notes)}
