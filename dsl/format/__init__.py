"""The formatter: a spec file -> the same in the one form that specs are written in.

It moves white space and the commas before closing brackets, and nothing else: tokens and comments stay as typed, in their
order. So its result has the same tree, and formatting it again changes nothing. Rows have at most `layout.WIDTH` columns, a
comment behind the code not counted, unless a single token is longer.
"""

from __future__ import annotations

from .. import ast
from ..codes.syntax import TOO_LARGE
from ..diagnostics import Findings
from ..limits import MAX_BYTES
from ..parse import parse
from ..source import DataPlace, SourceText
from .cursor import Cursor
from .layout import render
from .statements import Statements, stack
from .tokens import meaning, scan


def format_source(source: SourceText, findings: Findings) -> str | None:
    """The text of a spec file in its one form. None where it has syntax errors, which are added to `findings`."""
    found = Findings()
    spec = parse(source, found)
    findings.items.extend(found.items)
    if found.failed:
        return None
    text = format_spec(spec)
    if len(text) > MAX_BYTES:
        message = f"`{source.path}` would be larger than {MAX_BYTES // 2**20} MB, the limit for a spec file"
        findings.add(TOO_LARGE.at(DataPlace(source.path), message))
        return None
    return text


def format_spec(spec: ast.Spec) -> str:
    """The same for the tree of a file without syntax errors."""
    text = spec.place.source.text
    tokens = scan(text)
    statements = Statements(Cursor(text, tokens))
    entries = [statements.header(), *statements.entries(spec.items, 0)]
    formatted = render(stack(entries, statements.comments(0)))
    if meaning(scan(formatted)) != meaning(tokens):
        raise RuntimeError("the formatted text differs in more than its white space")
    return formatted
