"""The specs that an editor has open: which root files a file belongs to, and what the check of each found out.

A file that others import is seen through them, since only a root has a model and sources. Which files import which is read from
the `import` lines of every spec below the project root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..check import Examined, examine
from ..check.env import State
from ..diagnostics import Diagnostic, Failure
from ..load import MAX_FILES, File, find_root, is_marked
from ..source import Place, SourceText
from .documents import Documents
from .names import Names

SUFFIX = ".mcd"
MAX_FOLDERS = 5000
MAX_ROOTS = 8
"""How many of the specs that a file belongs to are checked while it is being written."""

_IMPORT = re.compile(r'^import[ \t]+r?"([^"\\\n]*)"', re.MULTILINE)
_MODEL = re.compile(r"^model\b(?![ \t]*=)", re.MULTILINE)


@dataclass(frozen=True)
class Analysis:
    """What the check of the spec at `root` found out."""

    root: Path
    examined: Examined

    @property
    def state(self) -> State | None:
        return self.examined.state

    @cached_property
    def names(self) -> Names:
        """Where names stand."""
        assert self.state is not None
        return Names(self.state)

    @cached_property
    def paths(self) -> frozenset[Path]:
        """The files that the spec consists of, and others whose content was read."""
        if self.state is None:
            return frozenset([self.root])
        return frozenset([*(file.path for file in self.state.loaded.files), *self.state.read])

    def file(self, path: Path) -> File | None:
        """The spec file at `path`."""
        files = self.state.loaded.files if self.state else ()
        return next((file for file in files if file.path == path), None)

    def path_of(self, place: Place) -> Path | None:
        """The file that a place is in."""
        return self._by_source.get(place.source)

    @cached_property
    def _by_source(self) -> dict[SourceText, Path]:
        return {file.source: file.path for file in self.state.loaded.files} if self.state else {}


class Project:
    """Every spec that is open, checked when it is asked for, and again when a file of it has changed."""

    def __init__(self) -> None:
        self.documents = Documents()
        self._analyses: dict[Path, Analysis] = {}
        self._imports: dict[Path, dict[Path, tuple[Path, ...]]] = {}

    def put(self, path: Path, text: str) -> None:
        """A document was opened, or has a new text."""
        before = self.documents.text(path)
        self.documents.put(path, text)
        if (
            before is None
            or _imports(before) != _imports(text)
            or bool(_MODEL.search(before)) != bool(_MODEL.search(text))
        ):
            self._imports.clear()
        self.forget([path])

    def close(self, path: Path) -> None:
        """A document was closed: what counts is on the disk again."""
        self.documents.drop(path)
        self._imports.clear()
        self.forget([path])

    def forget(self, paths: Iterable[Path] | None = None) -> None:
        """Some files have changed, or any may have."""
        if paths is None:
            self._analyses.clear()
            self._imports.clear()
            return
        changed = set(paths)
        self._analyses = {root: known for root, known in self._analyses.items() if changed.isdisjoint(known.paths)}

    def analysis(self, root: Path) -> Analysis:
        """What the check of the spec at `root` finds out."""
        if root not in self._analyses:
            self._analyses[root] = Analysis(root, examine(root, disk=self.documents))
        return self._analyses[root]

    def known(self, paths: Iterable[Path]) -> list[Analysis]:
        """The specs that some files belong to, of those whose check is up to date."""
        wanted = set(paths)
        return [analysis for analysis in self._analyses.values() if not wanted.isdisjoint(analysis.paths)]

    def of_file(self, path: Path, most: int | None = MAX_ROOTS) -> list[Analysis]:
        """The specs that a file belongs to, by its first root first; those that cannot be read are left out."""
        found = [self.analysis(root) for root in self.roots(path)[:most]]
        return [analysis for analysis in found if analysis.file(path) is not None]

    def roots(self, path: Path) -> list[Path]:
        """The root files of the specs that the file at `path` belongs to, itself where nothing imports it."""
        imports = self._graph(path)
        importers: dict[Path, set[Path]] = {}
        for file, targets in imports.items():
            for target in targets:
                importers.setdefault(target, set()).add(file)
        reached, pending = {path}, [path]
        while pending:
            new = importers.get(pending.pop(), set()) - reached
            reached |= new
            pending.extend(new)
        roots = [file for file in sorted(reached) if not importers.get(file) or self._has_model(file)]
        return sorted(roots, key=lambda root: root != path) or [path]

    def _has_model(self, path: Path) -> bool:
        return _MODEL.search(self._text(path)) is not None

    def _text(self, path: Path) -> str:
        try:
            return self.documents.read(path, path.name).text
        except Failure:
            return ""

    def _graph(self, path: Path) -> dict[Path, tuple[Path, ...]]:
        """Which files import which, below the project root of `path`."""
        root = find_root(path)
        if root not in self._imports:
            files = {path, *self.documents.open, *_specs_below(root)}
            self._imports[root] = {file: self._targets(file) for file in files}
        return self._imports[root]

    def _targets(self, file: Path) -> tuple[Path, ...]:
        return tuple(Path(os.path.realpath(file.parent / written)) for written in _imports(self._text(file)))


def _imports(text: str) -> list[str]:
    return [written for written in _IMPORT.findall(text) if "\0" not in written]


def _specs_below(root: Path) -> Iterator[Path]:
    """The specs of a project, as far as they are few enough to be a project's. A root without a mark is a folder like any
    other, and is not searched."""
    count = 0
    for looked, (parent, folders, files) in enumerate(os.walk(root)):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if is_marked(root) else []
        for name in sorted(files):
            if name.endswith(SUFFIX):
                yield Path(os.path.realpath(Path(parent, name)))
                count += 1
        if count >= MAX_FILES or looked >= MAX_FOLDERS:
            return


def findings_of(analyses: Iterable[Analysis]) -> dict[Path, list[Diagnostic]]:
    """What is found in each file, each finding once though several specs share the file. A finding about a data file, or about
    no place, stands at the root."""
    found: dict[Path, dict[tuple[object, ...], Diagnostic]] = {}
    for analysis in analyses:
        for path in analysis.paths:
            if path.suffix == SUFFIX:
                found.setdefault(path, {})
        for diagnostic in analysis.examined.findings.items:
            place = diagnostic.place
            path = (analysis.path_of(place) if isinstance(place, Place) else None) or analysis.root
            where = (place.start, place.end) if isinstance(place, Place) else place
            found.setdefault(path, {}).setdefault((diagnostic.code.id, diagnostic.message, where), diagnostic)
    return {path: list(each.values()) for path, each in found.items()}
