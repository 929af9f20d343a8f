"""What a project says about the check: `[check]` in mcd.toml, or `[tool.mcd.check]` in pyproject.toml, of the root folder.

mcd.toml wins where it holds anything; it may be empty, to mark the root alone. A key that nothing reads, a code that nothing has
and a value of another type are findings in the file itself.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..codes import CODES, named
from ..codes import project as codes
from ..diagnostics import Code, Diagnostic, Failure, Findings, Severity, did_you_mean
from ..load import ROOT_MARKS
from ..parse import read_source
from ..source import Place, SourceText

Level: TypeAlias = Literal["allow", "warn", "error"]

LISTS: tuple[Level, ...] = ("allow", "warn", "error")
PER_FILE = "per-file-allow"
EXCLUDE = "exclude"
KEYS = (*LISTS, PER_FILE, EXCLUDE)
ALL = "all"


@dataclass(frozen=True, slots=True)
class Project:
    """What a project says: the level of warnings by id, what is allowed in files that match a pattern, what folders leave out.

    `strict`: every warning that `levels` does not name is an error.
    """

    root: Path
    levels: dict[str, Level] = field(default_factory=dict)
    strict: bool = False
    per_file: tuple[tuple[str, frozenset[str]], ...] = ()
    exclude: tuple[str, ...] = ()

    def level(self, code: Code, path: Path | None) -> Level:
        """What becomes of a warning in the file at `path`."""
        if path is not None and any(
            code.id in allowed for pattern, allowed in self.per_file if self.covers(pattern, path)
        ):
            return "allow"
        return self.levels.get(code.id, "error" if self.strict else "warn")

    def covers(self, pattern: str, path: Path) -> bool:
        """Whether a pattern, relative to the root, matches a path."""
        return path.is_relative_to(self.root) and matches(pattern, path.relative_to(self.root).as_posix())


def read_project(root: Path, findings: Findings, base: Path | None = None) -> Project:
    """The project of a root folder; what is wrong with its file is added to `findings`. `base` is as in `load`."""
    read: list[tuple[_Toml, dict[str, Any], tuple[str, ...]]] = []
    for mark, prefix in zip(ROOT_MARKS, ((), ("tool", "mcd")), strict=True):
        try:
            toml = _load(root / mark, base if base is not None and root.is_relative_to(base) else root)
        except Failure as failure:
            findings.items.extend(failure.diagnostics)
            continue
        table: Any = toml.table if toml else {}
        for key in prefix:
            table = table.get(key, {}) if isinstance(table, dict) else {}
        if toml is not None and table:
            read.append((toml, table, prefix))
    if not read:
        return Project(root)
    if len(read) > 1:
        toml, _, prefix = read[1]
        message = f"`{'.'.join(prefix)}` is not read, since `{ROOT_MARKS[0]}` configures the project"
        findings.add(codes.TWO_PROJECTS.at(toml.place(prefix), message, help="move it there"))
    return _Reader(root, *read[0], findings).project()


def overridden(project: Project, levels: dict[str, Level], strict: bool) -> Project:
    """The project with levels from the command line, which win; `strict` there leaves no warning of the project's lists."""
    own = {id: level for id, level in project.levels.items() if not strict or level != "warn"}
    return replace(project, levels={**own, **levels}, strict=project.strict or strict)


def resolve(word: str, level: Level) -> tuple[list[Code], Diagnostic | None]:
    """The warnings that a word names, or what is wrong with it, without a place."""
    found = named(word)
    if not found:
        near = did_you_mean(word, [*CODES, *(code.name for code in CODES.values())])
        return [], codes.UNKNOWN_CODE.at(None, f"no finding is called `{word}`", help=near)
    warnings = [code for code in found if code.severity is Severity.WARNING]
    if not warnings and level != "error":
        done = "allowed" if level == "allow" else "a warning"
        return [], codes.NO_WARNING.at(None, f"`{word}` is an error, which cannot be {done}")
    return warnings, None


# --- patterns --------------------------------------------------------------------------------------------------------


def matches(pattern: str, path: str) -> bool:
    """Whether a glob matches a path with `/`: `*` and `?` within a step, `**` any number of steps. A folder matches all below."""
    steps, wanted = path.split("/"), [step for step in pattern.removeprefix("./").split("/") if step]
    if "/" not in pattern.rstrip("/"):
        wanted = ["**", *wanted]  # a bare name stands anywhere, as in .gitignore
    reached = {0}
    for step in wanted:
        if step == "**":
            reached = set(range(min(reached), len(steps) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(steps) and _step(step, steps[at])}
    return bool(reached)


def _step(pattern: str, text: str) -> bool:
    """Whether a pattern of `*`, `?` and letters matches a text, in time of their product."""
    reached = {0}
    for char in pattern:
        if char == "*":
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(text) and char in ("?", text[at])}
    return len(text) in reached


# --- TOML ------------------------------------------------------------------------------------------------------------

_KEY = re.compile(
    r"""[ \t]*((?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?:[ \t]*\.[ \t]*(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'))*)[ \t]*="""
)
_AT = re.compile(r"at line (\d+), column (\d+)")


@dataclass(frozen=True)
class _Toml:
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


def _load(path: Path, base: Path) -> _Toml | None:
    """A file as TOML, None where there is none. Raises Failure where it is no TOML."""
    if not path.is_file():
        return None
    source = read_source(path, path.relative_to(base).as_posix())
    try:
        return _Toml(source, tomllib.loads(source.text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        at = _AT.search(str(error))
        start = source.line_starts[int(at[1]) - 1] + int(at[2]) - 1 if at else len(source.text)
        reason = str(error).split(" (at ")[0]
        raise Failure(
            codes.BAD_PROJECT.at(Place(source, start, start), f"`{source.path}` is no TOML: {reason}")
        ) from None


@dataclass(slots=True)
class _Reader:
    """Reads the table of a project, and reports what it cannot read."""

    root: Path
    toml: _Toml
    table: dict[str, Any]
    prefix: tuple[str, ...]
    findings: Findings

    def project(self) -> Project:
        self._known(self.table, self.prefix, ("check",))
        check = self._typed(self.table.get("check", {}), dict, "a table", "check")
        self._known(check, (*self.prefix, "check"), KEYS)
        levels: dict[str, Level] = {}
        strict = False
        for level in LISTS:
            for word in self._words(check.get(level, []), level):
                if word == ALL and level == "error":
                    strict = True
                    continue
                for code in self._codes(word, level, level):
                    if levels.setdefault(code.id, level) != level:
                        message = f"`{word}` is in `{levels[code.id]}` and in `{level}`"
                        self._report(codes.BAD_PROJECT, message, level, value=word)
        per_file = self._typed(check.get(PER_FILE, {}), dict, "a table of patterns", PER_FILE)
        allowed = tuple(
            (
                pattern,
                frozenset(
                    code.id
                    for word in self._words(words, PER_FILE, pattern)
                    for code in self._codes(word, "allow", PER_FILE, pattern)
                ),
            )
            for pattern, words in per_file.items()
        )
        return Project(self.root, levels, strict, allowed, tuple(self._words(check.get(EXCLUDE, []), EXCLUDE)))

    def _known(self, table: dict[str, Any], path: tuple[str, ...], keys: tuple[str, ...]) -> None:
        for key in table:
            if key not in keys:
                where = f"[{'.'.join(path)}]" if path else f"`{self.toml.source.path}`"
                place = self.toml.place((*path, key))
                self.findings.add(
                    codes.UNKNOWN_KEY.at(place, f"{where} has no key `{key}`", help=did_you_mean(key, keys))
                )

    def _codes(self, word: str, level: Level, *path: str) -> Iterator[Code]:
        found, wrong = resolve(word, level)
        if wrong is not None:
            self._report(wrong.code, wrong.message, *path, value=word, help=wrong.help)
        yield from found

    def _words(self, value: Any, *path: str) -> list[str]:
        """A string, or a list of them."""
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            self._report(
                codes.BAD_PROJECT, f"`{path[-1]}` takes a list of strings, found {type(value).__name__}", *path
            )
            return []
        return words

    def _typed(self, value: Any, kind: type, wanted: str, key: str) -> Any:
        if isinstance(value, kind):
            return value
        path = () if key == "check" else (key,)
        self._report(codes.BAD_PROJECT, f"`{key}` is {wanted}, found {type(value).__name__}", *path)
        return kind()

    def _report(self, code: Code, message: str, *path: str, value: str | None = None, help: str | None = None) -> None:
        place = self.toml.place((*self.prefix, "check", *path), value)
        self.findings.add(code.at(place, message, help=help))
