"""`# mcd: allow unused-import -- the reason`: comments that let a warning pass.

Behind something on its line, the comment is for the findings of that line. On a line of its own it is for the declaration, the
stage or the line below it. `# mcd: allow-file ...`, before the first declaration, is for the whole file. What follows `--` is for
readers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .. import ast
from ..codes import project as codes
from ..diagnostics import Diagnostic, Edit, Findings, Fix, did_you_mean
from ..load import File
from ..source import Place, SourceText
from .project import resolve

_SCAN = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|(#[^\n]*)')
_COMMENT = re.compile(r"#+[ \t]*mcd:[ \t]*([\w-]*)(.*)", re.DOTALL)
_WORD = re.compile(r"[^\s,]+")
ALLOW, ALLOW_FILE = "allow", "allow-file"


@dataclass(slots=True)
class Allow:
    """A code that a comment allows: its word, the comment, and the characters `[first, last)` in which findings are let pass."""

    word: Place
    comment: Place
    ids: frozenset[str]
    first: int
    last: int
    used: bool = field(default=False)

    def covers(self, found: Diagnostic) -> bool:
        """Whether a finding of the same file is let pass."""
        return (
            found.code.id in self.ids and isinstance(found.place, Place) and self.first <= found.place.start < self.last
        )


def allows(file: File, findings: Findings) -> list[Allow]:
    """The comments of a file that let findings pass; what is wrong with one is added to `findings`."""
    found: list[Allow] = []
    starts = [item.place.start for item in file.spec.items]
    for match in _SCAN.finditer(file.source.text):
        comment = _COMMENT.fullmatch(match[1].rstrip()) if match[1] else None
        if comment is None:
            continue
        place = Place(file.source, match.start(1), match.start(1) + len(match[1].rstrip()))
        action = comment[1]
        if action not in (ALLOW, ALLOW_FILE):
            help = did_you_mean(action, (ALLOW, ALLOW_FILE)) or f"write `# mcd: {ALLOW} NAME`"
            findings.add(codes.BAD_ALLOW.at(place, f"expected `{ALLOW}` after `mcd:`, found `{action}`", help=help))
            continue
        if action == ALLOW_FILE and place.start > min(starts, default=place.start):
            message = f"`{ALLOW_FILE}` stands before the first declaration"
            findings.add(codes.BAD_ALLOW.at(place, message, help=f"for what follows, write `# mcd: {ALLOW} ...`"))
            continue
        first, last = (0, len(file.source.text) + 1) if action == ALLOW_FILE else _scope(file, place)
        found += _codes(place, place.start + comment.start(2), comment[2], first, last, findings)
    return found


def _codes(comment: Place, at: int, text: str, first: int, last: int, findings: Findings) -> Iterator[Allow]:
    """The codes that a comment names from character `at` on."""
    words = list(_WORD.finditer(text.split("--", 1)[0]))
    if not words:
        findings.add(codes.BAD_ALLOW.at(comment, "the comment names no warning", help="write its id or its name"))
    for match in words:
        place = Place(comment.source, at + match.start(), at + match.end())
        found, wrong = resolve(match[0], "allow")
        if wrong is not None:
            findings.add(wrong.code.at(place, wrong.message, help=wrong.help))
        else:
            yield Allow(place, comment, frozenset(code.id for code in found), first, last)


def _scope(file: File, comment: Place) -> tuple[int, int]:
    """The characters that a comment is for."""
    source = file.source
    line = source.position(comment.start)[0]
    if source.text[source.line_starts[line - 1] : comment.start].strip():
        return _line(source, line)
    while line < len(source.line_starts):
        line += 1
        text = source.line(line).strip()
        if text and not text.startswith("#"):
            break
    first, last = _line(source, line)
    for place in _parts(file.spec.items):
        if first <= place.start < last:
            return first, max(last, place.end)
    return first, last


def _line(source: SourceText, line: int) -> tuple[int, int]:
    """The characters of a line, its break included."""
    starts = source.line_starts
    return starts[line - 1], starts[line] if line < len(starts) else len(source.text) + 1


def _parts(items: Iterable[ast.Item]) -> Iterator[Place]:
    """Declarations, those in frames, and stages."""
    for item in items:
        yield item.place
        match item:
            case ast.Frame(items=inner):
                yield from _parts(inner)
            case ast.Curriculum(stages=stages):
                yield from (stage.place for stage in stages)


def unused(found: Iterable[Allow]) -> Iterator[Diagnostic]:
    """What comments allow and does not come, with the fix that takes it out."""
    comments: dict[Place, list[Allow]] = {}
    for allow in found:
        comments.setdefault(allow.comment, []).append(allow)
    for comment, named in comments.items():
        idle = [allow for allow in named if not allow.used]
        for allow in idle:
            whole = len(idle) == len(named)
            edit = Edit(_with_blanks(comment) if whole else _with_comma(allow.word, named), "")
            # One comment goes once, whichever of its codes is fixed first.
            fixes = [Fix(f"remove `{(comment if whole else allow.word).text}`", (edit,))]
            message = f"no `{allow.word.text}` comes here to be allowed"
            yield codes.UNUSED_ALLOW.at(allow.word, message, fixes=fixes)


def _with_comma(word: Place, named: list[Allow]) -> Place:
    """A code with the comma that parts it from the next, or from the one before where it is the last."""
    at = next(i for i, allow in enumerate(named) if allow.word == word)
    if at + 1 < len(named):
        return Place(word.source, word.start, named[at + 1].word.start)
    return Place(word.source, named[at - 1].word.end, word.end)


def _with_blanks(comment: Place) -> Place:
    """A comment with the blanks before it, and with its line where it stands there alone."""
    text, start, end = comment.source.text, comment.start, comment.end
    while start > 0 and text[start - 1] in " \t":
        start -= 1
    alone = start == 0 or text[start - 1] == "\n"
    return Place(comment.source, start, min(end + 1, len(text)) if alone else end)
