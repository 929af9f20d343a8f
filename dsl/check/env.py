"""What the passes of the check share: its state, and one file's view of it.

An `Env` is a file and the state; looking a name up, following a constant and reporting go through it. Whatever cannot give its
value reports why and raises `Reported`; who can go on without it catches that. A name whose declaration failed raises
`Reported` in silence, since the failure was reported where it happened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from .. import ast
from .. import checked as c
from ..codes import names as codes
from ..codes import values as value_codes
from ..contract import Contract
from ..diagnostics import Diagnostic, Findings, did_you_mean
from ..load import File, Loaded, locate
from ..source import Place

NOUNS = {
    ast.Import: "imported file",
    ast.Let: "constant",
    ast.Model: "model",
    ast.Teacher: "teacher",
    ast.Source: "source",
    ast.SpanDecl: "span",
    ast.Concept: "concept",
    ast.Frame: "frame",
    ast.Use: "used frame",
}


class Reported(Exception):
    """There is no value, and the findings say why."""


@dataclass(frozen=True, eq=False, slots=True)
class Declaration:
    """A name of one file, and the item that declares it. `noun` is what a message calls it."""

    ident: ast.Ident
    item: ast.Item
    file: File

    @property
    def noun(self) -> str:
        return NOUNS.get(type(self.item), "rule")

    @property
    def qualified(self) -> str:
        """The name in the whole program: `logic.cause`."""
        return self.file.prefix + self.ident.name


@dataclass(frozen=True, slots=True)
class Shape:
    """What a span set is like: `depth` and `size` as written out in full, and whether its spans can have attributes of data."""

    depth: int
    size: int
    open: bool


@dataclass(eq=False, slots=True)
class State:
    """What the passes have found so far. `spans`, `concepts` and `lets` hold results by declaration; None is a failure.

    `fields`: the keys that records of an inline source have; other sources are not known before they are read. `shapes`: of
    span sets, by identity. `tensors`: shapes in files of vectors. `read`: files whose content the check depended on, besides the
    spec's own.
    """

    loaded: Loaded
    findings: Findings
    names: dict[File, dict[str, Declaration]] = field(default_factory=dict)
    lets: dict[Declaration, bool] = field(default_factory=dict)
    contract: Contract | None = None
    model_name: str | None = None
    model: c.Model | None = None
    sources: dict[str, c.Source] = field(default_factory=dict)
    sources_failed: bool = False
    fields: dict[str, frozenset[str]] = field(default_factory=dict)
    spans: dict[Declaration, c.Named | None] = field(default_factory=dict)
    concepts: dict[Declaration, c.Concept | None] = field(default_factory=dict)
    shapes: dict[int, tuple[c.SpanSet, Shape]] = field(default_factory=dict)
    tensors: dict[Path, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    read: set[Path] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Env:
    """One file's view of the state. `of` is the source that the declaration being checked is restricted to."""

    state: State
    file: File
    of: str | None = None

    def report(self, diagnostic: Diagnostic) -> None:
        self.state.findings.add(diagnostic)

    def fail(self, diagnostic: Diagnostic) -> Reported:
        """Report, and give what to raise: `raise env.fail(CODE.at(...))`."""
        self.report(diagnostic)
        return Reported()

    def later(self, place: Place, what: str) -> None:
        """Report a construct that has no meaning yet."""
        self.report(value_codes.NOT_SUPPORTED.at(place, f"{what} is not supported yet"))

    def locate(self, written: str, place: Place, *, folders: bool = False) -> Path:
        """The file that a path of this file names."""
        folder = self.file.path.parent
        found = locate(written, place, folder, self.state.loaded.root, self.state.findings, folders=folders)
        if found is None:
            raise Reported
        return found

    def declarations(self, *nouns: str) -> Iterator[tuple[str, Declaration]]:
        """Everything that this file can name, as it would write it: its own names, and `alias.name`."""
        for name, found in self.state.names[self.file].items():
            if found.noun in nouns:
                yield name, found
        for alias, file in self.file.imports.items():
            for name, found in self.state.names[file].items():
                if found.noun in nouns and not name.startswith("_"):
                    yield f"{alias}.{name}", found

    def lookup(self, expr: ast.Expr) -> Declaration | None:
        """What `name` or `alias.name` declares, if it is there."""
        match expr:
            case ast.Name(name) | ast.Param(name):
                return self.state.names[self.file].get(name)
            case ast.Member(ast.Name(alias) | ast.Param(alias), name):
                target = self.file.imports.get(alias)
                return None if target is None else self.state.names[target].get(name)
        return None

    def find(self, expr: ast.Name | ast.Param | ast.Member, *nouns: str, also: Iterable[str] = ()) -> Declaration:
        """The declaration of one of `nouns` that `expr` names; fails on an unknown or private name, or one of something else.

        `also`: names that the place knows besides, for suggestions.
        """
        found = self.lookup(expr)
        wanted = " or ".join(nouns)
        if found is None:
            if self.silent(expr):
                raise Reported
            near = did_you_mean(plain(expr), [*(name for name, _ in self.declarations(*nouns)), *also])
            raise self.fail(codes.UNKNOWN_NAME.at(expr.place, f"no {wanted} `{shown(expr)}`", help=near))
        if found.file is not self.file and found.ident.name.startswith("_"):
            message = f"`{found.ident.name}` is private to `{found.file.source.path}`"
            raise self.fail(codes.PRIVATE_NAME.at(expr.place, message))
        if found.noun not in nouns:
            message = f"expected a {wanted}, found `{shown(expr)}`, a {found.noun}"
            raise self.fail(value_codes.WRONG_TYPE.at(expr.place, message))
        return found

    def imports(self, alias: ast.Name) -> bool:
        """Whether `alias` names an imported file."""
        found = self.lookup(alias)
        return found is not None and isinstance(found.item, ast.Import)

    def silent(self, expr: ast.Expr) -> bool:
        """Whether `expr` may fail to resolve because of what was reported already: a syntax error, an import, a frame."""
        match expr:
            case ast.Name() | ast.Param():
                return self.file.broken
            case ast.Member(ast.Name(alias) | ast.Param(alias)):
                target = self.file.imports.get(alias)
                if target is not None:
                    return target.broken
                found = self.state.names[self.file].get(alias)
                return self.file.broken if found is None else isinstance(found.item, ast.Import | ast.Use | ast.Teacher)
        return False

    def unwrap(self, expr: ast.Expr) -> tuple[Env, ast.Expr]:
        """`expr` without parentheses and with a constant written out, in the view of the file that wrote it.

        What stands for a constant takes the place where the constant is used.
        """
        env: Env = self
        place: Place | None = None
        while True:
            match expr:
                case ast.Paren(inner):
                    expr = inner
                case ast.Param() | ast.Member(ast.Param()) if env.constant(expr):
                    place = place or expr.place
                    found = env.find(expr, "constant")
                    if not env.state.lets.get(found, False):
                        raise Reported
                    assert isinstance(found.item, ast.Let)
                    env, expr = replace(env, file=found.file), found.item.value
                case _:
                    return env, expr if place is None else replace(expr, place=place)

    def constant(self, expr: ast.Expr) -> bool:
        """Whether `expr` is `$name` or `$alias.name`, and not a member of a constant, `$name.first`."""
        match expr:
            case ast.Member(ast.Param(alias)):
                declared = self.state.names[self.file].get(alias)
                return declared is not None and isinstance(declared.item, ast.Import)
        return isinstance(expr, ast.Param)


def header(file: File) -> Place:
    """Where a file is pointed at as a whole: its header."""
    match = re.search(r"^mcd[^\n#]*\d", file.source.text, re.MULTILINE)
    return Place(file.source, *(match.span() if match else (0, 0)))


def shown(expr: ast.Expr) -> str:
    """`expr` as typed, on one line."""
    return one_line(expr.place.text)


def one_line(text: str, limit: int = 60) -> str:
    """`text` with its white space collapsed, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def plain(expr: ast.Expr) -> str:
    """A name as a suggestion is compared with it: without `$`."""
    return shown(expr).lstrip("$")


def walk(node: object) -> Iterator[tuple[Any, int]]:
    """Every node below `node`, itself included, with its depth; a node comes before those below it."""
    stack: list[tuple[Any, int]] = [(node, 0)]
    while stack:
        found, depth = stack.pop()
        if isinstance(found, tuple):
            stack.extend((item, depth) for item in reversed(found))
            continue
        kind: type = type(found)
        if kind.__module__ == ast.__name__:
            yield found, depth
            stack.extend((getattr(found, name), depth + 1) for name in _children(kind))


@cache
def _children(node: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(node) if field.compare)
