"""Findings as JUnit XML, which every CI system reads: a test case per file that was checked.

A file with an error is a failed case, whose text lists all findings in it; warnings alone go to what the case printed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from ..diagnostics import Diagnostic, Severity
from .text import path_of, render_concise, summary

ELSEWHERE = "mcd"
"""The case of findings without a file."""


def render_junit(diagnostics: Sequence[Diagnostic], files: Sequence[str] = ()) -> str:
    """One test suite; `files` are those that were checked, as shown."""
    cases: dict[str, list[Diagnostic]] = defaultdict(list, {path: [] for path in files})
    for diagnostic in diagnostics:
        cases[path_of(diagnostic) or ELSEWHERE].append(diagnostic)
    failed = sum(any(map(_is_error, found)) for found in cases.values())
    counts = {"tests": str(len(cases)), "failures": str(failed), "errors": "0"}
    root = Element("testsuites", {"name": "mcd check", **counts})
    suite = SubElement(root, "testsuite", {"name": "mcd check", **counts})
    for path, found in cases.items():
        _case(suite, path, found)
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _is_error(found: Diagnostic) -> bool:
    return found.severity is Severity.ERROR


def _case(suite: Element, path: str, found: list[Diagnostic]) -> None:
    case = SubElement(suite, "testcase", {"classname": "mcd.check", "name": _plain(path), "file": _plain(path)})
    if any(map(_is_error, found)):
        failure = SubElement(case, "failure", {"type": "error", "message": _plain(summary(found))})
        failure.text = _plain(render_concise(found))
    elif found:
        SubElement(case, "system-out").text = _plain(render_concise(found))


def _plain(text: str) -> str:
    """Text with a stand-in for what XML 1.0 has no character for."""
    return "".join(char if _is_char(ord(char)) else "\ufffd" for char in text)


def _is_char(code: int) -> bool:
    return code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
