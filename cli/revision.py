"""Specs as they were: `REV:PATH` names the spec at PATH in a revision of git.

The files that git tracks below the project root are laid out in a temporary folder, as the revision has them. What git does not
track (data, as a rule) is the same at every revision: it stands beside them by hard links, or as a copy where there can be none.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from ..dsl.load import ROOT_MARKS, find_root

SKIPPED = {"node_modules", "__pycache__"}
"""Folders of untracked files that no spec reads, besides hidden ones and virtual environments."""


@contextmanager
def spec_at(written: str) -> Iterator[Path]:
    """The path of the spec that `written` names: a file, or `REV:PATH`, which is laid out while the context is open."""
    revision, colon, path = written.partition(":")
    if Path(written).exists() or not colon or (len(revision) < 2 and os.name == "nt"):
        yield Path(written)
        return
    with laid_out(revision, Path(path)) as spec:
        yield spec


@contextmanager
def laid_out(revision: str, path: Path) -> Iterator[Path]:
    """The spec at `path`, in a temporary folder with its whole project as of `revision`.

    Fails with a usage error where there is no repository, no such revision, or no such file in it.
    """
    spec = Path(os.path.realpath(path))
    top = _top(spec)
    if not spec.is_relative_to(top):
        raise click.UsageError(f"`{path}` is in no git repository")
    commit = (
        _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    )
    root = find_root(spec)
    below = (root if root.is_relative_to(top) else top).relative_to(top).as_posix()
    archive = _git(top, "archive", "--format=tar", commit, *([below] if below != "." else []))
    with TemporaryDirectory(prefix="mcd-", ignore_cleanup_errors=True) as folder:
        base = Path(os.path.realpath(folder))
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(base, filter="data")
        at = base / spec.relative_to(top)
        if not at.is_file():
            raise click.UsageError(f"`{path}` is not in {revision}")
        _add_untracked(top, below, base)
        if not any((base / below / mark).is_file() for mark in ROOT_MARKS):
            (base / below / ROOT_MARKS[0]).touch()
        yield at


def tracked(revision: str, path: Path) -> bool:
    """Whether `revision` has the file."""
    spec = Path(os.path.realpath(path))
    top = _top(spec)
    listed = _git(top, "ls-tree", "--name-only", "-z", revision, "--", spec.relative_to(top).as_posix())
    return bool(listed)


def _add_untracked(top: Path, below: str, base: Path) -> None:
    listed = _git(top, "ls-files", "--others", "-z", "--", below).decode("utf-8", "surrogateescape")
    for name in filter(None, listed.split("\0")):
        there, here = top / name, base / name
        if _skipped(Path(name), top) or here.exists() or not there.is_file():
            continue
        here.parent.mkdir(parents=True, exist_ok=True)
        try:
            here.hardlink_to(there)
        except OSError:
            shutil.copyfile(there, here)


def _skipped(path: Path, top: Path) -> bool:
    return any(
        part.startswith(".") or part in SKIPPED or (top / folder / "pyvenv.cfg").is_file()
        for part, folder in zip(path.parts[:-1], reversed(path.parents[:-1]), strict=True)
    )


def _top(spec: Path) -> Path:
    """The top folder of the repository that holds a spec, which may not be there any more."""
    return Path(os.path.realpath(_git(_existing(spec.parent), "rev-parse", "--show-toplevel").decode().strip()))


def _existing(folder: Path) -> Path:
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _git(folder: Path, *arguments: str) -> bytes:
    """What git prints. Fails with a usage error where it does not know the answer."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise click.UsageError("git is not installed, and a revision was asked for") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise click.UsageError(f"git {arguments[0]}: {said[0] if said else 'no such revision'}")
    return done.stdout
