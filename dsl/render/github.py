"""Findings as workflow commands of GitHub Actions, which show them beside the lines of a pull request.

`::error file=a.mcd,line=2,endLine=2,col=10,endColumn=11,title=MCD101 syntax::message`: values escape `%`, line breaks, `:` and
`,`, the message `%` and line breaks. A range over several lines has no columns, since those that read them refuse such a range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..diagnostics import Diagnostic
from ..source import DataPlace, Place
from .text import in_order

_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def render_github(diagnostics: Sequence[Diagnostic]) -> str:
    """A command per finding; empty where there is none."""
    return "".join(f"{_command(diagnostic)}\n" for diagnostic in in_order(diagnostics))


def _command(found: Diagnostic) -> str:
    properties = {**_place(found.place), "title": f"{found.code.id} {found.code.name}"}
    written = ",".join(f"{name}={_escape(value, _PROPERTY)}" for name, value in properties.items())
    message = found.message if found.help is None else f"{found.message}\nhelp: {found.help}"
    return f"::{found.severity.value} {written}::{_escape(message, _DATA)}"


def _place(place: Place | DataPlace | None) -> dict[str, str]:
    if isinstance(place, Place):
        line, column = place.source.position(place.start)
        last, end = place.source.position(max(place.start, place.end - 1))
        columns = {"col": str(column), "endColumn": str(end)} if last == line else {}
        return {"file": place.source.path, "line": str(line), "endLine": str(last), **columns}
    if place is None:
        return {}
    return {"file": place.path, **({} if place.line is None else {"line": str(place.line)})}


def _escape(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(char, char) for char in text)
