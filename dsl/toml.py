"""The file that configures a project, mcd.toml or pyproject.toml, with the place of each key, which tomllib does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .codes import project as codes
from .diagnostics import Failure, Findings
from .load import ROOT_MARKS
from .parse import read_source
from .source import Place, SourceText

_KEY = re.compile(
    r"""[ \t]*((?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?:[ \t]*\.[ \t]*(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'))*)[ \t]*="""
)
_AT = re.compile(r"at line (\d+), column (\d+)")
PREFIXES = ((), ("tool", "mcd"))
"""Where what is mcd's stands in each of `ROOT_MARKS`."""


@dataclass(frozen=True)
class Toml:
    """A TOML file as read, and where its keys stand, which tomllib does not tell."""

    source: SourceText
    table: dict[str, Any]

    @cached_property
    def keys(self) -> dict[tuple[str, ...], Place]:
        """The place of each key that starts a line, by its path."""
        found: dict[tuple[str, ...], Place] = {}
        table: tuple[str, ...] = ()
        for start in self.source.line_starts:
            end = self.source.text.find("\n", start)
            line = self.source.text[start : len(self.source.text) if end < 0 else end]
            try:
                if line.lstrip().startswith("["):
                    table = _path(tomllib.loads(line))
                    found[table] = Place(self.source, start, start + len(line.rstrip()))
                elif key := _KEY.match(line):
                    place = Place(self.source, start + key.start(1), start + key.end(1))
                    found.setdefault((*table, *_path(tomllib.loads(f"{key[1]} = 0"))), place)
            except tomllib.TOMLDecodeError:
                continue  # a line inside a longer value
        return found

    def place(self, path: Sequence[str], value: str | None = None) -> Place:
        """Where a key stands, or a string in its value; the nearest key above it where that is not seen."""
        for length in range(len(path), -1, -1):
            place = self.keys.get(tuple(path[:length]))
            if place is not None:
                quoted = (
                    [self.source.text.find(f"{quote}{value}{quote}", place.end) for quote in "\"'"] if value else []
                )
                at = min((at for at in quoted if at >= 0), default=-1)
                return Place(self.source, at, at + len(value or "") + 2) if at >= 0 else place
        return Place(self.source, 0, 0)


def _path(table: Any) -> tuple[str, ...]:
    steps: list[str] = []
    while isinstance(table, dict) and table:
        ((step, table),) = table.items()
        steps.append(step)
    return tuple(steps)


def load_toml(path: Path, base: Path) -> Toml | None:
    """A file as TOML, None where there is none. Raises Failure where it is no TOML."""
    if not path.is_file():
        return None
    source = read_source(path, path.relative_to(base).as_posix())
    try:
        return Toml(source, tomllib.loads(source.text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        at = _AT.search(str(error))
        start = source.line_starts[int(at[1]) - 1] + int(at[2]) - 1 if at else len(source.text)
        reason = str(error).split(" (at ")[0]
        raise Failure(
            codes.BAD_PROJECT.at(Place(source, start, start), f"`{source.path}` is no TOML: {reason}")
        ) from None


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file says of mcd: the file, its table, and the keys that lead to the table."""

    toml: Toml
    table: dict[str, Any]
    prefix: tuple[str, ...]

    def place(self, *path: str, value: str | None = None) -> Place:
        """Where a key of the table stands, or a string in its value."""
        return self.toml.place((*self.prefix, *path), value)


def project_settings(root: Path, findings: Findings, base: Path | None = None) -> list[Settings]:
    """What the files of a root folder say of mcd, the one that is read first. `base` is as in `load`; a file that is no TOML is a
    finding."""
    read: list[Settings] = []
    for mark, prefix in zip(ROOT_MARKS, PREFIXES, strict=True):
        try:
            toml = load_toml(root / mark, base if base is not None and root.is_relative_to(base) else root)
        except Failure as failure:
            findings.items.extend(failure.diagnostics)
            continue
        table: Any = toml.table if toml else {}
        for key in prefix:
            table = table.get(key, {}) if isinstance(table, dict) else {}
        if toml is not None and table:
            read.append(Settings(toml, table, prefix))
    return read
