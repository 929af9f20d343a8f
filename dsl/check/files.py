"""The files of a source: what its patterns match below the project root, and which of them start below a remote folder.

A remote folder is only looked at where it stands in the project: a copy of it may be there. Nothing here opens a network, so
that a pattern that matches nothing there is no finding; compiling has to say.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from .. import ast
from .. import checked as c
from ..codes import names as codes
from ..codes.project import REMOTE_WILDCARD
from ..load import MAX_FILES, confine, near_files
from ..remote import SCHEMES, read_remotes, scheme_of
from .env import Env, Reported

MAX_DATA_FILES = 100 * MAX_FILES


@dataclass(frozen=True, slots=True)
class Files:
    """What the patterns of a source match: `paths`, resolved, each once, sorted; `patterns`, those below remote folders."""

    paths: tuple[Path, ...] = ()
    patterns: tuple[c.RemotePattern, ...] = ()


def matching(env: Env, written: tuple[ast.String, ...]) -> Files:
    """The files of a source."""
    found: set[Path] = set()
    patterns: list[c.RemotePattern] = []
    for pattern in written:
        remote = _remote(env, pattern)
        paths = _matches(env, pattern, absent=remote is not None)
        found.update(paths)
        if remote is not None:
            folder, parts = remote
            patterns.append(c.RemotePattern(pattern.value, folder, parts, bool(paths), pattern.place))
    return Files(tuple(sorted(found)), tuple(patterns))


def _matches(env: Env, pattern: ast.String, absent: bool) -> list[Path]:
    """The files of one pattern. Both the folder it starts from and each match must lie below the root. `absent`: there may be
    none."""
    root, folder, findings = env.state.loaded.root, env.file.path.parent, env.state.findings
    fixed, varying = _parts(pattern)
    if ".." in varying:
        raise env.fail(codes.OUTSIDE_ROOT.at(pattern.place, f"`{pattern.value}` goes up after a wildcard"))
    if any("**" in part and part != "**" for part in varying):
        alone = "`**` stands for any folders, alone between two `/`"
        raise env.fail(codes.NO_MATCH.at(pattern.place, f"`{pattern.value}` matches no file", help=alone))
    start = confine(str(fixed), pattern.place, folder, root, findings)
    if start is None:
        raise Reported
    if start.is_file():
        return [start]
    paths = start.glob("/".join(varying)) if varying and start.is_dir() else ()
    found = list(islice((path for path in paths if path.is_file()), MAX_DATA_FILES + 1))
    if len(found) > MAX_DATA_FILES:
        message = f"`{pattern.value}` matches more than {MAX_DATA_FILES} files"
        raise env.fail(codes.TOO_MANY_FILES.at(pattern.place, message))
    if not found and not absent:
        help = None if varying else near_files(start)
        raise env.fail(codes.NO_MATCH.at(pattern.place, f"`{pattern.value}` matches no file", help=help))
    resolved = [confine(str(path), pattern.place, folder, root, findings) for path in found]
    if None in resolved:
        raise Reported
    return [path for path in resolved if path is not None]


def _remote(env: Env, pattern: ast.String) -> tuple[c.Remote, tuple[str, ...]] | None:
    """The remote folder that a pattern starts below, and its parts from there on. Reports one that a wildcard stands before."""
    fixed, varying = _parts(pattern)
    start = Path(os.path.normpath(env.file.path.parent / fixed))
    for remote in _remotes(env):
        if start.is_relative_to(remote.folder):
            parts = (*start.relative_to(remote.folder).parts, *varying)
            scheme = scheme_of(remote.url)
            if varying and scheme in SCHEMES and not SCHEMES[scheme].lists:
                message = f"`{pattern.value}` has a wildcard, and `{scheme}` cannot list what is below `{remote.url}`"
                raise env.fail(REMOTE_WILDCARD.at(pattern.place, message, help="name the files one by one"))
            return (remote, parts) if parts else None
        if remote.folder.is_relative_to(start) and _reaches(varying, remote.folder.relative_to(start).parts):
            name = remote.folder.relative_to(env.state.loaded.root).as_posix()
            message = f"`{pattern.value}` would reach into the remote folder `{name}` by a wildcard"
            help = "write the folder out, in a pattern of its own"
            raise env.fail(REMOTE_WILDCARD.at(pattern.place, message, help=help))
    return None


def _remotes(env: Env) -> tuple[c.Remote, ...]:
    """The remote folders of the project, read when the first source asks."""
    if env.state.remotes is None:
        loaded = env.state.loaded
        env.state.remotes = read_remotes(loaded.root, env.state.findings, loaded.base)
    return env.state.remotes


def _reaches(pattern: Sequence[str], folder: Sequence[str]) -> bool:
    """Whether a pattern may match a file below a folder."""
    reached = {0}
    for name in folder:
        step = set[int]()
        for at in reached:
            while at < len(pattern) and pattern[at] == "**":
                step.add(at)
                at += 1
            if at < len(pattern) and fnmatchcase(name, pattern[at]):
                step.add(at + 1)
        reached = step
    return any(at < len(pattern) for at in reached)


def _parts(pattern: ast.String) -> tuple[Path, tuple[str, ...]]:
    """The path in front of the first wildcard of a pattern, and the parts from there on."""
    fixed = Path(*_before_wildcard(pattern.value))
    return fixed, Path(pattern.value).parts[len(fixed.parts) :]


def _before_wildcard(pattern: str) -> Iterator[str]:
    """The parts of a pattern in front of its first wildcard."""
    for part in Path(pattern).parts:
        if glob.has_magic(part):
            return
        yield part
