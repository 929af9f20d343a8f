"""The counts of a spec's last compile, where it lies near: in `out`, or in a folder of `out`, below the project root.

Read as JSON alone, since what is shown to a person at a cursor need not be verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...compiler.manifest import MANIFEST_FILE, PLAN_FILE

OUT = "out"


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the manifest of a compiled directory counts, by rule and by set: split -> cause -> count."""

    shown: str
    rules: Mapping[str, Any]
    sets: Mapping[str, Any]

    def rule(self, id: str) -> str | None:
        """The counts of a rule in words."""
        return self._words(self.rules.get(id))

    def set(self, digest: str) -> str | None:
        """The counts of a set in words."""
        return self._words(self.sets.get(digest))

    def _words(self, counts: Any) -> str | None:
        if not isinstance(counts, Mapping) or not counts.get("splits"):
            return None
        said = [
            f"{split}: " + (", ".join(f"{count:,} {cause}" for cause, count in causes.items()) or "nothing")
            for split, causes in counts["splits"].items()
        ]
        return f"Compiled in `{self.shown}`: {'; '.join(said)}"


def last_compile(root: Path, spec: str) -> Compiled | None:
    """The newest directory that the spec was compiled to; `spec` is its path below the project `root`, as the plan has it."""
    found = [folder for folder in _folders(root / OUT) if _read(folder / PLAN_FILE).get("spec") == spec]
    if not found:
        return None
    newest = max(found, key=lambda folder: (folder / MANIFEST_FILE).stat().st_mtime_ns)
    manifest = _read(newest / MANIFEST_FILE)
    return Compiled(newest.relative_to(root).as_posix(), manifest.get("rules") or {}, manifest.get("sets") or {})


def _folders(out: Path) -> Iterator[Path]:
    with suppress(OSError):
        for folder in (out, *sorted(out.iterdir())):
            if (folder / MANIFEST_FILE).is_file() and (folder / PLAN_FILE).is_file():
                yield folder


def _read(path: Path) -> Mapping[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found, Mapping):
            return found
    return {}
