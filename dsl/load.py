"""Spec path -> the files of the spec, parsed, each once.

Takes the path of a root file. Establishes that every import names a file below the project root, that imports form no circle, and
that every file is there once, whatever aliases it has. Files are visited breadth first, so that a file's `prefix` is its
shortest chain of aliases. What a name means is for `check`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import ast
from .codes import names as codes
from .diagnostics import Failure, Findings, did_you_mean
from .parse import parse, read_source
from .source import DataPlace, Place, SourceText

ROOT_MARKS = ("mcd.toml", "pyproject.toml")
MAX_FILES = 1000


@dataclass(frozen=True, eq=False)
class File:
    """One file of a spec. `prefix` is what its names carry in the whole program: `""`, `"logic."`.

    `broken`: it has syntax errors, so that names may be missing. `imports`: by alias, without those that failed.
    """

    path: Path
    prefix: str
    source: SourceText
    spec: ast.Spec
    broken: bool
    imports: dict[str, File] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class Loaded:
    """The files of a spec, the root file first, and the folder that none of their paths may leave. `base` is that of `load`."""

    root: Path
    files: tuple[File, ...]
    base: Path | None = None


def find_root(path: Path) -> Path:
    """The project root of the spec at `path` (resolved): the nearest folder with mcd.toml or pyproject.toml, else its own."""
    return next((folder for folder in path.parents if is_marked(folder)), path.parent)


def is_marked(folder: Path) -> bool:
    """Whether a folder is a project root by a file in it."""
    return any((folder / mark).is_file() for mark in ROOT_MARKS)


class Disk:
    """Where spec files are read from. `texts` stand for the content of files, by resolved path; an editor has more to say."""

    def __init__(self, texts: Mapping[Path, str] | None = None) -> None:
        self.texts = {} if texts is None else texts

    def has(self, path: Path) -> bool:
        """Whether there is a file at `path`."""
        return path in self.texts or path.is_file()

    def read(self, path: Path, shown: str) -> SourceText:
        """The text of the file at `path`, called `shown` in findings. Raises `Failure` where it cannot be read."""
        return SourceText(shown, self.texts[path], path) if path in self.texts else read_source(path, shown)

    def parse(self, path: Path, source: SourceText, findings: Findings) -> ast.Spec:
        """The tree of what was read at `path`."""
        return parse(source, findings)


def load(path: Path, findings: Findings, *, disk: Disk | None = None, base: Path | None = None) -> Loaded | None:
    """The files of the spec at `path`; None where the root file itself cannot be read.

    `disk`: where they are read from. `base`: the folder to which paths are shown relative, instead of the project root, where
    they lie below it.
    """
    path = Path(os.path.realpath(path))
    root = find_root(path)
    loader = _Loader(root, findings, disk or Disk(), base)
    first = loader.file(path, "", DataPlace(str(path)))
    if first is None:
        return None
    queue = deque([first])
    while queue:
        queue.extend(loader.follow(queue.popleft()))
    _cut_cycles(first, findings)
    return Loaded(root, tuple(loader.files.values()), base)


def locate(
    written: str, place: Place, folder: Path, root: Path, findings: Findings, *, folders: bool = False
) -> Path | None:
    """The file that `written` names from `folder` (or a folder, with `folders`), resolved; reports what is wrong with it."""
    found = confine(written, place, folder, root, findings)
    if found is None or found.is_file() or (folders and found.is_dir()):
        return found
    if found.is_dir():
        findings.add(codes.NO_FILE.at(place, f"`{written}` is a folder, expected a file"))
    else:
        findings.add(codes.NO_FILE.at(place, f"no file `{written}`", help=near_files(found)))
    return None


def confine(written: str, place: Place, folder: Path, root: Path, findings: Findings) -> Path | None:
    """`written` resolved from `folder`, with symbolic links followed; reports a path that leaves `root`."""
    try:
        found = Path(os.path.realpath(folder / written))
        found.exists()
    except (OSError, ValueError):
        findings.add(codes.NO_FILE.at(place, f"`{written}` is no path"))
        return None
    if not found.is_relative_to(root):
        message = f"`{written}` leaves the project root"
        findings.add(
            codes.OUTSIDE_ROOT.at(
                place, message, help=f"the root is `{root.name}`, the nearest folder with {ROOT_MARKS[0]}"
            )
        )
        return None
    return found


def near_files(missing: Path) -> str | None:
    """A help line with near names in the folder of a file that does not exist."""
    if not missing.parent.is_dir():
        return f"there is no folder `{missing.parent.name}`"
    return did_you_mean(missing.name, (entry.name for entry in missing.parent.iterdir()))


def shown_path(path: Path, root: Path) -> str:
    """`path` as a person is shown it: relative to the project root."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


@dataclass(slots=True)
class _Loader:
    root: Path
    findings: Findings
    disk: Disk
    base: Path | None
    files: dict[Path, File] = field(default_factory=dict)

    def file(self, path: Path, prefix: str, place: Place | DataPlace) -> File | None:
        """The file at `path`, parsed at most once; None where it cannot be read."""
        if path in self.files:
            return self.files[path]
        if len(self.files) >= MAX_FILES:
            self.findings.add(codes.TOO_MANY_FILES.at(place, f"a spec reads at most {MAX_FILES} files"))
            return None
        if not self.disk.has(path):
            self.findings.add(codes.NO_FILE.at(place, f"no file `{path.name}`", help=near_files(path)))
            return None
        try:
            source = self.read(path)
        except Failure as failure:
            self.findings.items.extend(failure.diagnostics)
            return None
        before = len(self.findings.items)
        spec = self.disk.parse(path, source, self.findings)
        self.files[path] = File(path, prefix, source, spec, broken=len(self.findings.items) > before)
        return self.files[path]

    def read(self, path: Path) -> SourceText:
        """The text of a file."""
        below = self.base is not None and path.is_relative_to(self.base)
        shown = shown_path(path, self.base if self.base is not None and below else self.root)
        return self.disk.read(path, shown)

    def follow(self, file: File) -> Iterator[File]:
        """Files that `file` imports and nobody imported before. Aliases are taken in order, so that prefixes do not depend on
        the order of declarations."""
        imports = [item for item in file.spec.items if isinstance(item, ast.Import)]
        for item in sorted(imports, key=lambda item: item.alias.name):
            place = item.path.place
            path = locate(item.path.value, place, file.path.parent, self.root, self.findings)
            if path is None:
                continue
            known = path in self.files
            target = self.file(path, f"{file.prefix}{item.alias.name}.", place)
            if target is None:
                continue
            file.imports.setdefault(item.alias.name, target)
            if not known:
                yield target


def _cut_cycles(first: File, findings: Findings) -> None:
    """Report each import that closes a circle, with the chain, and drop it."""
    chain = [first]
    open_files, done = {first}, set[File]()
    pending = [sorted(first.imports)]
    while chain:
        file = chain[-1]
        if not pending[-1]:
            open_files.discard(file)
            done.add(file)
            chain.pop()
            pending.pop()
            continue
        alias = pending[-1].pop(0)
        target = file.imports[alias]
        if target in open_files:
            circle = [*chain[chain.index(target) :], target]
            message = "import cycle: " + " -> ".join(member.source.path for member in circle)
            findings.add(codes.IMPORT_CYCLE.at(_import_of(file, alias).path.place, message))
            del file.imports[alias]
        elif target not in done:
            chain.append(target)
            open_files.add(target)
            pending.append(sorted(target.imports))


def _import_of(file: File, alias: str) -> ast.Import:
    return next(item for item in file.spec.items if isinstance(item, ast.Import) and item.alias.name == alias)
