"""The directory of an export, which appears complete or not at all: built and put in place as a dataset's is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..files.output import refusals, replacing
from ..manifest import EXPORTED, MANIFEST_FILE

CARD = "README.md"
CROISSANT = "croissant.json"
DATA = "data"
PARTS = {CARD, CROISSANT, DATA, EXPORTED}
"""All that an export holds at its top."""


@contextmanager
def staged(target: Path, overwrite: bool) -> Iterator[Path]:
    """A new directory to write into, which becomes `target` when the block ends without an exception.

    Whatever the block raises, `target` stays as it was. Raises Failure where it is there (but for an export that `overwrite` lets
    it replace), and where the file system refuses.
    """
    with replacing(target, partial(_check, overwrite=overwrite)) as work, refusals(target.resolve()):
        yield work


def _check(target: Path, overwrite: bool) -> None:
    if not target.exists() and not target.is_symlink():
        return
    held = {path.name for path in target.iterdir()} if target.is_dir() else {target.name}
    exported = held <= PARTS and (target / EXPORTED / MANIFEST_FILE).is_file()
    if not held or (exported and overwrite):
        return
    what = "an export" if exported else "no export alone"
    help = "`--overwrite` replaces it" if exported else "choose another directory, or remove this one"
    raise Failure(codes.EXPORT_EXISTS.at(DataPlace(str(target)), f"`{target.name}` is there, and is {what}", help=help))
