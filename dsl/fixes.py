"""Fixes -> text: applying the edits of findings, all of a fix or none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .diagnostics import Diagnostic, Edit
from .source import SourceText


def certain_fixes(found: Iterable[Diagnostic], files: Iterable[Path]) -> dict[Path, str]:
    """New texts, by path, of those `files` that the certain fixes of findings change.

    Of fixes that touch each other the first is made; what the others say is found again in the new text. A fix that would change
    a file that is not among `files` is left out.
    """
    allowed = set(files)
    sources: dict[Path, SourceText] = {}
    made: dict[Path, list[Edit]] = {}
    for diagnostic in found:
        fix = diagnostic.certain
        paths = [edit.place.source.file for edit in fix.edits] if fix else []
        if fix is None or any(path is None or path not in allowed for path in paths):
            continue
        if all(
            _apart(edit, made.get(path, ())) for edit, path in zip(fix.edits, paths, strict=True) if path is not None
        ):
            for edit, path in zip(fix.edits, paths, strict=True):
                assert path is not None
                sources[path] = edit.place.source
                made.setdefault(path, []).append(edit)
    return {path: applied(sources[path].text, edits) for path, edits in made.items()}


def applied(text: str, edits: Iterable[Edit]) -> str:
    """The text after edits that lie apart."""
    parts, at = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.place.start, edit.place.end)):
        parts += [text[at : edit.place.start], edit.text]
        at = edit.place.end
    return "".join([*parts, text[at:]])


def _apart(edit: Edit, others: Iterable[Edit]) -> bool:
    """Whether an edit touches none of the others."""
    return all(edit.place.end < other.place.start or other.place.end < edit.place.start for other in others)
