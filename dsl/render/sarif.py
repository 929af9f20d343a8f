"""Findings as a SARIF 2.1.0 log, which code scanning reads.

One run. Rules are those that came up, in the order of their ids, with the names and summaries of the registry. Regions count
columns in code points, from 1, and their end lies behind them. A finding's fingerprint is of its code, its file, the text of its
line and its message, so that it survives what moves lines.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Sequence
from typing import Any

from ...version import VERSION
from ..diagnostics import Code, Diagnostic, Fix, Related
from ..source import DataPlace, Place
from .text import in_order

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "mcd/v1"
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~/")


def render_sarif(diagnostics: Sequence[Diagnostic], files: Sequence[str] = ()) -> str:
    """A log with one run; `files` are those that were checked, as shown."""
    found = in_order(diagnostics)
    rules = sorted({item.code for item in found}, key=lambda code: code.id)
    places = {code.id: at for at, code in enumerate(rules)}
    run = {
        "tool": {"driver": {"name": "mcd", "version": VERSION, "rules": [_rule(code) for code in rules]}},
        "columnKind": "unicodeCodePoints",
        "artifacts": [{"location": _artifact(path)} for path in files],
        "results": [_result(item, places[item.code.id]) for item in found],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=True) + "\n"


def _rule(code: Code) -> dict[str, Any]:
    return {
        "id": code.id,
        "name": code.name,
        "shortDescription": {"text": code.summary},
        "defaultConfiguration": {"level": code.severity.value},
    }


def _result(found: Diagnostic, rule: int) -> dict[str, Any]:
    message = found.message if found.help is None else f"{found.message}. Help: {found.help}"
    result: dict[str, Any] = {
        "ruleId": found.code.id,
        "ruleIndex": rule,
        "level": found.severity.value,
        "message": {"text": message},
        "locations": [] if found.place is None else [{"physicalLocation": _location(found.place)}],
        "partialFingerprints": {FINGERPRINT: fingerprint(found)},
    }
    if found.related:
        result["relatedLocations"] = [_related(at, related) for at, related in enumerate(found.related)]
    if found.fixes:
        result["fixes"] = [_fix(fix) for fix in found.fixes]
    return result


def fingerprint(found: Diagnostic) -> str:
    """32 hexadecimal digits that tell a finding from others, wherever its line has gone to."""
    place = found.place
    where = (place.source.path, _line(place)) if isinstance(place, Place) else (getattr(place, "path", ""), "")
    return hashlib.sha256("\0".join((found.code.id, *where, found.message)).encode()).hexdigest()[:32]


def _line(place: Place) -> str:
    """The text of the line of a place, without the blanks around it."""
    return place.source.line(place.source.position(place.start)[0]).strip()


def _related(at: int, related: Related) -> dict[str, Any]:
    return {"id": at, "message": {"text": related.message}, "physicalLocation": _location(related.place)}


def _fix(fix: Fix) -> dict[str, Any]:
    changes: dict[str, list[dict[str, Any]]] = {}
    for edit in fix.edits:
        replacement = {"deletedRegion": _region(edit.place), "insertedContent": {"text": edit.text}}
        changes.setdefault(edit.place.source.path, []).append(replacement)
    return {
        "description": {"text": fix.title},
        "artifactChanges": [
            {"artifactLocation": _artifact(path), "replacements": made} for path, made in changes.items()
        ],
        "properties": {"applicability": fix.applicability.value},
    }


def _location(place: Place | DataPlace) -> dict[str, Any]:
    if isinstance(place, Place):
        return {"artifactLocation": _artifact(place.source.path), "region": _region(place)}
    region = {} if place.line is None else {"region": {"startLine": place.line}}
    return {"artifactLocation": _artifact(place.path), **region}


def _artifact(path: str) -> dict[str, Any]:
    """A relative URI, RFC 3986: whatever is not unreserved there, or `/`, is written as its bytes in UTF-8."""
    return {"uri": "".join(chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in path.encode())}


def _region(place: Place) -> dict[str, int]:
    line, column = place.source.position(place.start)
    last, end = place.source.position(place.end)
    return {"startLine": line, "startColumn": column, "endLine": last, "endColumn": end}
