"""What `mcd inspect` prints of rows for a person: tokens, and what supervises them.

Positions are those of tokens from 0; `4..6` has both ends, as in a spec. A text from right to left stands in isolates, so that it
leaves the order of the line alone.
"""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from ..compiler.describe import describe_rule
from ..compiler.inspect.report import HeldReport, Inspection, RangeReport, RowReport
from ..compiler.plan import Plan
from ..compiler.sets import RECORD, TOKENS
from ..dsl.render import text_width, visible

SHOWN = 50
"""Spans or edges of a set that are shown one by one."""
READERS = 5
"""Rules of a set that are shown one by one."""
LONGEST = 60
"""Columns of a span's text; of a longer one its two ends are shown."""

_STYLES = {"head": "1", "set": "1;36", "supervised": "4", "faint": "2"}
_FROM_RIGHT = {"R", "AL", "AN"}
_ISOLATE = "\u2068{}\u2069"
Paint = Callable[[str, str], str]


def rows_text(found: Inspection, plan: Plan, color: bool) -> str:
    """Rows one below the other, and what is left to say about all of them."""

    def paint(style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if color else text

    rules = {rule.id: " ".join(_rule(describe_rule(rule, plan))) for rule in plan.rules}
    blocks = ["\n".join(_row(row, rules, paint)) for row in found.rows or ()]
    notes = [] if blocks else ["no row"]
    if found.more:
        notes.append(f"there are more: `--limit` shows more than {len(blocks)}")
    if found.without_text is not None and blocks:
        notes.append(f"tokens are shown by their ids: {found.without_text}")
    return "\n\n".join([*blocks, *notes]) + "\n"


def _rule(described: tuple[str, ...]) -> Iterator[str]:
    """A rule's name, layers and formula, and its place."""
    name, place, _, layers, formula = map(visible, described)
    yield f"{name}: {layers}, {formula}  ({place})"


def _row(row: RowReport, rules: dict[str, str], paint: Paint) -> Iterator[str]:
    part = f"  part {row.part}" if row.part else ""
    count = f"{len(row.input_ids):,} token{'' if len(row.input_ids) == 1 else 's'}"
    yield f"{paint('head', f'{row.split} {row.number}  {visible(row.id)}')}{part}  of {visible(row.source)}, {count}"
    yield from _tokens(row, paint)
    yield from _fields(row)
    if row.repeat:
        yield f"  repeated, without loss: {_places(row.repeat)}"
    if row.blank:
        yield f"  white space, in no span: {_places(row.blank)}"
    if not row.whole:
        yield "  the context cuts this record: of rules on `record`, `weigh` and `keep` alone act"
    for held in row.held:
        yield from _held(held, rules, paint)


# --- tokens ----------------------------------------------------------------------------------------------------------


def _tokens(row: RowReport, paint: Paint) -> Iterator[str]:
    """Lines of tokens with `|` between them, each after the position of its first one."""
    shown = [str(number) for number in row.input_ids] if row.texts is None else [_piece(text) for text in row.texts]
    supervised = {at for held in row.held for place in _ranges(held) for at in range(place.start, place.end)}
    repeated = {at for place in row.repeat for at in range(place.start, place.end)}
    margin = max(4, len(str(len(shown))) + 2)
    room = max(shutil.get_terminal_size((100, 24)).columns, 40) - margin - 2
    for first, last in _lines([text_width(text) for text in shown], room):
        styles = ("faint" if at in repeated else "supervised" if at in supervised else "" for at in range(first, last))
        line = [paint(style, text) if style else text for style, text in zip(styles, shown[first:last], strict=True)]
        yield f"{first:>{margin}}  {paint('faint', '|').join(line)}"


def _ranges(held: HeldReport) -> Iterator[RangeReport]:
    """The tokens that a set supervises; what every token has tells nothing of one."""
    if held.role == "acts" and held.rules and held.key not in (TOKENS, RECORD):
        yield from held.spans
        yield from (edge.query for edge in held.edges)


def _lines(widths: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Where lines of tokens begin and end that fit `room` columns, with one between tokens; at least one token each."""
    first = used = 0
    for at, width in enumerate(widths):
        if at > first and used + width > room:
            yield first, at
            first, used = at, 0
        used += width + 1
    if widths:
        yield first, len(widths)


def _piece(text: str) -> str:
    """A token's text. One that a later token completes is an ellipsis; a mark stands on a circle, not on the token before."""
    if not text:
        return "…"
    shown = visible(text)
    if unicodedata.category(shown[0]) in ("Mn", "Me", "Mc"):
        shown = f"\u25cc{shown}"
    return _isolated(shown)


def _isolated(text: str) -> str:
    return _ISOLATE.format(text) if any(unicodedata.bidirectional(char) in _FROM_RIGHT for char in text) else text


# --- what supervises them --------------------------------------------------------------------------------------------


def _fields(row: RowReport) -> Iterator[str]:
    for name, values in row.fields.items():
        said = "null" if values is None else ", ".join(visible(str(value)) for value in values[:SHOWN])
        left = 0 if values is None else len(values) - SHOWN
        yield f"  .{visible(name)} = {said}" + (f" and {left:,} more" if left > 0 else "")
    for name, count in row.vectors.items():
        yield f"  .{visible(name)} = vectors of {count:,} numbers together"


def _held(held: HeldReport, rules: dict[str, str], paint: Paint) -> Iterator[str]:
    notes = {
        "acts": "" if held.rules else "  (no rule of the plan reads it)",
        "cut": "  (parts of spans that the context cuts: `weigh` and `keep` alone read them)",
        "again": "  (spans that acted in a part before)",
    }
    yield f"  {paint('set', visible(held.written))}{notes[held.role]}"
    yield from (f"    {rules[name]}" for name in held.rules[:READERS])
    if len(held.rules) > READERS:
        yield f"    and {len(held.rules) - READERS:,} more rules"
    for place in held.spans[:SHOWN]:
        yield f"      {_span(place)}{_attributes(place)}"
    for edge in held.edges[:SHOWN]:
        weight = "" if edge.weight in (None, 1.0) else f"  weight {edge.weight:g}"
        yield f"      {_span(edge.query)} -> {_span(edge.key)}{weight}"
    if (left := len(held.spans) + len(held.edges) - SHOWN) > 0:
        yield f"      and {left:,} more, which `--format json` lists"


def _span(place: RangeReport) -> str:
    return _place(place) if place.text is None else f"{_place(place)} {_quoted(place.text)}"


def _attributes(place: RangeReport) -> str:
    return "".join(f"  {visible(name)} {visible(str(value))}" for name, value in place.attributes.items())


def _place(place: RangeReport) -> str:
    return str(place.start) if place.end == place.start + 1 else f"{place.start}..{place.end - 1}"


def _places(places: Sequence[RangeReport]) -> str:
    shown = ", ".join(map(_place, places[:SHOWN]))
    return shown + (f" and {len(places) - SHOWN:,} more" if len(places) > SHOWN else "")


def _quoted(text: str) -> str:
    shown = visible(text)
    if text_width(shown) > LONGEST:
        shown = f"{_fitting(shown, LONGEST // 2)} … {_fitting(shown[::-1], LONGEST // 2)[::-1]}"
    return f'"{_isolated(shown)}"'


def _fitting(text: str, columns: int) -> str:
    """The beginning of a text that fits `columns`."""
    used = 0
    for at, char in enumerate(text):
        used += text_width(char)
        if used > columns:
            return text[:at]
    return text
