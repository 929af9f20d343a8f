"""Checkpoints: folders from which a run goes on as if nothing had stopped it.

A checkpoint is written under a hidden name, flushed to the disk, and renamed: under its name stands a whole one or none. Its
`checkpoint.json` is written last, and holds the SHA-256 of every other file and its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ...compiler.files.disk import UNFINISHED, clear_away, exchange, make, rename, sync, temporary
from ...compiler.files.disk import write as write_file
from ...compiler.manifest import FileEntry, entry_of
from ...compiler.stored import Sealed, read_json, sealed
from ...dsl.codes import runtime as codes
from ...dsl.diagnostics import Diagnostic, Failure
from ...dsl.source import DataPlace
from ...version import VERSION
from ..dataset import Dataset
from ..run import PROBES_FILE, saved_model, write_model
from .loop import Training
from .packed import pack, unpack
from .processes import gathered

FOLDER = "checkpoints"
BEST = "best"
STATE_FILE = "checkpoint.json"
OPTIMIZER_FILE = "optimizer.safetensors"
FORMAT = 1


class CheckpointFile(Sealed):
    """`checkpoint.json`. `run`: what has to be the same for a run to go on from here; `position`: in the rows of the dataset;
    `tallies`: of the monitor; `log`: what the log goes on with; `files`: all others of the folder."""

    format: int = FORMAT
    version: str = VERSION
    step: int
    run: dict[str, Any]
    position: dict[str, Any]
    tallies: dict[str, Any]
    log: dict[str, Any]
    files: tuple[FileEntry, ...]


def name_of(step: int) -> str:
    """The folder of a step's checkpoint."""
    return f"step-{step}"


def rank_file(rank: int) -> str:
    """The file of what a rank has of its own."""
    return f"rank-{rank}.safetensors"


def write(output: Path, training: Training, run: Mapping[str, Any], log: Mapping[str, Any], keep: int) -> Path:
    """Write a checkpoint of `training` into the run `output`, and remove all but the last `keep`. Every rank has to call this;
    the first one writes. Fails with MCD756 where the file system refuses; what stood there before stays."""
    place = training.place
    own = gathered(pack(training.own_state()), place)
    target = output / FOLDER / name_of(training.done)
    if not place.first:
        return target

    def fill(work: Path) -> None:
        write_model(work, training.model, training.supervised)
        (work / OPTIMIZER_FILE).write_bytes(pack(training.state_dict()))
        for rank, content in enumerate(own):
            (work / rank_file(rank)).write_bytes(content)
        state = CheckpointFile(
            step=training.done,
            run=dict(run),
            position=training.feed.state_dict(),
            tallies=training.monitor.state_dict(),
            log=dict(log),
            files=tuple(entry_of(path) for path in sorted(work.iterdir())),
        )
        write_file(work / STATE_FILE, sealed(state.model_dump_json(indent=1)).encode())

    put(target, fill)
    for path in found(output)[keep:]:
        clear_away(path)
    return target


def put(target: Path, fill: Callable[[Path], None]) -> None:
    """Have a folder `target` that `fill` filled, in place of what stood there, whole or not at all. Fails with MCD756."""
    work = temporary(target)
    try:
        make(target.parent)
        for left in target.parent.glob(f".*{UNFINISHED}"):
            clear_away(left)
        make(work)
        fill(work)
        for path in work.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync(work)
        if target.exists() and not exchange(work, target):
            rename(target, temporary(target))
        if not target.exists():
            rename(work, target)
        sync(target.parent)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())[:200]
        message = f"the checkpoint `{target.name}` cannot be written: {reason}"
        raise Failure(codes.CHECKPOINT.at(DataPlace(str(target)), message)) from None
    finally:
        if work.exists():
            clear_away(work)


def found(output: Path) -> list[Path]:
    """The checkpoints of a run, whole or not, the newest first."""
    steps = {}
    with suppress(FileNotFoundError):
        for path in (output / FOLDER).iterdir():
            word, _, number = path.name.partition("-")
            if word == "step" and number.isdecimal():
                steps[int(number)] = path
    return [steps[step] for step in sorted(steps, reverse=True)]


def newest(output: Path) -> tuple[Path, CheckpointFile, list[Diagnostic]]:
    """The newest whole checkpoint of a run, and a finding for each newer one that is not. Fails with MCD756 without one."""
    damaged: list[Diagnostic] = []
    for path in found(output):
        try:
            return path, opened(path), damaged
        except Failure as failure:
            damaged += failure.diagnostics
    if damaged:
        raise Failure(*damaged)
    message = f"`{output.name}` has no checkpoint to go on from"
    help = "`--save-every N` writes them; `--overwrite` starts the run again"
    raise Failure(codes.CHECKPOINT.at(DataPlace(str(output)), message, help=help))


def opened(path: Path) -> CheckpointFile:
    """What a checkpoint says of itself, once all of its files are as they were written. Fails with MCD756."""
    place = DataPlace(str(path))
    help = f"remove `{path.name}`: an older checkpoint is taken then"
    try:
        state = read_json(path, STATE_FILE, CheckpointFile, FORMAT)
    except Failure as failure:
        (first,) = failure.diagnostics
        raise Failure(codes.CHECKPOINT.at(place, f"`{path.name}` is not whole: {first.message}", help=help)) from None
    for entry in state.files:
        if not entry.is_whole(path):
            message = f"`{path.name}` is not whole: `{entry.path}` is not the file that was written"
            raise Failure(codes.CHECKPOINT.at(place, message, help=help))
    return state


def check_run(path: Path, state: CheckpointFile, run: Mapping[str, Any]) -> None:
    """Fails with MCD757, naming all that differs, where the checkpoint was made by another run than `run` says."""
    differing = [name for name in {**run, **state.run} if run.get(name) != state.run.get(name)]
    if differing:
        shown = [f"{name} is {_shown(run.get(name))} and was {_shown(state.run.get(name))}" for name in differing]
        message = f"`{path.name}` is of another run: {'; '.join(shown)}"
        help = "give the command of that run again, with `--resume`"
        raise Failure(codes.OTHER_RUN.at(DataPlace(str(path)), message, help=help))


def restore(path: Path, state: CheckpointFile, training: Training, dataset: Dataset) -> None:
    """Have `training` stand where it stood when the checkpoint was written."""
    device = training.supervised.device
    weights = saved_model(path, dataset, device).state_dict()
    with torch.no_grad():
        training.model.load_state_dict(weights)
    if (path / PROBES_FILE).exists():
        training.supervised.load_probes(path / PROBES_FILE)
    training.load_state_dict(unpack((path / OPTIMIZER_FILE).read_bytes()))
    training.load_own_state(unpack((path / rank_file(training.place.rank)).read_bytes()))
    training.feed.load_state_dict(state.position)
    training.monitor.load_state_dict(state.tallies)
    training.done = state.step


def _shown(value: Any) -> str:
    return "unset" if value is None else f"`{value}`"
