"""Declarations, attributes and stages -> rows.

An entry is what stands in a body: a declaration of a file or a frame, an attribute of a block, a stage of a curriculum. Each
becomes rows of its own, with the comments above it; then `stack` puts them together and aligns their `=`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from .. import ast
from .cursor import Cursor
from .expressions import Expressions
from .layout import STEP, WIDTH, Doc, Indent, Row, group, lay_out, plain

Node: TypeAlias = "ast.Item | ast.Attribute | ast.Stage"
_ASSIGNED = (ast.Attribute, ast.Let, ast.SpanDecl)
_ALIGNED = (ast.Attribute, ast.SpanDecl)  # a constant's type would push its `=` about


@dataclass(frozen=True, slots=True)
class Entry:
    """`above`: comments. `head`: what stands before the `=` of an entry of kind `aligned`, where that can be moved."""

    above: list[Row]
    rows: list[Row]
    aligned: type | None = None
    head: str = ""

    @property
    def apart(self) -> bool:
        """Whether an empty line stands above it or in its comments."""
        return any(row.blank for row in (*self.above, self.rows[0]))

    @property
    def rest(self) -> int:
        """Columns of the first row without the head."""
        return self.rows[0].end - len(self.head)

    def moved(self, width: int) -> list[Row]:
        """All rows, with the `=` behind a head of `width`."""
        first, *others = self.rows
        code = self.head.ljust(width) + first.code[len(self.head) :]
        return [*self.above, replace(first, code=code), *others]


def stack(entries: Sequence[Entry], closing: Sequence[Row]) -> list[Row]:
    """The rows of a body, with the comments at its end. The first has no empty line above it."""
    rows: list[Row] = []
    run: list[Entry] = []
    width = 0, 0  # of the widest head of the run, and of what stands behind the heads
    for entry in entries:
        wider = max(width[0], len(entry.head)), max(width[1], entry.rest)
        if run and not (_joins(run[-1], entry) and sum(wider) <= WIDTH):
            rows += _aligned(run)
            run, wider = [], (len(entry.head), entry.rest)
        run.append(entry)
        width = wider
    rows += [*_aligned(run), *closing]
    return [replace(row, blank=False) for row in rows[:1]] + rows[1:]


def _joins(entry: Entry, following: Entry) -> bool:
    """Whether two entries that follow each other have their `=` in one column: an entry of several rows ends a run."""
    alike = entry.aligned is not None and entry.aligned is following.aligned
    return alike and len(entry.rows) == 1 and not following.apart


def _aligned(run: list[Entry]) -> list[Row]:
    width = max((len(entry.head) for entry in run), default=0)
    return [row for entry in run for row in entry.moved(width)]


class Statements:
    """Takes the tokens of entries from the cursor, in the order of their nodes."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._expressions = Expressions(cursor)

    def header(self) -> Entry:
        """`mcd 1`."""
        return self._entry(None, 0)

    def entries(self, nodes: Sequence[Node], indent: int) -> list[Entry]:
        """The entries of a body at column `indent`."""
        return [self._entry(node, indent) for node in nodes]

    def comments(self, indent: int) -> list[Row]:
        """The comments before the next token, each on its row."""
        return [Row(indent, "", comment.text, comment.blank) for comment in self._cursor.comments()]

    def _entry(self, node: Node | None, indent: int) -> Entry:
        above = self.comments(indent)
        blank = self._cursor.blank
        head = ""
        if node is None:
            rows = lay_out(self._cursor.words(2), indent)
        elif isinstance(node, _ASSIGNED):
            rows, head = self._assignment(node, indent)
        else:
            rows = self._declaration(node, indent)
        rows[0] = replace(rows[0], blank=blank)
        if trailing := self._cursor.trailing():
            rows[-1] = replace(rows[-1], comment=trailing)
        return Entry(above, rows, type(node) if head and isinstance(node, _ALIGNED) else None, head)

    # --- with `=` ----------------------------------------------------------------------------------------------------

    def _assignment(self, node: ast.Attribute | ast.Let | ast.SpanDecl, indent: int) -> tuple[list[Row], str]:
        """The rows, and what stands before the `=`; empty where a comment or a break is in the way."""
        head = self._head(node)
        value = (self._cursor.take(), self._cursor.weak(), self._expressions.doc(node.value))
        rows = lay_out((head, " ", value), indent)
        text = plain(head)
        return rows, text if rows[0].code.startswith(f"{text} =") else ""

    def _head(self, node: ast.Attribute | ast.Let | ast.SpanDecl) -> Doc:
        match node:
            case ast.Attribute(path):
                return tuple(self._cursor.take() for _ in path)
            case ast.Let(_, kind) if kind is not None:
                return (self._cursor.words(2), self._cursor.take(), self._cursor.weak(), self._cursor.take())
            case ast.Let() | ast.SpanDecl(_, None):
                return self._cursor.words(2)
            case ast.SpanDecl():
                return self._cursor.words(4)

    # --- with a body -------------------------------------------------------------------------------------------------

    def _declaration(self, node: Node, indent: int) -> list[Row]:
        words = self._cursor.words
        match node:
            case ast.Source(block=ast.Block(attributes)):
                return self._bodied(self._line(node), attributes, indent)
            case ast.Gradient(block):
                return self._bodied(words(1), block.attributes, indent)
            case ast.Model(_, block) | ast.Teacher(_, block) | ast.Concept(_, block):
                return self._bodied(words(2), block.attributes, indent)
            case ast.Stage(_, _, block):
                return self._bodied(words(3), block.attributes, indent)
            case ast.Curriculum(attributes, stages):
                parts: list[ast.Attribute | ast.Stage] = [*attributes, *stages]
                return self._bodied(words(1), sorted(parts, key=lambda part: part.place.start), indent)
            case ast.Frame(_, parameters, items):
                return self._bodied((words(2), self._expressions.bracket(parameters, self._parameter)), items, indent)
            case ast.Attend() | ast.Relate() | ast.Signal() | ast.Weigh() | ast.Keep():
                return self._bodied(self._rule(node), node.block.attributes, indent)
        return lay_out(self._line(node), indent)

    def _line(self, node: Node) -> Doc:
        """A declaration without its block."""
        words, weak, doc = self._cursor.words, self._cursor.weak, self._expressions.doc
        match node:
            case ast.Import():
                return words(4)
            case ast.Source(_, value):
                return (words(3), weak(), doc(value))
            case ast.Use(target):
                return (words(1), weak(), doc(target), weak(), words(2))
            case ast.Expect(trained, claim):
                return (words(2 if trained else 1), weak(), doc(claim))
        raise TypeError(f"{type(node).__name__} has no layout")

    def _parameter(self, node: ast.Parameter) -> Doc:
        doc = (self._cursor.take(), self._cursor.take(), " ", self._cursor.take())
        if node.default is None:
            return doc
        return (doc, " ", self._cursor.take(), self._cursor.weak(), self._expressions.doc(node.default))

    def _rule(self, node: ast.Rule) -> Doc:
        take, weak, doc = self._cursor.take, self._cursor.weak, self._expressions.doc
        start: Doc = (take(), weak())
        if node.label:
            start = (start, take(), take(), weak())
        match node:
            case ast.Attend():
                ends = group(doc(node.query), self._cursor.line(), take(), " ", doc(node.key))
                return (start, group(Indent((ends, *self._expressions.conditions(self._joined(node))))))
            case ast.Relate(_, subject, _, target, None, _):
                return (start, doc(subject), weak(), take(), weak(), doc(target))
            case ast.Relate(_, subject, _, target, subject_to, target_to):
                assert subject_to is not None and target_to is not None
                left = (doc(subject), weak(), take(), " ", doc(subject_to), weak(), take(), " ")
                return (start, left, doc(target), weak(), take(), " ", doc(target_to))
        return (start, doc(node.subject))

    def _joined(self, node: ast.Attend) -> list[ast.Expr]:
        """The condition behind each `where` of a join; the tree has them as one, by `and`."""
        conditions: list[ast.Expr] = []
        rest = node.where
        while isinstance(rest, ast.Binary) and self._cursor.text_from(rest.left.place.end) == "where":
            conditions.append(rest.right)
            rest = rest.left
        return [*([rest] if rest else []), *reversed(conditions)]

    def _bodied(self, header: Doc, nodes: Sequence[Node], indent: int) -> list[Row]:
        """Header, `{`, entries, `}`: on one row where the braces were on one line and all fits, else an entry a row."""
        header = (header, *self._cursor.notes())
        opening = self._cursor.start
        self._cursor.skip()
        opened = self._cursor.trailing()
        entries = self.entries(nodes, indent + STEP)
        inner = stack(entries, self.comments(indent + STEP))
        one_line = "\n" not in self._cursor.since(opening)
        self._cursor.skip()
        rows = lay_out(header, indent, WIDTH - len(" {}"))
        if not inner and not opened:
            return _opened(rows, "{}", indent)
        if one_line and (row := _on_one_row(rows, entries)):
            return [row]
        return [*_opened(rows, "{", indent, opened), *inner, Row(indent, "}")]


def _on_one_row(header: list[Row], entries: Sequence[Entry]) -> Row | None:
    """`HEADER { ENTRY  ENTRY }`, where each of them is one row and they fit together. No comment stands in the braces."""
    if len(header) > 1 or header[0].comment or any(len(entry.rows) > 1 for entry in entries):
        return None
    body = "  ".join(entry.rows[0].code for entry in entries)
    row = replace(header[0], code=f"{header[0].code} {{ {body} }}")
    return row if row.end <= WIDTH else None


def _opened(header: list[Row], brace: str, indent: int, comment: str = "") -> list[Row]:
    """The header and its brace, which gets a row of its own where a header of several rows ends otherwise than in a bracket."""
    last = header[-1]
    if last.comment or (len(header) > 1 and (last.indent > indent or last.code[0] not in ")]}")):
        return [*header, Row(indent, brace, comment)]
    return [*header[:-1], replace(last, code=f"{last.code} {brace}", comment=comment)]
