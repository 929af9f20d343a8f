"""Common slips in a spec that does not parse: what to write instead, and the fix where it is certain.

Each function knows one slip, and gives its advice where the parser stopped at it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from .cut import KEYWORDS, OPERATORS, RULES
from .diagnostics import Edit, Fix, replacing
from .source import Place
from .trouble import Trouble, kind_of, short


class Advice(NamedTuple):
    """A help line, and what does as it says."""

    help: str | None = None
    fixes: tuple[Fix, ...] = ()


def advise(trouble: Trouble) -> Advice:
    """The advice for the slip that was made here, if it is a common one."""
    return next((advice for slip in _SLIPS if (advice := slip(trouble))), Advice())


def by(help: str, place: Place, text: str) -> Advice:
    """Advice that is followed by putting `text` in place of what was typed."""
    return Advice(help, (replacing(place, text),))


def _equals(trouble: Trouble) -> Advice | None:
    if trouble.kind != "EQUAL":
        return None
    if "COLON" in trouble.accepts:
        return by("entries of a map are written `key: value`", _with_blank(trouble.place), ":")
    if kind_of(trouble.top) == "NAME":
        before = trouble.stack[-2]
        if kind_of(before) in ("LPAR", "COMMA") and _is_call(trouble):
            return by(f"arguments are written `{trouble.before}: ...`", _with_blank(trouble.place), ":")
        if str(before) in RULES:
            help = f"the name of a rule is followed by `:`, as in `{before} {trouble.before}: ...`"
            return by(help, _with_blank(trouble.place), ":")
    if "SLASH" in trouble.accepts:
        return by("equality is written `==`", trouble.place, "==")
    return None


def _compare(trouble: Trouble) -> Advice | None:
    if trouble.text == "==" and "EQUAL" in trouble.accepts:
        return by("a value is given with a single `=`", trouble.place, "=")
    return None


def _is_call(trouble: Trouble) -> bool:
    i = trouble.open or 0
    return i > 0 and kind_of(trouble.stack[i]) == "LPAR" and kind_of(trouble.stack[i - 1]) in (None, "NAME")


def _colon(trouble: Trouble) -> Advice | None:
    if trouble.kind != "COLON" or "EQUAL" not in trouble.accepts:
        return None
    if trouble.open is None:
        return by("write `=`", _with_blank(trouble.place), " =")
    help = f"attributes are written `{trouble.before} = ...`; `:` stands in arguments and maps"
    return by(help, _with_blank(trouble.place), " =")


def _with_blank(place: Place) -> Place:
    """A sign with the blank before it, where there is one."""
    blank = place.start > 0 and place.source.text[place.start - 1] in " \t"
    return Place(place.source, place.start - blank, place.end)


def _comma(trouble: Trouble) -> Advice | None:
    if trouble.kind == "COMMA" and {"NAME", "RBRACE"} <= trouble.accepts:
        return by("attributes are separated by spaces or line breaks; remove the comma", trouble.place, "")
    return None


def _operator_name(trouble: Trouble) -> Advice | None:
    if trouble.text in OPERATORS and trouble.accepts & {"NAME", "LABEL"}:
        return Advice(f"`{trouble.text}` is an operator and cannot be a name")
    return None


def _brace(trouble: Trouble) -> Advice | None:
    if trouble.open is None:
        return None
    if "EQUAL" in trouble.accepts and trouble.before in KEYWORDS:
        return Advice(f"is a `}}` missing before `{trouble.before}`?")
    if "RBRACE" in trouble.accepts and trouble.text in KEYWORDS:
        return Advice(f"is a `}}` missing before `{trouble.text}`?")
    return None


def _quotes(trouble: Trouble) -> Advice | None:
    if trouble.accepts == {"STRING"}:
        return Advice(f'write it in quotes: `"{short(_word(trouble.rest))}"`')
    listed = {"COMMA", "RPAR"} <= trouble.accepts or {"COMMA", "RSQB"} <= trouble.accepts
    if listed and trouble.kind not in ("EQUAL", "COLON", "RBRACE", "RSQB", "RPAR"):
        return Advice("items are separated by `,`; text stands in double quotes")
    return None


def _word(rest: str) -> str:
    return rest.split(maxsplit=1)[0]


_CONDITION = re.compile(r"[=!]=|(?<!-)[<>]|\b(?:before|after|in)\b")


def _missing(trouble: Trouble) -> Advice | None:
    if trouble.kind != "NAME" or trouble.open is not None:
        return None
    if "LBRACE" in trouble.accepts and kind_of(trouble.top) == "NAME" and str(trouble.stack[-2]) in RULES:
        rule = f"{trouble.stack[-2]} {trouble.before}: {trouble.text} ..."
        return Advice(f"the name of a rule is followed by `:`, as in `{rule}`")
    condition = "WHERE" in trouble.accepts and _CONDITION.search(trouble.rest)
    if not condition:
        return None
    insert = Fix("insert `where`", (Edit(trouble.at(0, 0), "where "),))
    return Advice("a condition starts with `where`", (insert,))


def _nameless(trouble: Trouble) -> Advice | None:
    if trouble.kind == "STRING" and trouble.accepts == {"NAME"}:
        return by("a name is written without quotes", trouble.place, trouble.text.strip('"'))
    return None


_SLIPS: tuple[Callable[[Trouble], Advice | None], ...] = (
    *(_equals, _compare, _colon, _comma, _operator_name, _brace, _quotes, _missing, _nameless),
)
