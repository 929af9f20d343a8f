"""Builds the syntax tree while the parser reduces: one method per rule of the grammar.

The parser calls a method with the children that the rule has, tokens included, as soon as all of them are known. So the
tree grows from its leaves, nothing recurses, and no other tree stands in between. Methods are named after the rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from . import ast
from .codes.syntax import BAD_ESCAPE, BAD_NUMBER, TOO_DEEP
from .diagnostics import Findings
from .limits import MAX_DEPTH, MAX_DIGITS
from .source import Place, SourceText

_ESCAPE = re.compile(r"\\(u\{[0-9A-Fa-f]{1,6}\}|.)")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_ESCAPE_HELP = r"an escape is one of \n \t \" \\ \u{1F642}; patterns are easier to write as r" + '"..."'

R = TypeVar("R", ast.Signal, ast.Weigh, ast.Keep)
B = TypeVar("B", ast.Model, ast.Teacher, ast.Concept)


class Token(Protocol):
    """What a token of the parser is, besides a `str`: its terminal and its range in the piece."""

    type: str
    start_pos: int
    end_pos: int


@dataclass(frozen=True, slots=True)
class Header:
    """`mcd 1`: the edition, and where the whole line stands."""

    edition: int
    place: Place


class Builder:
    """Makes nodes for the piece that `open` named last. No rule may be called `open` or `close`."""

    def __init__(self) -> None:
        self._source = SourceText("", "")
        self._offset = 0
        self._findings = Findings()
        self._nodes = 0

    def open(self, source: SourceText, offset: int) -> Findings:
        """Start on a piece at `offset` of `source`; gives where findings about its tokens will be."""
        self._source, self._offset, self._findings, self._nodes = source, offset, Findings(), 0
        return self._findings

    def close(self, item: ast.Item) -> bool:
        """Whether the finished tree is shallow enough to keep."""
        # A call is two levels, itself and its argument; whatever else adds levels adds fewer.
        place = deepest(item) if self._nodes > MAX_DEPTH // 3 else None
        if place is not None:
            help = "name a part of it with `span` or `let`"
            message = f"an expression is nested more than {MAX_DEPTH} levels deep"
            self._findings.add(TOO_DEEP.at(place, message, help=help))
        return place is None

    # --- places ------------------------------------------------------------------------------------------------------

    def _at(self, token: Token) -> Place:
        return Place(self._source, self._offset + token.start_pos, self._offset + token.end_pos)

    def _from(self, token: Token, last: Any) -> Place:
        """From `token` to the end of `last`, a node or a token."""
        place = getattr(last, "place", None)
        end = self._offset + last.end_pos if place is None else place.end
        return Place(self._source, self._offset + token.start_pos, end)

    def _ident(self, token: Any) -> ast.Ident:
        return ast.Ident(str(token), self._at(token))

    # --- atoms -------------------------------------------------------------------------------------------------------

    def number(self, children: list[Any]) -> ast.Number:
        (token,) = children
        return ast.Number(self._value(token, token), self._at(token))

    def percent(self, children: list[Any]) -> ast.Percent:
        (token,) = children
        return ast.Percent(self._value(token, token[:-1]), self._at(token))

    def _value(self, token: Token, digits: str) -> int | float:
        if len(digits) > MAX_DIGITS:
            self._findings.add(BAD_NUMBER.at(self._at(token), f"a number has more than {MAX_DIGITS} characters"))
            return 0
        if digits.isdigit():
            return int(digits)
        value = float(digits)
        if value == float("inf"):
            self._findings.add(BAD_NUMBER.at(self._at(token), f"`{digits}` is too large for a number"))
            return 0
        return value

    def string(self, children: list[Any]) -> ast.String:
        (token,) = children
        if token[0] == "r":
            return ast.String(token[2:-1], True, self._at(token))
        return ast.String(self._unescape(token, 1), False, self._at(token))

    def _unescape(self, token: Any, skip: int) -> str:
        """The text between the quotes of a token, whose first quote is its character `skip - 1`."""
        inner = str(token[skip:-1])
        if "\\" not in inner:
            return inner
        start = self._offset + token.start_pos + skip

        def replace(match: re.Match[str]) -> str:
            escape = match.group(1)
            if escape in _ESCAPES:
                return _ESCAPES[escape]
            point = int(escape[2:-1], 16) if len(escape) > 1 else -1
            if 0 <= point < 0xD800 or 0xE000 <= point < 0x110000:
                return chr(point)
            place = Place(self._source, start + match.start(), start + match.end())
            what = "is no Unicode character" if point >= 0 else "is not an escape"
            self._findings.add(BAD_ESCAPE.at(place, f"`{match.group()}` {what}", help=_ESCAPE_HELP))
            return match.group()

        return _ESCAPE.sub(replace, inner)

    def _key(self, token: Any) -> str:
        """The name in a field token: `.name` or `."odd-name"`."""
        return self._unescape(token, 2) if token[1] == '"' else str(token[1:])

    def field(self, children: list[Any]) -> ast.Field:
        (token,) = children
        return ast.Field(self._key(token), self._at(token))

    def name(self, children: list[Any]) -> ast.Name:
        (token,) = children
        return ast.Name(str(token), self._at(token))

    def param(self, children: list[Any]) -> ast.Param:
        (token,) = children
        return ast.Param(str(token[1:]), self._at(token))

    # --- expressions -------------------------------------------------------------------------------------------------

    def list_(self, children: list[Any]) -> ast.List:
        self._nodes += 1
        return ast.List(tuple(children[1:-1:2]), self._from(children[0], children[-1]))

    def map_(self, children: list[Any]) -> ast.Map:
        self._nodes += 1
        return ast.Map(tuple(children[1:-1:2]), self._from(children[0], children[-1]))

    def entry(self, children: list[Any]) -> tuple[ast.Expr, ast.Expr]:
        key, _, value = children
        return key, value

    def paren(self, children: list[Any]) -> ast.Paren:
        self._nodes += 1
        return ast.Paren(children[1], self._from(children[0], children[-1]))

    def member(self, children: list[Any]) -> ast.Member:
        base, token = children
        self._nodes += 1
        return ast.Member(base, self._key(token), Place(self._source, base.place.start, self._at(token).end))

    def call(self, children: list[Any]) -> ast.Call:
        callee = children[0]
        self._nodes += 1
        place = Place(self._source, callee.place.start, self._at(children[-1]).end)
        return ast.Call(callee, tuple(children[2:-1:2]), place)

    def argument(self, children: list[Any]) -> ast.Argument:
        value = children[-1]
        if len(children) == 1:
            return ast.Argument(None, value, value.place)
        return ast.Argument(str(children[0]), value, self._from(children[0], value))

    def unary(self, children: list[Any]) -> ast.Unary:
        op, operand = children
        self._nodes += 1
        return ast.Unary(str(op), operand, self._from(op, operand))

    def binary(self, children: list[Any]) -> ast.Binary:
        left, op, right = children
        self._nodes += 1
        return ast.Binary(str(op), left, right, left.place.to(right.place))

    def where(self, children: list[Any]) -> ast.Where:
        base, _, condition = children
        self._nodes += 1
        return ast.Where(base, condition, base.place.to(condition.place))

    # --- blocks ------------------------------------------------------------------------------------------------------

    def attribute(self, children: list[Any]) -> ast.Attribute:
        *names, _, value = children
        path = (str(names[0]), *(self._key(token) for token in names[1:]))
        return ast.Attribute(path, value, self._from(names[0], names[-1]), self._from(names[0], value))

    def block(self, children: list[Any]) -> ast.Block:
        return ast.Block(tuple(children[1:-1]), self._from(children[0], children[-1]))

    def label(self, children: list[Any]) -> ast.Ident:
        return self._ident(children[0])

    # --- declarations ------------------------------------------------------------------------------------------------

    def header(self, children: list[Any]) -> Header:
        keyword, edition = children
        return Header(int(self._value(edition, edition)), self._from(keyword, edition))

    def piece(self, children: list[Any]) -> ast.Item | Header:
        item: ast.Item | Header = children[0]
        return item

    def _doc(self, keyword: Token) -> str | None:
        return doc_before(self._source.text, self._offset + keyword.start_pos)

    def _ends(self, children: list[Any]) -> tuple[str | None, Place]:
        """The last two fields of a declaration: its documentation and its place."""
        return self._doc(children[0]), self._from(children[0], children[-1])

    def import_(self, children: list[Any]) -> ast.Import:
        _, path, _, alias = children
        return ast.Import(self.string([path]), self._ident(alias), *self._ends(children))

    def let(self, children: list[Any]) -> ast.Let:
        kind = self._ident(children[3]) if len(children) == 6 else None
        return ast.Let(self._ident(children[1]), kind, children[-1], *self._ends(children))

    def _named_block(self, make: Callable[..., B], children: list[Any]) -> B:
        return make(self._ident(children[1]), children[2], *self._ends(children))

    def model(self, children: list[Any]) -> ast.Model:
        return self._named_block(ast.Model, children)

    def teacher(self, children: list[Any]) -> ast.Teacher:
        return self._named_block(ast.Teacher, children)

    def concept(self, children: list[Any]) -> ast.Concept:
        return self._named_block(ast.Concept, children)

    def source(self, children: list[Any]) -> ast.Source:
        block = children[4] if len(children) == 5 else None
        return ast.Source(self._ident(children[1]), children[3], block, *self._ends(children))

    def span(self, children: list[Any]) -> ast.SpanDecl:
        of = self._ident(children[3]) if len(children) == 6 else None
        return ast.SpanDecl(self._ident(children[1]), of, children[-1], *self._ends(children))

    def relate(self, children: list[Any]) -> ast.Relate:
        label, (subject, relation, target, block) = _labelled(children)
        return ast.Relate(label, subject, self._ident(relation), target, None, None, block, *self._ends(children))

    def relate_like(self, children: list[Any]) -> ast.Relate:
        label, (subject, _, subject_to, like, target, _, target_to, block) = _labelled(children)
        ends = self._ends(children)
        return ast.Relate(label, subject, self._ident(like), target, subject_to, target_to, block, *ends)

    def attend(self, children: list[Any]) -> ast.Attend:
        label, (query, _, key, *wheres, block) = _labelled(children)
        condition = self._all(wheres[1::2])
        return ast.Attend(label, query, key, condition, block, *self._ends(children))

    def _all(self, conditions: list[ast.Expr]) -> ast.Expr | None:
        """Several conditions of a join as one; an `or` among them keeps its meaning by parentheses."""
        if len(conditions) > 1:
            loose = [isinstance(c, ast.Binary) and c.op == "or" for c in conditions]
            conditions = [ast.Paren(c, c.place) if wrap else c for c, wrap in zip(conditions, loose, strict=True)]
        self._nodes += len(conditions)
        joined = conditions[0] if conditions else None
        for condition in conditions[1:]:
            joined = ast.Binary("and", joined, condition, joined.place.to(condition.place)) if joined else condition
        return joined

    def _rule(self, make: Callable[..., R], children: list[Any]) -> R:
        label, (subject, block) = _labelled(children)
        return make(label, subject, block, *self._ends(children))

    def signal(self, children: list[Any]) -> ast.Signal:
        return self._rule(ast.Signal, children)

    def weigh(self, children: list[Any]) -> ast.Weigh:
        return self._rule(ast.Weigh, children)

    def keep(self, children: list[Any]) -> ast.Keep:
        return self._rule(ast.Keep, children)

    def gradient(self, children: list[Any]) -> ast.Gradient:
        return ast.Gradient(children[1], *self._ends(children))

    def curriculum(self, children: list[Any]) -> ast.Curriculum:
        attributes = tuple(child for child in children if isinstance(child, ast.Attribute))
        stages = tuple(child for child in children if isinstance(child, ast.Stage))
        return ast.Curriculum(attributes, stages, *self._ends(children))

    def stage(self, children: list[Any]) -> ast.Stage:
        keyword, name, share, block = children
        return ast.Stage(self._ident(name), self.percent([share]), block, self._from(keyword, block))

    def frame(self, children: list[Any]) -> ast.Frame:
        parameters = tuple(child for child in children if isinstance(child, ast.Parameter))
        items = tuple(child for child in children[children.index("{") :] if hasattr(child, "place"))
        self._nodes += 1
        return ast.Frame(self._ident(children[1]), parameters, items, *self._ends(children))

    def parameter(self, children: list[Any]) -> ast.Parameter:
        default = children[4] if len(children) == 5 else None
        place = self._from(children[0], children[-1])
        return ast.Parameter(self._ident(children[0]), self._ident(children[2]), default, place)

    def use(self, children: list[Any]) -> ast.Use:
        return ast.Use(children[1], self._ident(children[3]), *self._ends(children))

    def expect(self, children: list[Any]) -> ast.Expect:
        return ast.Expect(len(children) == 3, children[-1], *self._ends(children))


def _labelled(children: list[Any]) -> tuple[ast.Ident | None, list[Any]]:
    """The label of a rule, and its children after keyword and label."""
    return (children[1], children[2:]) if isinstance(children[1], ast.Ident) else (None, children[1:])


def doc_before(text: str, start: int) -> str | None:
    """The `## text` lines directly above a declaration that is the first on its line."""
    above = text.rfind("\n", 0, start)
    if text[above + 1 : start].strip():
        return None
    lines: list[str] = []
    while above > 0:
        end, above = above, text.rfind("\n", 0, above)
        line = text[above + 1 : end].strip()
        if not line.startswith("##") or line.startswith("###"):
            break
        lines.append(line[2:].removeprefix(" "))
    return "\n".join(reversed(lines)) or None


def deepest(node: Any) -> Place | None:
    """The place of the first node found beyond the depth limit, by a walk with a stack."""
    todo: list[tuple[Any, int]] = [(node, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > MAX_DEPTH:
            place: Place = node.place
            return place
        todo.extend((child, depth + 1) for child in _children(node))
    return None


def _children(node: Any) -> Iterable[Any]:
    for name in node.__dataclass_fields__:
        values = [getattr(node, name)]
        while values:
            value = values.pop()
            if isinstance(value, tuple):
                values.extend(value)
            elif hasattr(value, "place"):
                yield value
