"""Spec files as an editor sees them: those that are open as they stand unsaved, all others as they are on the disk.

A file's pieces are parsed once per text, so that a check after a keystroke parses what the keystroke changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .. import ast
from ..diagnostics import Findings
from ..load import Disk
from ..parse import Pieces, parse
from ..source import SourceText


class Documents(Disk):
    """The files of a check, by their resolved paths."""

    def __init__(self) -> None:
        self._texts: dict[Path, str] = {}
        super().__init__(self._texts)
        self._pieces: dict[Path, Pieces] = {}

    def put(self, path: Path, text: str) -> None:
        """`path` is open with this text."""
        self._texts[path] = text

    def drop(self, path: Path) -> None:
        """`path` is open no more."""
        self._texts.pop(path, None)
        self._pieces.pop(path, None)

    @property
    def open(self) -> tuple[Path, ...]:
        """The paths that are open."""
        return tuple(self._texts)

    def text(self, path: Path) -> str | None:
        """The text of a file that is open."""
        return self._texts.get(path)

    def parse(self, path: Path, source: SourceText, findings: Findings) -> ast.Spec:
        return parse(source, findings, self._pieces.setdefault(path, {}))


class Changed(Disk):
    """Documents with a few of them changed, to see what a change would do. What it is made of stays as it is."""

    def __init__(self, documents: Documents, texts: Mapping[Path, str]) -> None:
        super().__init__(texts)
        self._below = documents

    def has(self, path: Path) -> bool:
        return path in self.texts or self._below.has(path)

    def read(self, path: Path, shown: str) -> SourceText:
        return super().read(path, shown) if path in self.texts else self._below.read(path, shown)

    def parse(self, path: Path, source: SourceText, findings: Findings) -> ast.Spec:
        return (
            super().parse(path, source, findings) if path in self.texts else self._below.parse(path, source, findings)
        )
