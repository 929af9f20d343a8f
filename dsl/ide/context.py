"""What may stand at a cursor, by the lexemes of its declaration before it. The text there seldom parses, so nothing is parsed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, TypeAlias

from ..cut import KEYWORDS, OPERATORS, RULES, cut
from ..lexemes import Lexeme, first_on_line, lexemes
from ..vocabulary import BLOCKS, COVERAGE, LET_TYPES, REQUIRED, STAGE_FACTOR, Entry, Table, Type
from .words import FUNCTIONS

SPANS = Entry("span", Type.SPAN, REQUIRED)
CONCEPT = Entry("relate", Type.CONCEPT, REQUIRED)


@dataclass(frozen=True, slots=True)
class Declare:
    """A declaration may start; `frame`: one of a frame."""

    frame: bool = False


@dataclass(frozen=True, slots=True)
class Attribute:
    """The name of an attribute in a block of `kind`, which has those `given` already."""

    kind: str
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Value:
    """A value that `entry` takes; `kind` is the block or the declaration that it is in."""

    entry: Entry
    kind: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """An argument of a call of `callee`: a value for `entry`, or a label that is not `given` yet."""

    callee: str
    table: Table | None
    entry: Entry | None
    given: frozenset[str]
    kind: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition about spans that `named` are of, or about a `join` of the sets that `query` and `key` name."""

    named: tuple[str, ...]
    query: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    join: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a kind: a type, a relation, a frame, a source, a format, a claim."""

    what: Literal["type", "relation", "frame", "source", "format", "claim", "as"]


@dataclass(frozen=True, slots=True)
class Nothing:
    """A new name, a comment, a map: nothing is known to propose."""


Slot: TypeAlias = Declare | Attribute | Value | Arguments | Condition | Word | Nothing


@dataclass(frozen=True, slots=True)
class Context:
    """What may stand at the cursor, and what stands there.

    `start`: of what is being typed and would be replaced. `base`: for what follows a dot, the names before it, `$` and dots
    included. `string`: what stands between the opening quote and the cursor, where the cursor is in a string. `head` is the
    keyword of the declaration, `owner` its name, where one stands before the cursor; `parameters` are those of the frame around.
    """

    slot: Slot
    start: int
    base: tuple[str, ...] = ()
    string: str | None = None
    head: str = ""
    owner: str = ""
    parameters: tuple[str, ...] = ()


def context(text: str, offset: int) -> Context:
    """The context of a cursor at `offset`."""
    begin = next(
        (piece.start for piece in reversed(cut(text)) if piece.start < offset or piece.start == 0 == offset), 0
    )
    before = lexemes(text, begin, offset)
    if before and before[-1].kind == "comment":
        return Context(Nothing(), offset)
    walk = _Walk(text)
    typed = before.pop() if before and before[-1].end == offset and before[-1].kind != "mark" else None
    if typed is not None and typed.kind == "string" and _closed(typed.text):
        return Context(Nothing(), offset)
    base = _base(before, typed, offset)
    cleaned = [lexeme for lexeme in before[: len(before) - len(base)] if lexeme.kind != "comment"]
    slot = walk.slot(cleaned, typed.start if typed else offset)
    if isinstance(slot, Attribute):
        slot = replace(slot, given=slot.given | _given_behind(text, offset))
    owner = next((lexeme.text for lexeme in walk.tail[1:2] if lexeme.kind == "word"), "")
    found = Context(
        slot, offset if typed is None else typed.start, head=walk.head, owner=owner, parameters=tuple(walk.parameters)
    )
    if typed is not None and typed.kind == "string":
        content = typed.text.removeprefix("r")[1:]
        return replace(found, string=content, start=offset - len(content))
    start = offset if typed is None else typed.start + (typed.kind == "field" and bool(base))
    return replace(found, base=tuple(lexeme.text for lexeme in base), start=start)


def _given_behind(text: str, offset: int) -> frozenset[str]:
    """The attributes that stand behind the cursor in its block."""
    given: set[str] = set()
    depth = 0
    behind = lexemes(text, offset)
    for lexeme, after in pairwise(behind):
        depth += (lexeme.text in ("(", "[", "{")) - (lexeme.text in (")", "]", "}"))
        if depth < 0:
            break
        if depth == 0 and lexeme.kind == "word" and after.text == "=":
            given.add(lexeme.text)
    return frozenset(given)


def _closed(string: str) -> bool:
    content = string.removeprefix("r")
    return len(content) > 1 and content.endswith('"') and not content.endswith('\\"')


def _base(before: list[Lexeme], typed: Lexeme | None, offset: int) -> list[Lexeme]:
    """The lexemes of `name.name.` before what is being typed; only a dot for a field of the record."""
    if typed is not None and typed.kind == "field":
        end, found = typed.start, list[Lexeme]()
    elif before and before[-1].text == "." and before[-1].end == offset:
        end, found = before[-1].start, [before[-1]]
    else:
        return []
    for lexeme in reversed(before[: len(before) - len(found)]):
        if lexeme.end != end or lexeme.kind not in ("word", "param", "field"):
            break
        found.insert(0, lexeme)
        end = lexeme.start
        if lexeme.kind != "field":
            break
    return found


@dataclass(slots=True)
class _Level:
    """An open bracket: what is expected in it, the attributes or arguments that were given, and the names in the last value."""

    slot: Slot
    given: set[str] = field(default_factory=set)
    named: list[str] = field(default_factory=list)


class _Walk:
    """Goes over the lexemes of a declaration up to the cursor, with a stack of what is open."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.head = ""
        self.tail: list[Lexeme] = []
        self.parameters: list[str] = []
        self._levels = [_Level(Declare())]
        self._frame = False

    def slot(self, before: list[Lexeme], cursor: int) -> Slot:
        """What is expected at `cursor`, after the lexemes `before` it."""
        for at, lexeme in enumerate(before):
            self._take(lexeme, before[at + 1] if at + 1 < len(before) else None, before[at - 1] if at else None)
        level, last = self._levels[-1], before[-1] if before else None
        if isinstance(level.slot, Attribute):
            return replace(level.slot, given=frozenset(level.given))
        if isinstance(level.slot, Declare):
            return self._header() if self.tail and not self._starts(cursor) else Declare(self._frame)
        inside = self._block()
        if inside is not None and last is not None and _operand(last) and not isinstance(level.slot, Arguments):
            return Attribute(inside, frozenset(level.given))
        return level.slot

    def _starts(self, cursor: int) -> bool:
        """Whether a declaration may start at the cursor: in column 1, or on a line of its own in a frame."""
        last = self.tail[-1].text if self.tail else ""
        column = cursor - (self._text.rfind("\n", 0, cursor) + 1)
        return column == 0 or (self._frame and first_on_line(self._text, cursor) and last not in ("->", "=", "|", "&"))

    def _block(self) -> str | None:
        """The kind of the block whose attribute is being written, where no bracket is open in its value."""
        slot = self._levels[-1].slot
        return slot.kind if isinstance(slot, Value) and slot.kind in BLOCKS and len(self._levels) > 1 else None

    def _take(self, lexeme: Lexeme, after: Lexeme | None, last: Lexeme | None) -> None:
        level = self._levels[-1]
        if lexeme.text in ("(", "[", "{") and lexeme.kind == "mark":
            self._open(lexeme.text, last)
        elif lexeme.text in (")", "]", "}") and lexeme.kind == "mark":
            self._close()
        elif isinstance(level.slot, Declare):
            self._declared(lexeme, after)
        elif isinstance(level.slot, Arguments):
            self._argument(level, level.slot, lexeme, after)
        elif isinstance(level.slot, Word) and self.head == "frame" and after is not None and after.text == ":":
            self.parameters.append(lexeme.text)
        elif lexeme.text == "where" and isinstance(level.slot, Value):
            level.slot = Condition(tuple(level.named) or _names(self.tail))
        else:
            self._attribute(level, lexeme, after)
            if lexeme.kind in ("word", "param"):
                level.named.append(lexeme.text)

    def _declared(self, lexeme: Lexeme, after: Lexeme | None) -> None:
        """A lexeme outside all brackets, or directly in a frame."""
        starts = lexeme.kind == "word" and (lexeme.text in KEYWORDS or lexeme.text in ("stage", "mcd"))
        if starts and (not self.tail or (self._frame and first_on_line(self._text, lexeme.start))):
            self.head, self.tail = lexeme.text, []
        self.tail.append(lexeme)

    def _attribute(self, level: _Level, lexeme: Lexeme, after: Lexeme | None) -> None:
        """`name =` starts an attribute, in a block whatever came before; `stage` starts one in a curriculum."""
        kind = level.slot.kind if isinstance(level.slot, Attribute | Value) else ""
        if kind == "curriculum" and lexeme.text == "stage" and (after is None or after.text != "="):
            self.head, self.tail = "stage", []
            level.slot = Nothing()
        elif kind in BLOCKS and after is not None and after.text == "=" and lexeme.kind in ("word", "field"):
            level.given.add(lexeme.text)
            level.named = []
            entry = BLOCKS[kind].entries.get(lexeme.text)
            if kind == "stage" and lexeme.kind == "field":
                entry = STAGE_FACTOR
            level.slot = Value(entry or Entry(lexeme.text, Type.WORD), kind)

    def _argument(self, level: _Level, slot: Arguments, lexeme: Lexeme, after: Lexeme | None) -> None:
        entries = dict(slot.table.entries) if slot.table else {}
        if lexeme.text == ",":
            level.given.add(slot.entry.name if slot.entry and not slot.entry.variadic else "")
            level.slot = replace(slot, entry=_next(entries, level.given), given=frozenset(level.given))
        elif lexeme.kind == "word" and after is not None and after.text == ":":
            level.given.add(lexeme.text)
            level.slot = replace(slot, entry=entries.get(lexeme.text), given=frozenset(level.given))
        elif lexeme.text == "where":
            level.slot = Condition(tuple(level.named))
        elif lexeme.kind in ("word", "param"):
            level.named.append(lexeme.text)

    def _open(self, bracket: str, last: Lexeme | None) -> None:
        level = self._levels[-1]
        kind = getattr(level.slot, "kind", self.head)
        called = bracket == "(" and last is not None and last.kind in ("word", "field")
        if isinstance(level.slot, Declare):
            self._levels.append(_Level(self._opened(bracket, called, last)))
        elif isinstance(level.slot, Nothing) and self.head == "stage" and bracket == "{":
            level.slot = Attribute("curriculum")
            self._levels.append(_Level(Attribute("stage")))
        elif called and last is not None and last.text not in OPERATORS:
            self._levels.append(_Level(_call(last.text, kind)))
        elif bracket == "{" and not (isinstance(level.slot, Value) and level.slot.entry.type is Type.MIX):
            self._levels.append(_Level(Nothing()))
        else:
            self._levels.append(_Level(level.slot))

    def _opened(self, bracket: str, called: bool, last: Lexeme | None) -> Slot:
        """What is expected in the first bracket of a declaration."""
        header = self._header()
        if bracket == "{" and self.head == "frame":
            self._frame, self.tail, self.head = True, [], ""
            return Declare(True)
        if bracket == "{" and last is not None and _operand(last):
            return Attribute(self.head) if self.head in BLOCKS else Nothing()
        if bracket == "(" and self.head == "frame":
            return Word("type")
        if called and last is not None:
            return _call("".join(each.text for each in self.tail[1:]) if self.head == "use" else last.text, self.head)
        return Nothing() if bracket == "{" else header

    def _close(self) -> None:
        if len(self._levels) > 1:
            closed = self._levels.pop()
            if isinstance(closed.slot, Declare):
                self._frame = False
            if isinstance(closed.slot, Attribute | Value) and isinstance(self._levels[-1].slot, Declare):
                self.tail = [] if self._frame else self.tail

    # --- the part of a declaration before its block ---

    def _header(self) -> Slot:
        texts = [lexeme.text for lexeme in self.tail]
        kinds = [lexeme.kind for lexeme in self.tail]
        if len(texts) > 2 and texts[2] == ":" and self.head in RULES:
            texts, kinds = [texts[0], *texts[3:]], [kinds[0], *kinds[3:]]
        match self.head:
            case "span" | "let" | "source":
                return self._defined(texts)
            case "attend" if "where" in texts:
                return _join(self.tail)
            case "attend" | "signal" | "weigh" | "keep":
                return Condition(_names(self.tail)) if "where" in texts else Value(SPANS, self.head)
            case "relate":
                words = [text for text, kind in zip(texts[1:], kinds[1:], strict=True) if kind in ("word", "param")]
                return Word("relation") if len(words) == 1 and texts[-1] != "->" else Value(CONCEPT, "relate")
            case "use":
                return Word("frame") if len(texts) == 1 else Word("as")
            case "expect":
                return Word("claim")
            case "import":
                return Word("as")
        return Nothing()

    def _defined(self, texts: list[str]) -> Slot:
        """What `span`, `let` and `source` expect behind their names."""
        if "=" in texts:
            if self.head == "source":
                return Word("format")
            if "where" in texts:
                return Condition(_names(self.tail))
            stated = texts[3] if self.head == "let" and texts[2:3] == [":"] and len(texts) > 4 else "span"
            kind = Type.SPAN if self.head == "span" else LET_TYPES.get(stated, Type.NUMBER)
            return Value(Entry(self.head, kind), self.head)
        if self.head == "let" and texts[-1] == ":":
            return Word("type")
        return Word("source") if self.head == "span" and texts[-1] == "of" else Nothing()


def _operand(lexeme: Lexeme) -> bool:
    """Whether a value may end with a lexeme."""
    return (lexeme.kind not in ("mark", "comment") and lexeme.text not in OPERATORS) or lexeme.text in (")", "]", "}")


def _names(tail: list[Lexeme]) -> tuple[str, ...]:
    """The names that the expressions of a declaration name before its `where`."""
    found: list[str] = []
    for lexeme in tail[1:]:
        if lexeme.text == "where":
            break
        if lexeme.kind in ("word", "param"):
            found.append(lexeme.text)
    return tuple(found)


def _join(tail: list[Lexeme]) -> Condition:
    names = _names(tail)
    arrow = next((lexeme.start for lexeme in tail if lexeme.text == "->"), 0)
    before = sum(lexeme.start < arrow for lexeme in tail[1:] if lexeme.kind in ("word", "param"))
    return Condition(names, names[:before], names[before:], True)


def _call(callee: str, kind: str) -> Slot:
    table = COVERAGE if callee == "coverage" else FUNCTIONS.get(callee)
    entry = _next(dict(table.entries), set()) if table else None
    return Arguments(callee, table, entry, frozenset(), kind)


def _next(entries: dict[str, Entry], given: set[str]) -> Entry | None:
    """The parameter that an argument without a label is for."""
    open_ = (entry for entry in entries.values() if not entry.keyword and (entry.variadic or entry.name not in given))
    return next(open_, None)
