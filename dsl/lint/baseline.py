"""A baseline: warnings that a project has, written down, so that only new ones are reported.

An entry is a code, a file relative to the baseline, the text of the line and the message, and how often they come; the number of
the line is no part of it, so that a finding is known again wherever its line has gone to. Errors are never in a baseline: a spec
with one does not compile, whatever anybody wrote down.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..codes import project as codes
from ..diagnostics import Diagnostic, Failure, Severity
from ..source import DataPlace, Place

VERSION = 1


class Entry(NamedTuple):
    """A finding as it is written down."""

    path: str
    code: str
    line: str
    message: str


def written(found: Iterable[Diagnostic], path: Path) -> str:
    """The baseline at `path` of findings, as JSON; those that are errors by themselves are left out."""
    counts = Counter(entry for item in found if (entry := _entry(item, path.parent)) is not None)
    entries = [{**entry._asdict(), "count": count} for entry, count in sorted(counts.items())]
    return json.dumps({"version": VERSION, "findings": entries}, indent=2, ensure_ascii=False) + "\n"


def compared(
    found: Sequence[Diagnostic], path: Path, shown: str, checked: Iterable[Path]
) -> tuple[list[Diagnostic], list[Diagnostic]]:
    """Findings without those of the baseline at `path`, and one for each of its entries in a `checked` file that did not come.

    Raises Failure where it cannot be read.
    """
    left = _read(path, shown)
    kept = []
    for item in found:
        entry = _entry(item, path.parent)
        if entry is not None and left[entry] > 0:
            left[entry] -= 1
        else:
            kept.append(item)
    files = {_relative(file, path.parent) for file in checked}
    return kept, [_stale(entry, shown) for entry, count in left.items() if count > 0 and entry.path in files]


def _entry(found: Diagnostic, folder: Path) -> Entry | None:
    if found.code.severity is Severity.ERROR:
        return None
    place = found.place
    if isinstance(place, Place):
        line = place.source.line(place.source.position(place.start)[0]).strip()
        file = place.source.file
        return Entry(_relative(file, folder) if file else place.source.path, found.code.id, line, found.message)
    return Entry("" if place is None else place.path, found.code.id, "", found.message)


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _read(path: Path, shown: str) -> Counter[Entry]:
    place = DataPlace(shown)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Failure(codes.BAD_BASELINE.at(place, f"cannot read `{shown}`: {error.strerror}")) from None
    except (ValueError, RecursionError) as error:
        raise Failure(codes.BAD_BASELINE.at(place, f"`{shown}` is no JSON: {error}")) from None
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise Failure(codes.BAD_BASELINE.at(place, f"`{shown}` is no baseline of version {VERSION}"))
    try:
        return Counter({Entry(**_strings(entry)): int(entry["count"]) for entry in content["findings"]})
    except (KeyError, TypeError, ValueError):
        raise Failure(codes.BAD_BASELINE.at(place, f"`{shown}` has an entry that is no finding")) from None


def _strings(entry: dict[str, Any]) -> dict[str, str]:
    return {name: str(entry[name]) for name in Entry._fields}


def _stale(entry: Entry, shown: str) -> Diagnostic:
    message = f"`{entry.path}` has no {entry.code} any more: {entry.message}"
    help = "write the baseline anew with `--write-baseline`"
    return codes.STALE_BASELINE.at(DataPlace(shown), message, help=help)
