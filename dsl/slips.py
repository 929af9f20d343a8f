"""Explains a syntax error: what was found, what was expected, and the fix where the slip is a common one.

Takes what the parser knew when it stopped. Terminals are told in the words of the language reference, never by the
names that the grammar gives them.
"""

from __future__ import annotations

import re
from typing import Any

from .advice import Advice, advise, by
from .codes.syntax import (
    BAD_NUMBER,
    CHAINED_COMPARISON,
    INDENTED_DECLARATION,
    SYNTAX,
    UNCLOSED_BRACKET,
    UNEXPECTED_CHARACTER,
    UNTERMINATED_STRING,
)
from .cut import KEYWORDS
from .diagnostics import Applicability, Diagnostic, Edit, Fix, Related, replacing
from .source import Place
from .trouble import Trouble, bracket_of, kind_of, short

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
        return INDENTED_DECLARATION.at(trouble.place, message, fixes=[_outdent(trouble)])
    if trouble.kind in _COMPARE and "SLASH" in trouble.accepts:
        message = f"`{trouble.text}` follows a comparison, and comparisons do not chain"
        return CHAINED_COMPARISON.at(trouble.place, message, help="join two comparisons with `and`: `a < b and b < c`")
    if trouble.text in _CLOSING.values():
        return _closing(trouble)
    advice = advise(trouble)
    return SYNTAX.at(trouble.place, _message(trouble, f"`{short(trouble.text)}`"), help=advice.help, fixes=advice.fixes)


# --- the end, brackets, characters -----------------------------------------------------------------------------------


_FOREIGN = {
    "&&": ("write `and`", "and"),
    "||": ("write `or`", "or"),
    "//": ("a comment starts with `#`", "#"),
    "/*": ("a comment starts with `#`", None),
}


def _foreign(trouble: Trouble) -> Diagnostic | None:
    """Two signs in a row that other languages read as one."""
    for first in (-1, 0):
        place = trouble.at(first, first + 2)
        if place.start >= trouble.start and place.text in _FOREIGN:
            help, meant = _FOREIGN[place.text]
            fixes = [replacing(place, meant)] if meant else []
            return SYNTAX.at(place, f"`{place.text}` has no meaning here", help=help, fixes=fixes)
    return None


def _end(trouble: Trouble) -> Diagnostic:
    if trouble.open is not None:
        bracket = trouble.stack[trouble.open]
        help = f"close it with `{_CLOSING[str(bracket)]}` before the next declaration"
        return UNCLOSED_BRACKET.at(_token_place(trouble, bracket), f"`{bracket}` is never closed", help=help)
    if kind_of(trouble.top) == "RBRACE" and "LBRACE" in trouble.accepts:
        # What was meant as the block was read as a map, since a value was due.
        brace = bracket_of(trouble.stack[:-1])
        assert brace is not None
        place = _token_place(trouble, trouble.stack[brace])
        return SYNTAX.at(place, f"expected a value after `{short(str(trouble.stack[brace - 1]))}`, found `{{`")
    return SYNTAX.at(trouble.place, _message(trouble, "the end of the declaration"))


def _token_place(trouble: Trouble, token: Any) -> Place:
    return Place(trouble.place.source, trouble.start + token.start_pos, trouble.start + token.end_pos)


def _closing(trouble: Trouble) -> Diagnostic:
    found = f"`{trouble.text}`"
    if trouble.open is None:
        advice = by("remove it", trouble.place, "") if trouble.complete else Advice()
        return SYNTAX.at(trouble.place, f"{found} closes nothing", help=advice.help, fixes=advice.fixes)
    bracket = trouble.stack[trouble.open]
    if _CLOSING[str(bracket)] == trouble.text:
        advice = advise(trouble)
        return SYNTAX.at(trouble.place, _message(trouble, found), help=advice.help, fixes=advice.fixes)
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
        message = f"a string stands in double quotes, found `{short(quoted.group())}`"
        return UNEXPECTED_CHARACTER.at(place, message, help='write `"..."`', fixes=_requoted(place))
    if number := _NUMBER.match(rest):
        place = trouble.at(0, number.end())
        bare = "NUMBER" in trouble.accepts and re.fullmatch(r"\.[0-9]+", number.group())
        advice = by(f"write `0{number.group()}`", place, f"0{number.group()}") if bare else Advice()
        message = f"`{short(number.group())}` is not a number"
        return BAD_NUMBER.at(place, message, help=advice.help, fixes=advice.fixes)
    if rest[0].isalpha():
        return _foreign_name(trouble)
    char = rest[0]
    shown = f"`{char}`" if char.isprintable() and not char.isspace() else f"character U+{ord(char):04X}"
    advice = _character_advice(char, trouble)
    return UNEXPECTED_CHARACTER.at(trouble.at(0, 1), f"unexpected {shown}", help=advice.help, fixes=advice.fixes)


def _foreign_name(trouble: Trouble) -> Diagnostic:
    """A word with letters that names do not have."""
    text, first, last = trouble.place.source.text, trouble.place.start, trouble.place.end
    while first > trouble.start and _is_letter(text[first - 1]):
        first -= 1
    while last < len(text) and _is_letter(text[last]):
        last += 1
    place = Place(trouble.place.source, first, last)
    help = f'a name has ASCII letters, digits and `_`; a field of another name is written `."{short(place.text)}"`'
    return UNEXPECTED_CHARACTER.at(place, f"`{short(place.text)}` is not a name", help=help)


def _is_letter(char: str) -> bool:
    return char == "_" or char.isalnum()


def _character_advice(char: str, trouble: Trouble) -> Advice:
    place = trouble.at(0, 1)
    if char == "!":
        return by("negation is written `not`, inequality `!=`", place, "not ")
    if char == ";":
        return by("nothing separates declarations or attributes; remove it", place, "")
    if char == "%" and kind_of(trouble.top) == "NUMBER":
        return by("a percentage has no space before its `%`", _after(trouble.top, trouble), "%")
    if char == "$":
        return Advice("a constant or a parameter is written `$name`")
    if char == ".":
        return Advice("`.` is followed directly by the name of a field, and `..` stands in a range")
    if char.isspace():
        return Advice("replace it with a plain space", (Fix("replace it with a space", (Edit(place, " "),)),))
    return Advice()


def _after(token: Any, trouble: Trouble) -> Place:
    """What stands from the end of a token to the end of the trouble."""
    return Place(trouble.place.source, trouble.start + token.end_pos, trouble.place.start + 1)


def _outdent(trouble: Trouble) -> Fix:
    """Puts a declaration at the start of a line: its own, or one that begins here."""
    text, start = trouble.place.source.text, trouble.place.start
    first = start
    while first > 0 and text[first - 1] in " \t":
        first -= 1
    edit = Edit(Place(trouble.place.source, first, start), "" if first == 0 or text[first - 1] == "\n" else "\n")
    return Fix(f"put `{trouble.text}` at the start of a line", (edit,))


def _requoted(place: Place) -> list[Fix]:
    """The string of other quotes in double ones; certain where it is closed, and holds nothing that reads otherwise there."""
    inner = place.text[1:-1]
    if len(place.text) < 2 or place.text[-1] not in "'\u201c\u201d\u00bb" or '"' in inner:
        return []
    applicability = Applicability.MAYBE if "\\" in inner else Applicability.CERTAIN
    return [replacing(place, f'"{inner}"', applicability)]


# --- the general message ---------------------------------------------------------------------------------------------


def _message(trouble: Trouble, found: str) -> str:
    after = f" after `{short(trouble.before)}`" if trouble.before else ""
    return f"expected {expected(trouble.accepts)}{after}, found {found}"


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
