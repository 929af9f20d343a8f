"""Findings as a person reads them: with the source line, or a line each.

Text shows the source line as typed with the place underlined. Wide characters take two columns, a tab runs to the next
multiple of four, and whatever a terminal would obey instead of showing is shown as a stand-in.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from ..diagnostics import Diagnostic, Severity
from ..source import DataPlace, Place

TAB = 4
WIDTH = 120
"""Columns of a source line that are shown; a longer one is cut around the place."""

SHOWN = 500
"""Findings that are shown with their lines; of more, the number is."""

_STYLES = {"error": "1;31", "warning": "1;33", "help": "1;36", "gutter": "1;34", "bold": "1"}
Paint = Callable[[str, str], str]


def render_text(diagnostics: Sequence[Diagnostic], color: bool = False) -> str:
    """Findings in order of their places, at most `SHOWN`, and a summary line; empty where there is none."""
    if not diagnostics:
        return ""

    def paint(style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if color else text

    found = in_order(diagnostics)
    blocks = ["\n".join(_block(diagnostic, paint)) for diagnostic in found[:SHOWN]]
    more = [f"and {len(found) - SHOWN:,} more, which every other form lists"] if len(found) > SHOWN else []
    return "\n\n".join([*blocks, *more, summary(diagnostics)]) + "\n"


def render_concise(diagnostics: Sequence[Diagnostic]) -> str:
    """A line per finding: `a.mcd:2:10: error[MCD101]: message`, and a summary line."""
    if not diagnostics:
        return ""
    lines = [f"{_where(found.place)}{_tag(found)}: {visible(found.message)}" for found in in_order(diagnostics)]
    return "\n".join([*lines, summary(diagnostics)]) + "\n"


def _where(place: Place | DataPlace | None) -> str:
    if isinstance(place, Place):
        line, column = place.source.position(place.start)
        return f"{visible(place.source.path)}:{line}:{column}: "
    if place is None:
        return ""
    return visible(place.path) + (f":{place.line}: " if place.line is not None else ": ")


def _tag(found: Diagnostic) -> str:
    return f"{found.severity.value}[{found.code.id}]"


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """`2 errors, 1 warning in 2 files`."""
    found = list(diagnostics)
    severities = [diagnostic.severity for diagnostic in found]
    counts = {severity: severities.count(severity) for severity in Severity}
    parts = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count]
    paths = {path for diagnostic in found if (path := path_of(diagnostic)) is not None}
    files = sum(not path.startswith("--") for path in paths)  # what was typed as an option is no file
    where = f" in {files} file{'s' if files > 1 else ''}" if files else ""
    return (", ".join(parts) or "no findings") + where


def path_of(diagnostic: Diagnostic) -> str | None:
    """The file that a finding is in, as shown; None where it has no place."""
    place = diagnostic.place
    return place.source.path if isinstance(place, Place) else None if place is None else place.path


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Files as they first came up, and within a file by place. What has no place stays in front."""
    paths: dict[str, int] = {}

    def key(diagnostic: Diagnostic) -> tuple[int, int]:
        place = diagnostic.place
        if place is None:
            return -1, 0
        if isinstance(place, Place):
            return paths.setdefault(place.source.path, len(paths)), place.start
        return paths.setdefault(place.path, len(paths)), place.line or 0

    return sorted(diagnostics, key=key)


# --- text ------------------------------------------------------------------------------------------------------------


def _block(diagnostic: Diagnostic, paint: Paint) -> list[str]:
    severity = diagnostic.severity.value
    head = paint(severity, _tag(diagnostic)) + ": " + paint("bold", visible(diagnostic.message))
    lines = [head]
    place = diagnostic.place
    shown = [related.place for related in diagnostic.related]
    if isinstance(place, Place):
        shown.append(place)
    margin = max((len(str(item.source.position(item.start)[0])) for item in shown), default=1)
    if isinstance(place, DataPlace):
        where = visible(place.path) + (f":{place.line}" if place.line is not None else "")
        lines.append(" " * margin + paint("gutter", "--> ") + where)
    elif place is not None:
        lines += _excerpt(place, "-->", margin, severity, "^", "", paint)
    for related in diagnostic.related:
        lines += _excerpt(related.place, ":::", margin, "gutter", "-", visible(related.message), paint)
    if diagnostic.help is not None:
        lines.append(paint("help", "help") + ": " + visible(diagnostic.help))
    return lines


def _excerpt(place: Place, arrow: str, margin: int, style: str, mark: str, note: str, paint: Paint) -> list[str]:
    """A place with its line; of a place over several lines the first, and how far it goes."""
    source = place.source
    line, column = source.position(place.start)
    last = source.position(max(place.start, place.end - 1))[0]
    text = source.line(line)
    start = column - 1
    end = min(start + place.end - place.start, len(text)) if last == line else len(text)
    shown, indent, width = _window(text, start, end)
    until = f"to line {last}" if last > line else ""
    marks = paint(style, " ".join(filter(None, [mark * width, until, note])))
    gutter = paint("gutter", " " * margin + " |")
    return [
        " " * margin + paint("gutter", f"{arrow} ") + f"{visible(source.path)}:{line}:{column}",
        gutter,
        paint("gutter", f"{line:>{margin}} |") + f" {shown}".rstrip(),
        f"{gutter} {' ' * indent}{marks}",
    ]


def _window(text: str, start: int, end: int) -> tuple[str, int, int]:
    """A line as shown, and in columns the indent and the width of `[start, end)` in it; at least one column wide."""
    first = _cut_left(start)
    before = _columns(text[first:start])
    inside = _columns(text[start : min(end, start + WIDTH)], len(before))
    after = _columns(text[end : end + WIDTH], len(before) + len(inside))
    columns = before + inside + after
    room = max(WIDTH, len(before) + 1)
    lead = "… " if first else ""
    tail = " …" if len(columns) > room or end + WIDTH < len(text) else ""
    width = min(len(inside), room - len(before))
    return lead + "".join(columns[:room]) + tail, len(lead) + len(before), max(width, 1)


def _cut_left(start: int) -> int:
    """The first character to show, so that the place is not pushed out on the right."""
    return 0 if start < WIDTH * 3 // 4 else start - WIDTH // 2


def _columns(text: str, at: int = 0) -> list[str]:
    """One entry per column from column `at` on: a wide character fills the first of two, a mark joins the one before."""
    columns: list[str] = []
    for char in text:
        width = _width(char)
        if char == "\t":
            columns += [" "] * (TAB - (at + len(columns)) % TAB)
        elif width:
            columns += [_stand_in(char)] + [""] * (width - 1)
        elif columns:
            columns[-1] += char
    return columns


def text_width(text: str) -> int:
    """Columns that a terminal gives to a text without control characters."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(char: str) -> int:
    """Columns that a terminal gives to a character."""
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me") or char in "\u200d\ufe0e\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _stand_in(char: str) -> str:
    return char if _is_plain(char) else "\ufffd"


def _is_plain(char: str) -> bool:
    """Whether a terminal shows a character and does nothing else; joiners shape letters and emoji."""
    return char.isprintable() or char in "\u200c\u200d"


def visible(text: str) -> str:
    """Text with its control characters, and all else that no terminal shows, written as escapes."""
    return text if text.isprintable() else "".join(c if _is_plain(c) else _escape(c) for c in text)


def _escape(char: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char, f"\\u{{{ord(char):X}}}")
