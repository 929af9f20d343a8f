"""Files that nobody lists: what a stopped process left, or what somebody put there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Diagnostic
from .base import at


def unlisted(directory: Path, known: set[str]) -> Iterator[Diagnostic]:
    """A warning for every file below `directory`, hidden ones included, that is not among the paths `known`."""
    for folder, folders, names in os.walk(directory):
        linked = [name for name in folders if Path(folder, name).is_symlink()]  # the walk does not enter them
        folders.sort()
        for name in sorted([*names, *linked]):
            path = Path(folder, name).relative_to(directory).as_posix()
            if path not in known:
                hint = "a process that was stopped leaves such files; " if name.endswith(".part") else ""
                yield at(
                    codes.FILE_UNLISTED,
                    path,
                    f"`{path}` is no file of the dataset",
                    f"{hint}nothing reads it: remove it",
                )
