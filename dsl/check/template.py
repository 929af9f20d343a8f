"""Text templates: `"{.premise} Question: {.question}"` -> literal pieces and slots, with faults shown inside the string."""

from __future__ import annotations

import re

from .. import ast
from .. import checked as c
from ..codes import values as codes
from ..source import Place
from ..vocabulary import Entry, Type
from .env import Env, Reported
from .values import field_path, mismatch, reads

_STEP = re.compile(r'\.(?:([A-Za-z_][A-Za-z0-9_]*)|"([^"\\]+)")')
_ESCAPE = re.compile(r"\\u\{[0-9A-Fa-f]*\}|\\.|.", re.DOTALL)


@reads(Type.TEMPLATE)
def _template(env: Env, expr: ast.Expr, entry: Entry) -> c.Template:
    """A string with slots, or a bare field: its text as it is."""
    path = field_path(expr)
    if path is not None:
        return c.Template((path,))
    if not isinstance(expr, ast.String):
        raise mismatch(env, expr, entry)
    return parse_template(env, expr)


def parse_template(env: Env, string: ast.String) -> c.Template:
    """The template that `string` says. Fails on a lone brace, a slot that is no field, and a text without a slot."""
    text, parts, literal, at = string.value, list[str | c.FieldPath](), "", 0
    while at < len(text):
        if text[at : at + 2] in ("{{", "}}"):
            literal, at = literal + text[at], at + 2
        elif text[at] == "{":
            end = text.find("}", at)
            if end < 0:
                raise _bad(env, string, at, len(text), "a slot is never closed")
            parts += [literal, _slot(env, string, at, end + 1)]
            literal, at = "", end + 1
        elif text[at] == "}":
            raise _bad(env, string, at, at + 1, "a `}` closes nothing", "write `}}` for a brace")
        else:
            literal, at = literal + text[at], at + 1
    if not parts:
        raise _bad(env, string, 0, len(text), "a template needs a slot", "`{.name}` stands for a field of the record")
    return c.Template(tuple(part for part in (*parts, literal) if part))


def _slot(env: Env, string: ast.String, start: int, end: int) -> c.FieldPath:
    """The field of the slot at `[start, end)`, braces included."""
    body = string.value[start + 1 : end - 1]
    steps: list[str] = []
    at = 0
    while at < len(body) and (match := _STEP.match(body, at)):
        steps.append(match[1] or match[2])
        at = match.end()
    if at < len(body) or not steps:
        help = f"write `{{.{body}}}`" if body.isidentifier() else "a slot is `{.name}`; write `{{` for a brace"
        raise _bad(env, string, start, end, f"`{{{body}}}` is no slot", help)
    return tuple(steps)


def _bad(env: Env, string: ast.String, start: int, end: int, message: str, help: str | None = None) -> Reported:
    return env.fail(codes.BAD_TEMPLATE.at(inside(string, start, end), message, help=help))


def inside(string: ast.String, start: int, end: int) -> Place:
    """The place of characters `[start, end)` of a string's value; the whole string where it was not typed here."""
    typed = string.place.text
    opening = 2 if typed.startswith('r"') else 1
    if not typed.startswith(('"', 'r"')):
        return string.place
    if string.raw:
        offsets = list(range(opening, len(typed)))
    else:
        offsets = [match.start() for match in _ESCAPE.finditer(typed, opening)]
    base = string.place.start
    return Place(string.place.source, base + offsets[start], base + offsets[min(end, len(offsets) - 1)])
