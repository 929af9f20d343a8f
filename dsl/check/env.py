"""What the passes of the check share: its state, and one file's view of it.

An `Env` is a file and the state; looking a name up, following a constant and reporting go through it. Whatever cannot give its
value reports why and raises `Reported`; who can go on without it catches that. A name whose declaration failed raises
`Reported` in silence, since the failure was reported where it happened.

What a `use` makes of a frame is an `Expansion`, a file as well, so that every pass reads it as it reads an imported one.
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
from ..diagnostics import Diagnostic, Findings, Related, did_you_mean, replacing
from ..load import File, Loaded, locate
from ..source import Place
from ..vocabulary import Type

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
    ast.Parameter: "parameter",
}


class Reported(Exception):
    """There is no value, and the findings say why."""


@dataclass(frozen=True, eq=False, slots=True)
class Declaration:
    """A name of one file, and the item that declares it. `noun` is what a message calls it."""

    ident: ast.Ident
    item: ast.Item | ast.Parameter
    file: File

    @property
    def noun(self) -> str:
        return NOUNS.get(type(self.item), "rule")

    @property
    def qualified(self) -> str:
        """The name in the whole program: `logic.cause`."""
        return self.file.prefix + self.ident.name


@dataclass(frozen=True, eq=False, kw_only=True)
class Expansion(File):
    """A frame with arguments, as a file of its own: the items are the frame's, the prefix ends with the alias of the `use`.

    Names that it does not declare are those of the file that `frame` stands in. `uses`: where it comes from, the innermost
    `use` first, a long chain without its middle. `trial`: nobody uses the frame; it is checked for its own sake, and nothing
    comes of it.
    """

    frame: Declaration
    uses: tuple[Related, ...]
    trial: bool


@dataclass(frozen=True, slots=True)
class Value:
    """What a constant stands for: an expression, and the file whose names it means."""

    file: File
    expr: ast.Expr


@dataclass(frozen=True, slots=True)
class Shape:
    """What a span set is like: `depth` and `size` as written out in full, and the `attributes` that its spans can have besides
    the built-in ones. None stands for any: the data says."""

    depth: int
    size: int
    attributes: frozenset[str] | None

    def has(self, name: str) -> bool:
        """Whether its spans can have the attribute."""
        return self.attributes is None or name in self.attributes


@dataclass(eq=False, slots=True)
class State:
    """What the passes have found so far. `spans`, `concepts`, `teachers` and `lets` hold results by
    declaration; None is a failure.

    `files`: those of the spec, each before its expansions. `opened`: what an `import` or a `use` gives names of; those that
    failed are missing. `lets`: constants and parameters, and whether they are good. `given`: the values of parameters, and of
    constants that the command line sets. `known`: what constants were read as. `chat`: the
    model's chat template; `chat_failed`: there may be one that could not be read. `remotes`: the project's remote folders, None
    before a source asks. `fields`: the keys that records of an inline source have; other sources are not known before they are
    read. `marked`: the fields that `markup` reads, with the source
    that its set is restricted to. `shapes`: of span sets, by identity. `tensors`: shapes in files of vectors. `special_tokens`:
    those of tokenizer files. `named`: every name that was looked for and found: the file that it means, as it stands, and what it
    names. `read`: files whose content the check depended on, besides the spec's own. `module`: the root file is one that others
    import, so that it lacks nothing where it has no model and no source.
    """

    loaded: Loaded
    findings: Findings
    files: list[File] = field(default_factory=list)
    names: dict[File, dict[str, Declaration]] = field(default_factory=dict)
    opened: dict[Declaration, File] = field(default_factory=dict)
    lets: dict[Declaration, bool] = field(default_factory=dict)
    given: dict[Declaration, Value] = field(default_factory=dict)
    known: dict[tuple[Declaration, Type], Any] = field(default_factory=dict)
    contract: Contract | None = None
    model_name: str | None = None
    model: c.Model | None = None
    chat: c.ChatTemplate | None = None
    chat_failed: bool = True
    teachers: dict[Declaration, c.Teacher | None] = field(default_factory=dict)
    sources: dict[str, c.Source] = field(default_factory=dict)
    sources_failed: bool = False
    remotes: tuple[c.Remote, ...] | None = None
    fields: dict[str, frozenset[str]] = field(default_factory=dict)
    spans: dict[Declaration, c.Named | None] = field(default_factory=dict)
    concepts: dict[Declaration, c.Concept | None] = field(default_factory=dict)
    marked: set[tuple[str | None, c.FieldPath]] = field(default_factory=set)
    shapes: dict[int, tuple[c.SpanSet, Shape]] = field(default_factory=dict)
    tensors: dict[Path, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    special_tokens: dict[Path, frozenset[str] | None] = field(default_factory=dict)
    named: list[tuple[File, ast.Expr, Declaration]] = field(default_factory=list)
    read: set[Path] = field(default_factory=set)
    module: bool = False

    def value(self, constant: Declaration) -> Value | None:
        """What a constant or a parameter stands for; None for a parameter without an argument."""
        written = Value(constant.file, constant.item.value) if isinstance(constant.item, ast.Let) else None
        return self.given.get(constant, written)

    def place(self, found: Declaration) -> Place:
        """Where a definition is pointed at: its name, or the value that the command line gives it."""
        value = self.given.get(found) if isinstance(found.item, ast.Let) else None
        return found.ident.place if value is None else value.expr.place


@dataclass(frozen=True, slots=True)
class Env:
    """One file's view of the state. `of` is the source that the declaration being checked is restricted to.

    `checked`: the file of that declaration, where a constant led to another. `related`: places that every finding shows besides.
    """

    state: State
    file: File
    of: str | None = None
    checked: File | None = None
    related: tuple[Related, ...] = ()

    def report(self, diagnostic: Diagnostic) -> None:
        related = (*diagnostic.related, *self.related, *uses(self.checked or self.file))
        self.state.findings.add(replace(diagnostic, related=related))

    def fail(self, diagnostic: Diagnostic) -> Reported:
        """Report, and give what to raise: `raise env.fail(CODE.at(...))`."""
        self.report(diagnostic)
        return Reported()

    def locate(self, written: str, place: Place, *, folders: bool = False) -> Path:
        """The file that a path of this file names."""
        findings = Findings()
        found = locate(written, place, self.file.path.parent, self.state.loaded.root, findings, folders=folders)
        for diagnostic in findings.items:
            self.report(diagnostic)
        if found is None:
            raise Reported
        return found

    # --- names -------------------------------------------------------------------------------------------------------

    def declarations(self, *nouns: str) -> Iterator[tuple[str, Declaration]]:
        """Everything that this file can name, as it would write it: its own names, and `alias.name`."""
        pending = [("", file) for file in self._scopes()]
        while pending:
            prefix, file = pending.pop()
            for name, found in self.state.names[file].items():
                if prefix and name.startswith("_"):
                    continue
                if found.noun in nouns:
                    yield prefix + name, found
                if found in self.state.opened and _gives(found, prefix):
                    pending.append((f"{prefix}{name}.", self.state.opened[found]))

    def _scopes(self) -> Iterator[File]:
        """This file and, for an expansion, the file that its frame stands in."""
        yield self.file
        if isinstance(self.file, Expansion):
            yield self.file.frame.file

    def lookup(self, expr: ast.Expr) -> Declaration | None:
        """What `name`, `alias.name` or `alias.alias.name` declares, if it is there."""
        match expr:
            case ast.Name(name) | ast.Param(name):
                tables = (self.state.names[file] for file in self._scopes())
                return next((names[name] for names in tables if name in names), None)
            case ast.Member(base, name):
                target = self.opened(base)
                return None if target is None else self.state.names[target].get(name)
        return None

    def opened(self, alias: ast.Expr) -> File | None:
        """The file or the used frame that `alias` names, as far as its names can be reached through it."""
        found = self.lookup(alias)
        if found is None or not _gives(found, "." if isinstance(alias, ast.Member) else ""):
            return None
        return self.state.opened.get(found)

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
        if (private := self._private(expr)) is not None:
            file = private.file
            owner = f"the frame `{file.frame.ident.name}`" if isinstance(file, Expansion) else f"`{file.source.path}`"
            message = f"`{private.ident.name}` is private to {owner}"
            raise self.fail(codes.PRIVATE_NAME.at(expr.place, message))
        if found.noun not in nouns:
            message = f"expected a {wanted}, found `{shown(expr)}`, a {found.noun}"
            constant = isinstance(found.item, ast.Let | ast.Parameter) and not isinstance(expr, ast.Param)
            meant = f"${shown(expr)}"
            help, fixes = (f"write `{meant}`", [replacing(expr.place, meant)]) if constant else (None, [])
            raise self.fail(value_codes.WRONG_TYPE.at(expr.place, message, help=help, fixes=fixes))
        self.state.named.append((self.file, expr, found))
        return found

    def _private(self, expr: ast.Expr) -> Declaration | None:
        """A private name of another file that `expr` goes through."""
        while isinstance(expr, ast.Member):
            found = self.lookup(expr)
            if found is not None and found.ident.name.startswith("_"):
                return found
            expr = expr.base
        return None

    def silent(self, expr: ast.Expr) -> bool:
        """Whether `expr` may fail to resolve because of what was reported already: a syntax error, an import, a frame."""
        match expr:
            case ast.Name() | ast.Param():
                return any(file.broken for file in self._scopes())
            case ast.Member(base):
                found = self.lookup(base)
                if found is None:
                    return self.silent(base)
                if found in self.state.opened:
                    return self.state.opened[found].broken
                return isinstance(found.item, ast.Import | ast.Use)
        return False

    # --- constants ---------------------------------------------------------------------------------------------------

    def unwrap(self, expr: ast.Expr) -> tuple[Env, ast.Expr]:
        """`expr` without parentheses and with a constant written out, in the view of the file that wrote it.

        What stands for a constant takes the place where the constant is used; what the command line says keeps its own.
        """
        env: Env = self
        place: Place | None = None
        while True:
            match expr:
                case ast.Paren(inner):
                    expr = inner
                case ast.Param() | ast.Member() if env.constant(expr):
                    found = env.find_constant(expr)
                    value = env.state.value(found) if env.state.lets.get(found) else None
                    if value is None:
                        raise Reported
                    if found in env.state.given and isinstance(found.item, ast.Let):
                        note = Related(place or expr.place, f"`{found.ident.name}` is used here")
                        env = replace(env, related=(*env.related, note))
                        place = value.expr.place
                    place = place or expr.place
                    env, expr = replace(env, file=value.file, checked=env.checked or env.file), value.expr
                case _:
                    return env, expr if place is None else replace(expr, place=place)

    def constant(self, expr: object) -> bool:
        """Whether `expr` is `$name` or `$alias.name`, and not a member of a constant, `$name.first`."""
        if not isinstance(expr, ast.Member):
            return isinstance(expr, ast.Param)
        first: ast.Expr = expr
        while isinstance(first, ast.Member):
            first = first.base
        return isinstance(first, ast.Param) and (self.opened(expr.base) is not None or self.silent(expr))

    def find_constant(self, expr: ast.Param | ast.Member) -> Declaration:
        """The constant or the parameter that `expr` names."""
        return self.find(expr, "constant", *(["parameter"] if isinstance(self.file, Expansion) else []))

    def known(self, expr: ast.Expr, kind: Type) -> Any:
        """What `expr` was read as before, where it is a constant of that type, so that one set is one object; else None."""
        while isinstance(expr, ast.Paren):
            expr = expr.inner
        if isinstance(expr, ast.Param | ast.Member) and self.constant(expr):
            return self.state.known.get((self.find_constant(expr), kind))
        return None


def uses(file: File) -> tuple[Related, ...]:
    """Where the frame is used that `file` is an expansion of, the innermost `use` first."""
    return file.uses if isinstance(file, Expansion) else ()


def on_trial(file: File) -> bool:
    """Whether `file` is checked for its own sake, and nothing comes of it."""
    return isinstance(file, Expansion) and file.trial


def _gives(found: Declaration, prefix: str) -> bool:
    """Whether a name that was reached through `prefix` gives names in turn: an import does so in its own file alone."""
    return isinstance(found.item, ast.Use) or (not prefix and isinstance(found.item, ast.Import))


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


def walk(node: object, without: str = "") -> Iterator[tuple[Any, int]]:
    """Every node below `node`, itself included, with its depth; a node comes before those below it. What stands in a field called
    `without` is left out."""
    stack: list[tuple[Any, int]] = [(node, 0)]
    while stack:
        found, depth = stack.pop()
        kind: type = type(found)
        if kind is tuple:
            stack.extend([(item, depth) for item in reversed(found)])
        elif (names := _children(kind, without)) is not None:
            yield found, depth
            stack.extend([(getattr(found, name), depth + 1) for name in names])


@cache
def _children(kind: type, without: str) -> tuple[str, ...] | None:
    """The fields of a node that may hold nodes; None for what is no node."""
    if kind.__module__ != ast.__name__:
        return None
    return tuple(
        field.name for field in fields(kind) if field.compare and field.type not in _PLAIN and field.name != without
    )


_PLAIN = ("str", "str | None", "bool", "int", "int | float", "tuple[str, ...]")
"""Types of fields that hold no node, as `ast` writes them."""
