"""A damaged dataset -> the dataset that it was, of the spec and the sources that it was made from.

Compiling again takes over the shards that are whole and runs the tasks of the others. What is added here is the promise that
nothing else changes: what comes of it has to be what the manifest says, or nothing is put in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..dsl import checked as c
from ..dsl.codes import shards as codes
from ..dsl.diagnostics import Failure
from ..dsl.source import DataPlace
from .build.engines import Engine, InProcess
from .build.stage import staged
from .compile import Compiled, Report, build, read_inputs
from .manifest import Manifest, read_manifest
from .teaching import Teach


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done. `damaged`: the listed files that were not as they were written; `known`: whether the manifest was, so that
    the dataset is what it was and not merely what the spec asks for now."""

    damaged: tuple[str, ...]
    known: bool
    compiled: Compiled


def repair(
    program: c.Program,
    out: Path,
    report: Report = lambda progress: None,
    teach: Teach | None = None,
    engine: Engine | None = None,
) -> Repaired:
    """Write anew what is damaged of the dataset in `out`, which `program` was compiled into. The others: see `compile_program`.

    Raises Failure where the program or its sources would give another dataset than the manifest tells of, and as
    `compile_program` does; `out` then stays as it is.
    """
    if not out.is_dir():
        raise Failure(
            codes.NOT_A_DATASET.at(DataPlace(str(out)), f"`{out.name}` is no compiled dataset to be repaired")
        )
    with staged(out) as stage:
        try:
            manifest = read_manifest(stage.target)
        except Failure:
            manifest = None
        listed = () if manifest is None else tuple(manifest.entries())
        damaged = tuple(entry.path for entry in listed if not entry.is_whole(stage.target))

        def accept(compiled: Compiled) -> None:
            if manifest is not None and (other := next(_differing(manifest, compiled.manifest), None)):
                message = (
                    f"`{other}` would not become what it was: the spec, the tokenizer or a source is another one now"
                )
                help = "`mcd compile` makes a new dataset of what they are now"
                raise Failure(codes.REPAIR_DIFFERS.at(DataPlace(str(out)), message, help=help))

        compiled = build(lambda: read_inputs(program), stage, report, teach, engine or InProcess(), accept=accept)
    return Repaired(damaged, manifest is not None, compiled)


def _differing(before: Manifest, after: Manifest) -> Iterator[str]:
    """The paths of files that are not the same in both. Another version of this package writes another plan of the same spec."""
    now = {entry.path: entry.sha256 for entry in after.entries()}
    then = {entry.path: entry.sha256 for entry in before.entries()}
    if before.version != after.version:
        shards = {entry.path for entry in (*before.shards, *after.shards)}
        now, then = ({path: mine[path] for path in mine.keys() & shards} for mine in (now, then))
    yield from sorted(path for path in now.keys() | then.keys() if now.get(path) != then.get(path))
