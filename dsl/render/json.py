"""Findings as one JSON object of version 1: a stable surface, described by docs/schema/check.json.

Fields are added, never changed or taken away, without a new version.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..diagnostics import Diagnostic, Fix, Severity
from ..source import DataPlace, Place
from .text import in_order

VERSION = 1


def render_json(diagnostics: Sequence[Diagnostic], files: Sequence[str] = (), **more: Any) -> str:
    """All findings in order of their places. `files`: those that were checked, as shown; `more`: what else was asked for."""
    counts = {f"{severity}s": sum(item.severity is severity for item in diagnostics) for severity in Severity}
    found = {
        "version": VERSION,
        "diagnostics": [_json(diagnostic) for diagnostic in in_order(diagnostics)],
        "files": list(files),
        "summary": counts,
        **more,
    }
    return json.dumps(found, indent=2, ensure_ascii=True) + "\n"


def _json(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "code": diagnostic.code.id,
        "name": diagnostic.code.name,
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        "help": diagnostic.help,
        **_place(diagnostic.place),
        "related": [{"message": related.message, **_place(related.place)} for related in diagnostic.related],
        "fixes": [_fix(fix) for fix in diagnostic.fixes],
    }


def _fix(fix: Fix) -> dict[str, Any]:
    return {
        "title": fix.title,
        "applicability": fix.applicability.value,
        "edits": [{**_place(edit.place), "text": edit.text} for edit in fix.edits],
    }


def _place(place: Place | DataPlace | None) -> dict[str, Any]:
    """`offset` counts characters from 0, `line` and `column` from 1; null where unknown."""
    if place is None:
        return {"path": None, "start": None, "end": None}
    if isinstance(place, DataPlace):
        at = None if place.line is None else {"offset": None, "line": place.line, "column": None}
        return {"path": place.path, "start": at, "end": at}
    return {"path": place.source.path, "start": _point(place, place.start), "end": _point(place, place.end)}


def _point(place: Place, offset: int) -> dict[str, int]:
    line, column = place.source.position(offset)
    return {"offset": offset, "line": line, "column": column}
