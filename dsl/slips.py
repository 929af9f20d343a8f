"""Explains a syntax error: what was found, what was expected, and the fix where the slip is a common one.

Takes what the parser knew when it stopped. Terminals are told in the words of the language reference, never by the
names that the grammar gives them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import ast
from .codes.syntax import (
    BAD_NUMBER,
    CHAINED_COMPARISON,
    INDENTED_DECLARATION,
    SYNTAX,
    UNCLOSED_BRACKET,
    UNEXPECTED_CHARACTER,
    UNTERMINATED_STRING,
)
from .cut import KEYWORDS, OPERATORS, RULES
from .diagnostics import Diagnostic, Related
from .source import Place

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_COMPARE = frozenset({"CMP", "BEFORE", "AFTER"})
_VALUE = frozenset({"NUMBER", "PERCENT", "STRING", "FIELD", "NAME", "PARAM", "LPAR", "LSQB", "LBRACE", "MINUS", "NOT"})
_OPERATOR = frozenset(
    {"WHERE", "OR", "AND", "VBAR", "__ANON_0", "AMPERSAND", "IN", "RANGE", "PLUS", "MINUS", "STAR", "SLASH"}
)
_OPERATORS = _OPERATOR | _COMPARE | {"FIELD", "LPAR"}

_WORDS = {
    "NAME": "a name",
    "LABEL": "a name",
    "PARAM": "a name",
    "STRING": "a quoted string",
    "PERCENT": "a percentage",
    "INT": "the number of the edition",
    "FIELD": "`.`",
    "EQUAL": "`=`",
    "COLON": "`:`",
    "COMMA": "`,`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "ARROW": "`->`",
    "$END": "the end of the declaration",
}


@dataclass(frozen=True)
class Trouble:
    """Where the parser stopped in the piece that starts at `start`.

    `kind` is the terminal found, `""` for a character that begins none, `"$END"` for the end of the piece. `accepts` are the
    terminals that would have gone on, `stack` the nodes and tokens read so far. `complete`: a declaration ends right before.
    """

    place: Place
    kind: str
    accepts: frozenset[str]
    stack: tuple[Any, ...]
    start: int
    complete: bool

    @property
    def text(self) -> str:
        """What was found, as typed; empty at the end."""
        return self.place.text

    @property
    def rest(self) -> str:
        """From what was found to the end of its line."""
        source = self.place.source.text
        end = source.find("\n", self.place.start)
        return source[self.place.start : len(source) if end < 0 else end].rstrip("\r")

    @cached_property
    def open(self) -> int | None:
        """Where in the stack the innermost open bracket is."""
        return _bracket(self.stack)

    @property
    def top(self) -> Any:
        """What was read last, None at the start."""
        return self.stack[-1] if self.stack else None

    @cached_property
    def before(self) -> str | None:
        """The word or sign right before, where it is a single one."""
        if isinstance(self.top, ast.Name | ast.Ident):
            return self.top.name
        return str(self.top) if _kind(self.top) else None

    def at(self, first: int, last: int) -> Place:
        """A place relative to where the trouble starts."""
        return Place(self.place.source, self.place.start + first, self.place.start + last)


def _bracket(stack: tuple[Any, ...], closed: int = 0) -> int | None:
    """Where in a stack the bracket is that opens outside of `closed` others."""
    for i in range(len(stack) - 1, -1, -1):
        kind = _kind(stack[i])
        if kind in ("RPAR", "RSQB", "RBRACE"):
            closed += 1
        elif kind in ("LPAR", "LSQB", "LBRACE"):
            if not closed:
                return i
            closed -= 1
    return None


def _kind(entry: Any) -> str | None:
    """The terminal of a stack entry, None for a node."""
    return getattr(entry, "type", None) if isinstance(entry, str) else None


def explain(trouble: Trouble) -> Diagnostic:
    """The one finding for a piece that does not parse."""
    if (foreign := _foreign(trouble)) is not None:
        return foreign
    if trouble.kind == "":
        return _character(trouble)
    if trouble.kind == "$END":
        return _end(trouble)
    if not trouble.stack and trouble.text in KEYWORDS:
        # In front of `=` or `.` a keyword is a name, so the parser stopped at the keyword.
        after = len(trouble.rest) - len(trouble.rest[len(trouble.text) :].lstrip())
        sign = trouble.at(after, after + 1)
        return SYNTAX.at(sign, f"expected a name after `{trouble.text}`, found `{sign.text}`")
    if trouble.complete and trouble.text in KEYWORDS:
        message = f"`{trouble.text}` starts a declaration, expected it at the start of a line"
        return INDENTED_DECLARATION.at(trouble.place, message)
    if trouble.kind in _COMPARE and "SLASH" in trouble.accepts:
        message = f"`{trouble.text}` follows a comparison, and comparisons do not chain"
        return CHAINED_COMPARISON.at(trouble.place, message, help="join two comparisons with `and`: `a < b and b < c`")
    if trouble.text in _CLOSING.values():
        return _closing(trouble)
    return SYNTAX.at(trouble.place, _message(trouble, f"`{_short(trouble.text)}`"), help=_help(trouble))


# --- the end, brackets, characters -----------------------------------------------------------------------------------


_FOREIGN = {
    "&&": "write `and`",
    "||": "write `or`",
    "//": "a comment starts with `#`",
    "/*": "a comment starts with `#`",
}


def _foreign(trouble: Trouble) -> Diagnostic | None:
    """Two signs in a row that other languages read as one."""
    for first in (-1, 0):
        place = trouble.at(first, first + 2)
        if place.start >= trouble.start and (help := _FOREIGN.get(place.text)):
            return SYNTAX.at(place, f"`{place.text}` has no meaning here", help=help)
    return None


def _end(trouble: Trouble) -> Diagnostic:
    if trouble.open is not None:
        bracket = trouble.stack[trouble.open]
        help = f"close it with `{_CLOSING[str(bracket)]}` before the next declaration"
        return UNCLOSED_BRACKET.at(_token_place(trouble, bracket), f"`{bracket}` is never closed", help=help)
    if _kind(trouble.top) == "RBRACE" and "LBRACE" in trouble.accepts:
        # What was meant as the block was read as a map, since a value was due.
        brace = _bracket(trouble.stack[:-1])
        assert brace is not None
        place = _token_place(trouble, trouble.stack[brace])
        return SYNTAX.at(place, f"expected a value after `{_short(str(trouble.stack[brace - 1]))}`, found `{{`")
    return SYNTAX.at(trouble.place, _message(trouble, "the end of the declaration"))


def _token_place(trouble: Trouble, token: Any) -> Place:
    return Place(trouble.place.source, trouble.start + token.start_pos, trouble.start + token.end_pos)


def _closing(trouble: Trouble) -> Diagnostic:
    found = f"`{trouble.text}`"
    if trouble.open is None:
        return SYNTAX.at(trouble.place, f"{found} closes nothing", help="remove it" if trouble.complete else None)
    bracket = trouble.stack[trouble.open]
    if _CLOSING[str(bracket)] == trouble.text:
        return SYNTAX.at(trouble.place, _message(trouble, found), help=_help(trouble))
    related = Related(_token_place(trouble, bracket), f"`{bracket}` is open here")
    return SYNTAX.at(trouble.place, _message(trouble, found), related=(related,))


_QUOTED = re.compile(r"'[^'\n]*'?")
_CURLY = re.compile("[\u201c\u201d\u201e\u00ab][^\u201c\u201d\u00bb\n]*[\u201c\u201d\u00bb]?")
_NUMBER = re.compile(r"[0-9][A-Za-z0-9_]*(?:\.[0-9A-Za-z_]+)*|\.[0-9][A-Za-z0-9_.]*")


def _character(trouble: Trouble) -> Diagnostic:
    rest = trouble.rest
    if rest[0] == '"' or rest.startswith(('r"', '."')):
        place = trouble.at(0, len(rest))
        help = 'end it with `"` on the same line; write a line break as `\\n`'
        return UNTERMINATED_STRING.at(place, "a string is not closed on its line", help=help)
    if quoted := _QUOTED.match(rest) or _CURLY.match(rest):
        place = trouble.at(0, quoted.end())
        message = f"a string stands in double quotes, found `{_short(quoted.group())}`"
        return UNEXPECTED_CHARACTER.at(place, message, help='write `"..."`')
    if number := _NUMBER.match(rest):
        place = trouble.at(0, number.end())
        bare = "NUMBER" in trouble.accepts and re.fullmatch(r"\.[0-9]+", number.group())
        fix = f"write `0{number.group()}`" if bare else None
        return BAD_NUMBER.at(place, f"`{_short(number.group())}` is not a number", help=fix)
    if rest[0].isalpha():
        return _foreign_name(trouble)
    char = rest[0]
    shown = f"`{char}`" if char.isprintable() and not char.isspace() else f"character U+{ord(char):04X}"
    return UNEXPECTED_CHARACTER.at(trouble.at(0, 1), f"unexpected {shown}", help=_character_help(char, trouble))


def _foreign_name(trouble: Trouble) -> Diagnostic:
    """A word with letters that names do not have."""
    text, first, last = trouble.place.source.text, trouble.place.start, trouble.place.end
    while first > trouble.start and _is_letter(text[first - 1]):
        first -= 1
    while last < len(text) and _is_letter(text[last]):
        last += 1
    place = Place(trouble.place.source, first, last)
    help = f'a name has ASCII letters, digits and `_`; a field of another name is written `."{_short(place.text)}"`'
    return UNEXPECTED_CHARACTER.at(place, f"`{_short(place.text)}` is not a name", help=help)


def _is_letter(char: str) -> bool:
    return char == "_" or char.isalnum()


def _character_help(char: str, trouble: Trouble) -> str | None:
    if char == "!":
        return "negation is written `not`, inequality `!=`"
    if char == ";":
        return "nothing separates declarations or attributes; remove it"
    if char == "%" and _kind(trouble.top) == "NUMBER":
        return "a percentage has no space before its `%`"
    if char == "$":
        return "a constant or a parameter is written `$name`"
    if char == ".":
        return "`.` is followed directly by the name of a field, and `..` stands in a range"
    if char.isspace():
        return "replace it with a plain space"
    return None


# --- the general message ---------------------------------------------------------------------------------------------


def _message(trouble: Trouble, found: str) -> str:
    after = f" after `{_short(trouble.before)}`" if trouble.before else ""
    return f"expected {expected(trouble.accepts)}{after}, found {found}"


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def expected(accepts: frozenset[str]) -> str:
    """Terminals in words: `a value`, `an attribute or `}``, ..."""
    words: list[str] = []
    rest = set(accepts)
    if {"IMPORT", "SPAN"} <= rest:
        words.append("a declaration")
        rest -= {word.upper() for word in KEYWORDS} | {"MCD"}
    if {"STRING", "NUMBER", "NAME"} <= rest:
        words.append("a value")
        rest -= _VALUE | {"LABEL"}
    elif {"NAME", "RBRACE"} <= rest:
        words.append("an attribute")
        rest -= {"NAME"}
    operators = bool(rest & _OPERATOR)
    if operators or {"FIELD", "LPAR"} <= rest:
        rest -= _OPERATORS
    if operators and (not rest or rest == {"$END"}):
        words.append("an operator")
    if len(rest) > 1:
        rest.discard("FIELD")
    words.extend(sorted({_WORDS.get(kind, f"`{kind.lower()}`") for kind in rest}, key=lambda w: (w[0] == "`", w)))
    if len(words) < 2:
        return "".join(words) or "nothing"
    return ", ".join(words[:-1]) + " or " + words[-1]


# --- common slips ----------------------------------------------------------------------------------------------------


def _help(trouble: Trouble) -> str | None:
    return next((help for slip in _SLIPS if (help := slip(trouble))), None)


def _equals(trouble: Trouble) -> str | None:
    if trouble.kind != "EQUAL":
        return None
    if "COLON" in trouble.accepts:
        return "entries of a map are written `key: value`"
    if _kind(trouble.top) == "NAME":
        before = trouble.stack[-2]
        if _kind(before) in ("LPAR", "COMMA") and _is_call(trouble):
            return f"arguments are written `{trouble.before}: ...`"
        if str(before) in RULES:
            return f"the name of a rule is followed by `:`, as in `{before} {trouble.before}: ...`"
    if "SLASH" in trouble.accepts:
        return "equality is written `==`"
    return None


def _compare(trouble: Trouble) -> str | None:
    if trouble.text == "==" and "EQUAL" in trouble.accepts:
        return "a value is given with a single `=`"
    return None


def _is_call(trouble: Trouble) -> bool:
    i = trouble.open or 0
    return i > 0 and _kind(trouble.stack[i]) == "LPAR" and _kind(trouble.stack[i - 1]) in (None, "NAME")


def _colon(trouble: Trouble) -> str | None:
    if trouble.kind != "COLON" or "EQUAL" not in trouble.accepts:
        return None
    if trouble.open is None:
        return "write `=`"
    return f"attributes are written `{trouble.before} = ...`; `:` stands in arguments and maps"


def _comma(trouble: Trouble) -> str | None:
    if trouble.kind == "COMMA" and {"NAME", "RBRACE"} <= trouble.accepts:
        return "attributes are separated by spaces or line breaks; remove the comma"
    return None


def _operator_name(trouble: Trouble) -> str | None:
    if trouble.text in OPERATORS and trouble.accepts & {"NAME", "LABEL"}:
        return f"`{trouble.text}` is an operator and cannot be a name"
    return None


def _brace(trouble: Trouble) -> str | None:
    if trouble.open is None:
        return None
    if "EQUAL" in trouble.accepts and trouble.before in KEYWORDS:
        return f"is a `}}` missing before `{trouble.before}`?"
    if "RBRACE" in trouble.accepts and trouble.text in KEYWORDS:
        return f"is a `}}` missing before `{trouble.text}`?"
    return None


def _quotes(trouble: Trouble) -> str | None:
    if trouble.accepts == {"STRING"}:
        return f'write it in quotes: `"{_short(_word(trouble.rest))}"`'
    listed = {"COMMA", "RPAR"} <= trouble.accepts or {"COMMA", "RSQB"} <= trouble.accepts
    if listed and trouble.kind not in ("EQUAL", "COLON", "RBRACE", "RSQB", "RPAR"):
        return "items are separated by `,`; text stands in double quotes"
    return None


def _word(rest: str) -> str:
    return rest.split(maxsplit=1)[0]


_CONDITION = re.compile(r"[=!]=|(?<!-)[<>]|\b(?:before|after|in)\b")


def _missing(trouble: Trouble) -> str | None:
    if trouble.kind != "NAME" or trouble.open is not None:
        return None
    if "LBRACE" in trouble.accepts and _kind(trouble.top) == "NAME" and str(trouble.stack[-2]) in RULES:
        return (
            f"the name of a rule is followed by `:`, as in `{trouble.stack[-2]} {trouble.before}: {trouble.text} ...`"
        )
    condition = "WHERE" in trouble.accepts and _CONDITION.search(trouble.rest)
    return "a condition starts with `where`" if condition else None


def _nameless(trouble: Trouble) -> str | None:
    if trouble.kind == "STRING" and trouble.accepts == {"NAME"}:
        return "a name is written without quotes"
    return None


_SLIPS: tuple[Callable[[Trouble], str | None], ...] = (
    *(_equals, _compare, _colon, _comma, _operator_name, _brace, _quotes, _missing, _nameless),
)
