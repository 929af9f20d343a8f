"""What a project says about the check: `[check]` in mcd.toml, or `[tool.mcd.check]` in pyproject.toml, of the root folder.

mcd.toml wins where it holds anything; it may be empty, to mark the root alone. A key that nothing reads, a code that nothing has
and a value of another type are findings in the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..codes import CODES, named
from ..codes import project as codes
from ..diagnostics import Code, Diagnostic, Findings, Severity, did_you_mean
from ..load import ROOT_MARKS
from ..toml import Settings, project_settings

Level: TypeAlias = Literal["allow", "warn", "error"]

LISTS: tuple[Level, ...] = ("allow", "warn", "error")
PER_FILE = "per-file-allow"
EXCLUDE = "exclude"
TABLES = ("check", "remote")
"""What mcd reads of the file; `remote` is for `dsl/remote.py`."""
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
    read = project_settings(root, findings, base)
    if not read:
        return Project(root)
    if len(read) > 1:
        message = f"`{'.'.join(read[1].prefix)}` is not read, since `{ROOT_MARKS[0]}` configures the project"
        findings.add(codes.TWO_PROJECTS.at(read[1].place(), message, help="move it there"))
    return _Reader(root, read[0], findings).project()


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


# --- the table ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reader:
    """Reads the table of a project, and reports what it cannot read."""

    root: Path
    settings: Settings
    findings: Findings

    def project(self) -> Project:
        self._known(self.settings.table, self.settings.prefix, TABLES)
        check = self._typed(self.settings.table.get("check", {}), dict, "a table", "check")
        self._known(check, (*self.settings.prefix, "check"), KEYS)
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
                where = f"[{'.'.join(path)}]" if path else f"`{self.settings.toml.source.path}`"
                place = self.settings.toml.place((*path, key))
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
        place = self.settings.place("check", *path, value=value)
        self.findings.add(code.at(place, message, help=help))
