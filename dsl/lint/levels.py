"""What becomes of findings: a comment lets one pass, a project raises or allows it.

Errors stay errors. A comment wins over the command line, that over patterns of files, those over the project's lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ..diagnostics import Diagnostic, Findings, Severity
from ..load import File, find_root
from ..source import Place
from .allow import Allow, allows, unused
from .project import Project


def graded(
    found: Iterable[Diagnostic], files: Iterable[File], projects: Mapping[Path, Project], skipped: Iterable[str] = ()
) -> list[Diagnostic]:
    """Findings as comments in `files` and `projects`, by root folder, want them, and the comments that let nothing pass.

    `skipped`: ids of findings that nobody looked for, so that a comment for them is not idle. Beside an error none is called
    idle, since what it allows may come once the error is gone.
    """
    noted = Findings()
    comments = {file.path: allows(file, noted) for file in files}
    kept = [found for found in (*found, *noted.items) if not _passes(found, comments)]
    for named in comments.values():
        for allow in named:
            allow.used = allow.used or not allow.ids.isdisjoint(skipped)
    if not any(item.severity is Severity.ERROR for item in kept):
        idle = [item for named in comments.values() for item in unused(named)]
        kept += [item for item in idle if not _passes(item, comments)]
    return [graded for item in kept if (graded := leveled(item, projects)) is not None]


def _passes(found: Diagnostic, comments: Mapping[Path, list[Allow]]) -> bool:
    """Whether a comment lets a finding pass; notes that it did."""
    if not isinstance(found.place, Place) or found.place.source.file is None:
        return False
    passes = False
    for allow in comments.get(found.place.source.file, ()):
        if found.code.severity is Severity.WARNING and allow.covers(found):
            allow.used = passes = True
    return passes


def leveled(found: Diagnostic, projects: Mapping[Path, Project]) -> Diagnostic | None:
    """A finding at the level that its project gives it, the first one where it is in no spec; None where it is allowed."""
    if found.code.severity is Severity.ERROR:
        return found
    path = found.place.source.file if isinstance(found.place, Place) else None
    project = projects.get(find_root(path)) if path is not None else next(iter(projects.values()), None)
    if project is None:
        return found
    level = project.level(found.code, path)
    if level == "allow":
        return None
    return replace(found, level=Severity.ERROR) if level == "error" else found
