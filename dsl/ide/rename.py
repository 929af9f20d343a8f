"""Renaming a declaration everywhere it is named, in all specs that share its file.

What comes out is checked before it is given: the same names must mean the same declarations, and nothing new may be found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..check import examine
from ..cut import KEYWORDS, OPERATORS, RESERVED
from ..diagnostics import Severity
from ..vocabulary import PRELUDE_SETS
from .documents import Changed
from .names import Names, Occurrence
from .project import Analysis, Project

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TAKEN = (*KEYWORDS, *OPERATORS, *RESERVED, *PRELUDE_SETS, "mcd", "final", "live")


class Refused(Exception):
    """What was asked for cannot be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """The characters `[start, end)` of a file become another text."""

    start: int
    end: int
    text: str


def renamed_at(project: Project, path: Path, offset: int) -> Occurrence:
    """The name at a cursor, where it can be renamed. Raises `Refused`."""
    found = next((name for analysis in project.of_file(path) if (name := analysis.names.at(path, offset))), None)
    if found is None:
        raise Refused("there is no name that a declaration gives here")
    return found


def rename(project: Project, path: Path, offset: int, name: str) -> dict[Path, list[Change]]:
    """The changes that give a declaration another name, by file. Raises `Refused`."""
    found = renamed_at(project, path, offset)
    if not _NAME.fullmatch(name):
        raise Refused(f"`{name}` is no name: letters, digits and `_`, no digit first")
    if name in _TAKEN:
        raise Refused(f"`{name}` is a word of the language")
    analyses = project.of_file(found.found.file.path, None)
    for analysis in analyses:
        _check_free(analysis, found, name)
    places = sorted({(each.path, each.start, each.end) for one in analyses for each in one.names.of(found.key)})
    changes: dict[Path, list[Change]] = {}
    for where, start, end in places:
        changes.setdefault(where, []).append(Change(start, end, name))
    _verify(project, analyses, changes)
    return changes


def _check_free(analysis: Analysis, found: Occurrence, name: str) -> None:
    assert analysis.state is not None
    for file, names in analysis.state.names.items():
        if file.path == found.found.file.path and (taken := names.get(name)) is not None:
            one = names.get(found.found.ident.name)
            if one is not None and one.ident.place.start == found.found.ident.place.start:
                raise Refused(f"`{name}` is declared already, as a {taken.noun}")
    for file in analysis.state.loaded.files:
        if file.broken and any(each.path == file.path for each in analysis.names.of(found.key)):
            raise Refused(f"`{file.source.path}` has syntax errors, so that names may be missed")


def _verify(project: Project, analyses: Sequence[Analysis], changes: dict[Path, list[Change]]) -> None:
    texts = {path: apply(project.documents.read(path, path.name).text, some) for path, some in changes.items()}
    for analysis in analyses:
        after = Analysis(analysis.root, examine(analysis.root, disk=Changed(project.documents, texts), modules=True))
        new = _codes(after) - _codes(analysis)
        if new:
            item = next(item for item in after.checked.findings.items if item.code.id in new)
            raise Refused(f"that would be an error: {item.message}")
        if _meanings(analysis.names) != _meanings(after.names):
            raise Refused("another name would come to mean something else")


def _codes(analysis: Analysis) -> Counter[str]:
    return Counter(item.code.id for item in analysis.checked.findings.items if item.severity is Severity.ERROR)


def _meanings(names: Names) -> list[tuple[Path, int]]:
    """For each name, in order, which declaration it names, whatever that is called."""
    ranks: dict[object, int] = {}
    return [(each.path, ranks.setdefault(each.key, len(ranks))) for each in names.all]


def apply(text: str, changes: Sequence[Change]) -> str:
    """`text` with changes that lie apart and are in order."""
    parts, at = [], 0
    for change in changes:
        parts += [text[at : change.start], change.text]
        at = change.end
    return "".join([*parts, text[at:]])
