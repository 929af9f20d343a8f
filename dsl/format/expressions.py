"""Expressions -> layout. The tree gives the structure, the cursor the tokens as typed.

What does not fit breaks at its loosest operators, which then start the lines, or inside its brackets, one item a line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from .. import ast
from .cursor import Cursor
from .layout import Broken, Doc, Group, Indent, Line, group

_LEVELS = {"or": 0, "and": 1, "|": 2, "&": 3, "+": 4, "-": 4, "*": 5, "/": 5}
"""Operators that chain; those of one level are broken together."""

T = TypeVar("T")


class Expressions:
    """Takes the tokens of an expression from the cursor, in the order of its tree."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def doc(self, node: ast.Expr) -> Doc:
        """The layout of an expression, whose first token is the next one."""
        notes = self._cursor.notes()  # here, so that they break no group that starts behind them
        return (*notes, self._bare(node)) if notes else self._bare(node)

    def _bare(self, node: ast.Expr) -> Doc:
        match node:
            case ast.List(items):
                return self.bracket(items, self.doc)
            case ast.Map(entries):
                return self.bracket(entries, self._entry)
            case ast.Member():
                return self._member(node)
            case ast.Call(callee, arguments):
                return (self.doc(callee), self.bracket(arguments, self._argument))
            case ast.Unary(op, operand):
                return (self._cursor.take(), self._cursor.weak() if op == "not" else "", self.doc(operand))
            case ast.Binary(op) if op in _LEVELS:
                return self._chain(node)
            case ast.Binary():
                return self._pair(node)
            case ast.Where():
                return self._where(node)
            case ast.Paren(inner) if node.place.start == inner.place.start:
                return self.doc(inner)  # the parser's own, around one of several conditions of a join
            case ast.Paren(inner):
                return self._paren(inner)
        return self._cursor.take()

    def bracket(self, items: Sequence[T], item: Callable[[T], Doc]) -> Group:
        """Items in brackets: on one line, or each on its own with a comma at the end."""
        opening = self._cursor.take()
        inner: list[Doc] = []
        for i, part in enumerate(items):
            inner += [self._cursor.line(" " if i else ""), item(part)]
            comments: tuple[Doc, ...] = ()
            if self._cursor.text == ",":
                comments = self._cursor.notes()
                self._cursor.skip()
            inner += [Broken(",") if i == len(items) - 1 else ",", *comments]
        inner.extend(self._cursor.notes())
        return group(opening, Indent(tuple(inner)), Line(""), self._cursor.take())

    def _entry(self, entry: tuple[ast.Expr, ast.Expr]) -> Doc:
        key, value = entry
        return (self.doc(key), self._cursor.take(), self._cursor.weak(), self.doc(value))

    def _argument(self, argument: ast.Argument) -> Doc:
        if argument.label is None:
            return self.doc(argument.value)
        return (self._cursor.take(), self._cursor.take(), self._cursor.weak(), self.doc(argument.value))

    def _member(self, node: ast.Member) -> Doc:
        """`a.b.c`. The first `.` stays with its name: behind a line break, the lexer would take a keyword for what it is."""
        count = 1
        base = node.base
        while isinstance(base, ast.Member):
            count, base = count + 1, base.base
        first = (self.doc(base), self._cursor.take())
        return (first, *((self._cursor.weak(""), self._cursor.take()) for _ in range(count - 1)))

    def _chain(self, node: ast.Binary) -> Doc:
        """Operators of one level, which break all or none."""
        level = _LEVELS[node.op]
        operands: list[ast.Expr] = []
        left: ast.Expr = node
        while isinstance(left, ast.Binary) and _LEVELS.get(left.op) == level:
            operands.append(left.right)
            left = left.left
        first = self.doc(left)
        rest = ((self._cursor.line(), self._cursor.take(), " ", self.doc(part)) for part in reversed(operands))
        return group(Indent((first, *rest)))

    def _pair(self, node: ast.Binary) -> Doc:
        """`a == b`, `a in [b]`, `a..b`: broken only where one side does not fit."""
        left = self.doc(node.left)
        if node.op == "..":  # tight, so that a keyword in front of it stays a name
            return (left, self._cursor.take(), self._cursor.weak(""), self.doc(node.right))
        return (left, self._cursor.weak(), self._cursor.take(), " ", self.doc(node.right))

    def _where(self, node: ast.Where) -> Doc:
        conditions: list[ast.Expr] = []
        base: ast.Expr = node
        while isinstance(base, ast.Where):
            conditions.append(base.condition)
            base = base.base
        return group(Indent((self.doc(base), *self.conditions(conditions[::-1]))))

    def conditions(self, conditions: Sequence[ast.Expr]) -> tuple[Doc, ...]:
        """`where CONDITION` for each, behind a break."""
        return tuple((self._cursor.line(), self._cursor.take(), " ", self.doc(part)) for part in conditions)

    def _paren(self, inner: ast.Expr) -> Doc:
        opening = self._cursor.take()
        doc = (self._cursor.line(""), self.doc(inner), *self._cursor.notes())
        return group(opening, Indent(doc), Line(""), self._cursor.take())
