"""Findings -> text: the only modules that know what a finding looks like, one per form.

`text` and `concise` are for people, and may change. JSON (version 1, `docs/schema/check.json`) and SARIF (2.1.0) are for
programs, and change by their own rules alone; `github` and `junit` follow those who read them.
"""

from __future__ import annotations

from .github import render_github
from .json import render_json
from .junit import render_junit
from .sarif import render_sarif
from .text import WIDTH, in_order, path_of, render_concise, render_text, summary, text_width, visible

__all__ = [
    "WIDTH",
    "in_order",
    "path_of",
    "render_concise",
    "render_github",
    "render_json",
    "render_junit",
    "render_sarif",
    "render_text",
    "summary",
    "text_width",
    "visible",
]
