"""Layout: a document of text and possible line breaks -> rows that fit.

After Wadler, "A prettier printer" (2003), and Lindig, "Strictly pretty" (2000): a group stands on one line where it fits up to
the next possible break, else all of its own lines break. A comment always ends its row. Nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

WIDTH = 100
"""Columns of a row, its comment left out."""

STEP = 2
"""Columns of one level of indentation."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line break where the group around it breaks, else the text `flat`."""

    flat: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Text that stands only where the group around it breaks."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A comment: on a row of its own, or at the end of the row that is being written."""

    text: str
    own: bool


@dataclass(frozen=True, slots=True)
class Indent:
    """`doc`, whose line breaks lead one step further in."""

    doc: Doc


@dataclass(frozen=True, slots=True)
class Group:
    """`doc` on one line, or with all its own lines broken; the latter always with `broken`."""

    doc: Doc
    broken: bool


Doc: TypeAlias = "str | Line | Broken | Note | Indent | Group | tuple[Doc, ...]"


def group(*docs: Doc) -> Group:
    """The documents as one group, which breaks where a comment stands in it."""
    return Group(
        docs, any(isinstance(part, Note) or (isinstance(part, Group) and part.broken) for part in _parts(docs))
    )


def weak(flat: str = " ") -> Group:
    """A break of its own, taken only where what follows would not fit."""
    return Group(Indent(Line(flat)), False)


def plain(doc: Doc) -> str:
    """The text of a document on one line, without its comments."""
    texts = (part.flat if isinstance(part, Line) else part for part in _parts(doc, into_groups=True))
    return "".join(text for text in texts if isinstance(text, str))


def _parts(doc: Doc, into_groups: bool = False) -> Iterator[Doc]:
    """The leaves of a document, in order; a group is one, unless `into_groups`."""
    todo: list[Doc] = [doc]
    while todo:
        doc = todo.pop()
        if isinstance(doc, tuple):
            todo.extend(reversed(doc))
        elif isinstance(doc, Indent) or (into_groups and isinstance(doc, Group)):
            todo.append(doc.doc)
        else:
            yield doc


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: `code` and then `comment` (either may be empty) at column `indent`, `blank` below an empty line."""

    indent: int
    code: str
    comment: str = ""
    blank: bool = False

    @property
    def end(self) -> int:
        """The column after the code."""
        return self.indent + len(self.code)


def lay_out(doc: Doc, indent: int, width: int = WIDTH) -> list[Row]:
    """The rows of `doc`, the first of them at column `indent`."""
    return _Printer(indent, width).run(doc)


class _Printer:
    def __init__(self, base: int, width: int) -> None:
        self.base, self.width = base, width
        self.rows: list[Row] = []
        self.start(base)

    def start(self, indent: int) -> None:
        """A row that holds nothing yet."""
        self.indent = self.column = indent
        self.code: list[str] = []
        self.comment = ""

    def run(self, doc: Doc) -> list[Row]:
        stack: list[tuple[int, bool, Doc]] = [(self.base, True, doc)]
        while stack:
            indent, broken, doc = stack.pop()
            match doc:
                case str():
                    self.text(doc, indent)
                case tuple():
                    stack.extend([(indent, broken, part) for part in reversed(doc)])
                case Line(flat):
                    self.line(indent) if broken else self.text(flat, indent)
                case Broken(text):
                    self.text(text if broken else "", indent)
                case Note():
                    self.note(doc, indent)
                case Indent(inner):
                    stack.append((indent + STEP, broken, inner))
                case Group(inner, always):
                    stack.append((indent, broken and (always or not self.fits(inner, indent, stack)), inner))
        self.line(self.base)
        return self.rows

    def text(self, text: str, indent: int) -> None:
        """Write on; behind a comment on a new row, and no space at the start of a row."""
        blank = text in ("", " ")
        if self.comment and not blank:
            self.line(self.behind(indent))
        if self.code or not blank:
            self.code.append(text)
            self.column += len(text)

    def line(self, indent: int) -> None:
        """Start a row; one that holds nothing yet only moves."""
        if self.code or self.comment:
            self.rows.append(Row(self.indent, "".join(self.code).rstrip(" "), self.comment))
        self.start(indent)

    def note(self, note: Note, indent: int) -> None:
        if note.own or self.comment or not self.code:
            self.line(self.beyond(indent))
        self.comment = note.text

    def beyond(self, indent: int) -> int:
        """Where a row starts that a comment forces: never where a declaration would."""
        return max(indent, self.base + STEP)

    def behind(self, indent: int) -> int:
        """Where text goes on behind the comment of this row: below one that has the row to itself."""
        return self.beyond(indent) if self.code else self.indent

    def fits(self, doc: Doc, indent: int, rest: list[tuple[int, bool, Doc]]) -> bool:
        """Whether `doc` on one line, and what follows up to the next possible break, stay within the width."""
        room = self.width - (self.behind(indent) if self.comment else self.column)
        todo: list[tuple[bool, Doc]] = [(False, doc)]
        below = len(rest)
        while room >= 0:
            if not todo:
                if not below:
                    return True
                below -= 1
                todo.append(rest[below][1:])
            broken, doc = todo.pop()
            match doc:
                case str(text):
                    room -= len(text)
                case tuple():
                    todo.extend((broken, part) for part in reversed(doc))
                case Line(flat):
                    if broken:
                        return True
                    room -= len(flat)
                case Broken(text):
                    room -= len(text) if broken else 0
                case Note():
                    return True
                case Indent(inner) | Group(inner):
                    todo.append((broken, inner))
        return False


def render(rows: Iterable[Row]) -> str:
    """The text of rows. Comments at the end of rows that follow each other start in one column."""
    lines: list[str] = []
    for run in _commented(rows):
        column = max(row.end for row in run) + 2
        for row in run:
            if row.blank:
                lines.append("")
            code = " " * row.indent + row.code
            if row.code and row.comment:
                code = code.ljust(column)
            lines.append(code + row.comment)
    return "\n".join(lines) + "\n"


def _commented(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in runs: those with a comment behind their code that follow each other, and each other row alone."""
    run: list[Row] = []
    for row in rows:
        both = bool(row.code and row.comment)
        if run and not (both and run[-1].comment and run[-1].code and not row.blank):
            yield run
            run = []
        run.append(row)
    if run:
        yield run
