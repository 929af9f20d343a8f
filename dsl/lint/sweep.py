"""Many specs -> one list of findings: what `mcd check` does, without its printing.

Each spec is checked with what it imports; what several find alike is one finding. A file that others import is checked with them.
If none of the specs does, it is checked as a module: by itself, without a model (see `examine`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import checked as c
from ..check import examine
from ..check.declare import is_module
from ..diagnostics import Diagnostic, Findings
from ..fixes import certain_fixes
from ..load import Disk, File, find_root
from ..source import Place
from . import lint
from .levels import graded, leveled
from .project import Level, Project, overridden, read_project

Identity = tuple[object, ...]
MAX_ROUNDS = 20
"""How often fixes are made before what they lead to is left to a person."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a sweep is asked for: another model and settings, as `check` takes them; levels by id that win over those of projects,
    and whether every other warning is an error; the folder that paths are shown relative to; ids that nobody looks for."""

    model: Path | None = None
    settings: tuple[str, ...] = ()
    levels: Mapping[str, Level] = field(default_factory=dict)
    strict: bool = False
    base: Path | None = None
    skipped: frozenset[str] = frozenset()


@dataclass(slots=True)
class Swept:
    """What was found: findings before their levels, files by path, projects by root folder, and the programs without an error."""

    wanted: Wanted
    found: dict[Identity, Diagnostic] = field(default_factory=dict)
    files: dict[Path, File] = field(default_factory=dict)
    projects: dict[Path, Project] = field(default_factory=dict)
    programs: list[c.Program] = field(default_factory=list)

    def add(self, found: Iterable[Diagnostic]) -> None:
        """Take in findings, each once."""
        for diagnostic in found:
            self.found.setdefault(identity(diagnostic), diagnostic)

    def findings(self) -> list[Diagnostic]:
        """All findings at their levels."""
        return graded(self.found.values(), self.files.values(), self.projects, self.wanted.skipped)

    def leveled(self, found: Iterable[Diagnostic]) -> list[Diagnostic]:
        """Findings about no spec, at the levels of the first project."""
        return [item for each in found if (item := leveled(each, self.projects)) is not None]

    @property
    def shown(self) -> list[str]:
        """The files that were checked, as shown."""
        return sorted({file.source.path for file in self.files.values()})


def sweep(specs: Sequence[Path], wanted: Wanted, texts: Mapping[Path, str] | None = None) -> Swept:
    """Check and lint specs. `texts` stand for the content of files, by resolved path."""
    swept = Swept(wanted)
    for spec in specs:
        path = Path(os.path.realpath(spec))
        known = swept.files.get(path)
        if known is not None and is_module(known):
            continue
        project = _project(swept, path)
        checked = examine(spec, wanted.model, wanted.settings, disk=Disk(texts), base=wanted.base, modules=True)
        lint(checked)
        swept.add(checked.findings.items)
        if checked.state is not None:
            for file in checked.state.loaded.files:
                swept.files.setdefault(file.path, file)
        if checked.program is not None:
            swept.programs.append(checked.program)
        swept.projects.setdefault(project.root, project)
    return swept


def _project(swept: Swept, path: Path) -> Project:
    """The project of a spec, with the levels that win over its own."""
    root = find_root(path)
    if root not in swept.projects:
        findings = Findings()
        project = read_project(root, findings, swept.wanted.base)
        swept.add(findings.items)
        swept.projects[root] = overridden(project, dict(swept.wanted.levels), swept.wanted.strict)
    return swept.projects[root]


def repair(
    specs: Sequence[Path], wanted: Wanted, texts: Mapping[Path, str] | None = None
) -> tuple[Swept, dict[Path, str]]:
    """A sweep after every certain fix in the specs was made, and the new texts of those that it changed. Nothing is written."""
    own = [Path(os.path.realpath(spec)) for spec in specs]
    given, changed = dict(texts or {}), dict[Path, str]()
    for _ in range(MAX_ROUNDS):
        swept = sweep(specs, wanted, given | changed)
        new = certain_fixes(swept.findings(), own)
        if not new:
            break
        changed |= new
    return swept, changed


def identity(diagnostic: Diagnostic) -> Identity:
    """What tells a finding from others: specs that share a file may find it several times."""
    place = diagnostic.place
    where = (place.source.path, place.source.file, place.start, place.end) if isinstance(place, Place) else place
    return diagnostic.code.id, diagnostic.message, where
