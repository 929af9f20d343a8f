"""Spec text -> syntax tree.

Takes the text of one file. Establishes that every declaration in the tree follows the grammar, that no tree is deeper
than `limits.MAX_DEPTH`, and that everything left out has a finding. The file is cut first, each piece is parsed on its
own, and a piece whose declaration is complete before its error keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

from . import ast
from .build import Builder, Header, doc_before
from .codes.syntax import (
    CONTROL_CHARACTER,
    MISSING_HEADER,
    NOT_UTF8,
    SYNTAX,
    TOO_DEEP,
    TOO_LARGE,
    UNKNOWN_DECLARATION,
    UNKNOWN_EDITION,
    UNREADABLE,
)
from .cut import KEYWORDS, RESERVED, Piece, cut, token_at
from .diagnostics import Diagnostic, Edit, Failure, Findings, Fix, did_you_mean
from .lalr import END, Parser, State, Token, Unexpected, load
from .limits import MAX_BRACKETS, MAX_BYTES, MAX_DECLARATIONS, MAX_TOKENS
from .move import moved
from .slips import explain
from .source import DataPlace, Place, SourceText
from .trouble import Trouble

EDITION = 1

# Control characters, lone carriage returns, and the marks that make text run backwards on a screen.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")
_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_lock = Lock()


def read_source(path: Path, shown: str) -> SourceText:
    """The text of the spec file at `path`, called `shown` in findings. Raises `Failure` where it cannot be read."""
    try:
        if path.exists() and not path.is_file():
            raise Failure(UNREADABLE.at(DataPlace(shown), f"`{shown}` is not a file"))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Failure(UNREADABLE.at(DataPlace(shown), f"no file `{shown}`")) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Failure(UNREADABLE.at(DataPlace(shown), f"cannot read `{shown}`: {reason}")) from None
    return decode_source(data, shown, path)


def decode_source(data: bytes, shown: str, path: Path | None = None) -> SourceText:
    """The text of a spec file that has been read. Raises `Failure` where it is too large or not UTF-8."""
    if len(data) > MAX_BYTES:
        raise Failure(_too_large(DataPlace(shown)))
    try:
        return SourceText(shown, data.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{data[error.start]:02X} on line {line} is not valid UTF-8"
        raise Failure(NOT_UTF8.at(DataPlace(shown, line), message, help="save the file as UTF-8")) from None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a piece at `start` of a file parsed to, without a finding."""

    start: int
    parts: tuple[ast.Item | Header, ...]


Pieces = dict[tuple[str, str | None], Kept]
"""Parsed pieces by their text and the documentation above it, which together say what they parse to."""


def parse(source: SourceText, findings: Findings, known: Pieces | None = None) -> ast.Spec:
    """The tree of one file: every declaration that parses, in order. What does not is added to `findings`.

    `known`: pieces of an earlier text of the file, which need no parsing where they stand in this one; those of this text take
    their place.
    """
    whole = Place(source, 0, len(source.text))
    if len(source.text) > MAX_BYTES:
        findings.add(_too_large(DataPlace(source.path)))
        return ast.Spec(EDITION, (), whole)
    text = _readable(source, findings)
    pieces = cut(text)
    if (beyond := _beyond(source, text, pieces)) is not None:
        findings.add(beyond)
        return ast.Spec(EDITION, (), whole)
    with _lock:
        parts = _parse_pieces(source, text, pieces, findings, known)
    if any(piece.kind == "header" for piece in pieces):
        edition = _check_header(parts, findings)
    else:
        edition = EDITION
        start = len(text) - len(text.lstrip())
        help = "write `mcd 1` as the first line"
        insert = Fix(f"insert `mcd {EDITION}`", (Edit(Place(source, 0, 0), f"mcd {EDITION}\n\n"),))
        place = Place(source, start, start)
        findings.add(MISSING_HEADER.at(place, "the spec does not state its edition", help=help, fixes=[insert]))
    return ast.Spec(edition, tuple(part for part in parts if not isinstance(part, Header)), whole)


def parse_setting(source: SourceText, findings: Findings) -> ast.Let | None:
    """The `let` that a setting `NAME=VALUE` stands for, with its places in the setting."""
    word = "let "
    text = word + _readable(source, findings)
    (piece, *more) = cut(text)
    if piece.deep is not None:
        start = piece.deep - len(word)
        findings.add(
            TOO_DEEP.at(Place(source, start, start + 1), f"more than {MAX_BRACKETS} brackets are open at once")
        )
        return None
    if more:
        start = more[0].start - len(word)
        findings.add(SYNTAX.at(Place(source, start, start + len(more[0].word)), "a setting is one value"))
        return None
    with _lock:
        part, _ = _parse_piece(source, text, -len(word), findings)
    return part if isinstance(part, ast.Let) else None


def _too_large(place: DataPlace) -> Diagnostic:
    return TOO_LARGE.at(place, f"`{place.path}` is larger than {MAX_BYTES // 2**20} MB, the limit for a spec file")


def _beyond(source: SourceText, text: str, pieces: list[Piece]) -> Diagnostic | None:
    """What to say of a file with more in it than the limits, at the first of what is too much."""
    help = "`phrases(file: ...)` reads a list from a file, and `frame` repeats rules"
    if len(pieces) > MAX_DECLARATIONS:
        piece = pieces[MAX_DECLARATIONS]
        place = Place(source, piece.start, piece.start + len(piece.word))
        return TOO_LARGE.at(place, f"more than {MAX_DECLARATIONS:,} declarations in one spec file", help=help)
    if (start := token_at(text, MAX_TOKENS)) is not None:
        place = Place(source, start, start + 1)
        return TOO_LARGE.at(place, f"more than {MAX_TOKENS:,} words and marks in one spec file", help=help)
    return None


def _readable(source: SourceText, findings: Findings) -> str:
    """The text with a blank for each control character, of which the first is reported."""
    found = _CONTROL.search(source.text)
    if found is None:
        return source.text
    text, count = _CONTROL.subn(" ", source.text)
    more = f" (and {count - 1} more)" if count > 1 else ""
    message = f"control character U+{ord(found.group()):04X}{more}"
    place = Place(source, found.start(), found.end())
    findings.add(CONTROL_CHARACTER.at(place, message, help="remove it, or write it as an escape in a string"))
    return text


def _parse_pieces(
    source: SourceText, text: str, pieces: list[Piece], findings: Findings, known: Pieces | None
) -> list[ast.Item | Header]:
    parts: list[ast.Item | Header] = []
    seen: Pieces = {}
    for piece in pieces:
        if piece.kind == "unknown":
            findings.add(_unknown(source, piece))
        elif piece.deep is not None:
            place = Place(source, piece.deep, piece.deep + 1)
            findings.add(TOO_DEEP.at(place, f"more than {MAX_BRACKETS} brackets are open at once"))
        elif piece.kind == "declaration" or not _is_blank(text, piece):
            if known is None:
                parts.extend(_parse_parts(source, text, piece, findings))
            else:
                parts.extend(_parse_known(source, text, piece, findings, known, seen))
    if known is not None:
        known.clear()
        known.update(seen)
    return parts


def _parse_known(
    source: SourceText, text: str, piece: Piece, findings: Findings, known: Pieces, seen: Pieces
) -> tuple[ast.Item | Header, ...]:
    """What a piece parses to, by what an earlier text parsed to where that had it; goes to `seen` where nothing is wrong."""
    key = text[piece.start : piece.end], doc_before(text, piece.start)
    before = len(findings.items)
    if (kept := known.get(key)) is None:
        parts = tuple(_parse_parts(source, text, piece, findings))
    else:
        parts = moved(kept.parts, source, piece.start - kept.start)
    if len(findings.items) == before:
        seen[key] = Kept(piece.start, parts)
    return parts


def _parse_parts(source: SourceText, text: str, piece: Piece, findings: Findings) -> Iterator[ast.Item | Header]:
    """The declaration of a piece, and those that follow it indented."""
    start: int | None = piece.start
    while start is not None:
        part, start = _parse_piece(source, text[start : piece.end], start, findings)
        if part is not None:
            yield part


def _is_blank(text: str, piece: Piece) -> bool:
    return piece.kind == "stray" and _BLANK.fullmatch(text, piece.start, piece.end) is not None


def _parse_piece(
    source: SourceText, text: str, start: int, findings: Findings
) -> tuple[ast.Item | Header | None, int | None]:
    """The declaration that `text` says, if it parses, and where an indented one follows it, if any does.

    `start` is where `text` stands in `source`.
    """
    parser, builder = _parser()
    after: int | None = None
    local = builder.open(source, start)
    part: ast.Item | Header | None
    try:
        part = parser.parse(text)
    except Unexpected as error:
        local = builder.open(source, start)
        # The state that raised has already built what the token allows elsewhere, and forgot some of what would have gone on.
        state = parser.until(text, None if error.token.type == END else error.token.start_pos)
        complete = state.ended()
        trouble = _trouble(source, error.token, state, start, complete is not None)
        local.add(explain(trouble))
        part = complete
        if part is not None and trouble.text in KEYWORDS:
            after = trouble.place.start
    if part is not None and not isinstance(part, Header) and not builder.close(part):
        part = None
    findings.items.extend(local.items)
    return part, after


@cache
def _parser() -> tuple[Parser, Builder]:
    """The parser and the builder that it calls."""
    builder = Builder()
    return load(builder), builder


def _trouble(source: SourceText, token: Token, state: State, start: int, complete: bool) -> Trouble:
    first, last = token.start_pos, token.end_pos
    if not token.type:
        last = first + 1
    return Trouble(
        Place(source, start + first, start + last), token.type, state.accepts(), tuple(state.values), start, complete
    )


def _unknown(source: SourceText, piece: Piece) -> Diagnostic:
    place = Place(source, piece.start, piece.start + len(piece.word))
    if piece.word in RESERVED:
        return UNKNOWN_DECLARATION.at(place, f"`{piece.word}` is reserved for a later edition")
    help = did_you_mean(piece.word, KEYWORDS)
    if help is None and source.text[place.end : piece.end].lstrip(" \t").startswith("="):
        help = "a constant is declared with `let`, a set of spans with `span`; attributes stand inside `{ }`"
    help = help or "a line that continues a declaration is indented"
    return UNKNOWN_DECLARATION.at(place, f"unknown declaration `{piece.word}`", help=help)


def _check_header(parts: list[ast.Item | Header], findings: Findings) -> int:
    """The edition of a file, which states it once and first."""
    headers = [part for part in parts if isinstance(part, Header)]
    if not headers:
        return EDITION
    first, *others = headers
    for header in others:
        findings.add(MISSING_HEADER.at(header.place, "the edition is stated twice"))
    if parts[0] is not first:
        findings.add(MISSING_HEADER.at(first.place, "the edition stands after a declaration, expected it first"))
    if first.edition != EDITION:
        message = f"unknown edition `{first.edition}`, expected `{EDITION}`"
        findings.add(UNKNOWN_EDITION.at(first.place, message, help="a newer version of mcd may read it"))
    return first.edition
