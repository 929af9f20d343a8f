"""The specs that an editor has open: which root files a file belongs to, and what the check of each found out.

A file that others import is seen through them, since only a root has a model and sources. Which files import which is read from
the `import` lines of every spec below the project root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..check import Checked, examine
from ..check.env import State
from ..diagnostics import Diagnostic, Failure, Findings
from ..lint import lint
from ..lint.levels import graded
from ..lint.project import Project as Settings
from ..lint.project import read_project
from ..lint.sweep import Identity, identity
from ..load import MAX_FILES, File, find_root, is_marked
from ..source import Place
from .documents import Documents
from .names import Names

SUFFIX = ".mcd"
UNSEEN = ("MCD350", "MCD351")
"""Findings that only the data shows, which nobody looks at while a spec is being written."""
MAX_FOLDERS = 5000
MAX_ROOTS = 8
"""How many of the specs that a file belongs to are checked while it is being written."""

_IMPORT = re.compile(r'^import[ \t]+r?"([^"\\\n]*)"', re.MULTILINE)
_MODEL = re.compile(r"^model\b(?![ \t]*=)", re.MULTILINE)


@dataclass(frozen=True)
class Analysis:
    """What the check of the spec at `root` found out."""

    root: Path
    checked: Checked

    @property
    def state(self) -> State | None:
        return self.checked.state

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


def place_of(found: Diagnostic) -> Path | None:
    """The file that a finding is in, where it is in a spec file."""
    return found.place.source.file if isinstance(found.place, Place) else None


class Project:
    """Every spec that is open, checked when it is asked for, and again when a file of it has changed."""

    def __init__(self) -> None:
        self.documents = Documents()
        self._analyses: dict[Path, Analysis] = {}
        self._imports: dict[Path, dict[Path, tuple[Path, ...]]] = {}
        self._settings: dict[Path, tuple[Settings, Sequence[Diagnostic]]] = {}

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
            self._settings.clear()
            return
        changed = set(paths)
        self._analyses = {root: known for root, known in self._analyses.items() if changed.isdisjoint(known.paths)}

    def analysis(self, root: Path) -> Analysis:
        """What the check of the spec at `root` finds out."""
        if root not in self._analyses:
            checked = examine(root, disk=self.documents, modules=True)
            lint(checked)
            self._analyses[root] = Analysis(root, checked)
        return self._analyses[root]

    def findings(self, analyses: Iterable[Analysis]) -> dict[Path, list[Diagnostic]]:
        """What is found in each file of some specs, each finding once, at the levels of their projects. A finding about a data
        file, or about no place, stands at the root."""
        paths: dict[Path, list[Diagnostic]] = {}
        found: dict[Identity, Diagnostic] = {}
        roots: dict[Identity, Path] = {}
        files: dict[Path, File] = {}
        projects: dict[Path, Settings] = {}
        for analysis in analyses:
            settings, wrong = self._settings_of(analysis.root)
            projects[settings.root] = settings
            files.update((file.path, file) for file in (analysis.state.loaded.files if analysis.state else ()))
            for diagnostic in (*analysis.checked.findings.items, *wrong):
                roots.setdefault(identity(diagnostic), analysis.root)
                found.setdefault(identity(diagnostic), diagnostic)
            paths.update((path, []) for path in (analysis.root, *files) if path not in paths)
        for diagnostic in graded(found.values(), files.values(), projects, UNSEEN):
            path = place_of(diagnostic) or roots.get(identity(diagnostic))
            if path is not None:
                paths.setdefault(path, []).append(diagnostic)
        return paths

    def _settings_of(self, root: Path) -> tuple[Settings, Sequence[Diagnostic]]:
        """What the project of a root file says about findings, and what is wrong with that."""
        folder = find_root(root)
        if folder not in self._settings:
            findings = Findings()
            self._settings[folder] = read_project(folder, findings), tuple(findings.items)
        return self._settings[folder]

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
