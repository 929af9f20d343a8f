"""MCD1xx: syntax."""

from __future__ import annotations

from ..diagnostics import Code

SYNTAX = Code("MCD101", "syntax", "The text does not follow the grammar.")
UNKNOWN_DECLARATION = Code("MCD102", "unknown-declaration", "A line starts with a word that declares nothing.")
MISSING_HEADER = Code("MCD103", "missing-header", "A spec starts with its edition, `mcd 1`, and states it once.")
UNKNOWN_EDITION = Code(
    "MCD104", "unknown-edition", "This version does not read the edition that the spec is written in."
)
UNTERMINATED_STRING = Code("MCD105", "unterminated-string", "A string does not end on the line where it starts.")
BAD_ESCAPE = Code("MCD106", "bad-escape", "A backslash in a string is followed by what is no escape.")
UNEXPECTED_CHARACTER = Code("MCD107", "unexpected-character", "A character that has no meaning in a spec.")
CONTROL_CHARACTER = Code("MCD108", "control-character", "A control character in a spec, where nobody would see it.")
TOO_DEEP = Code("MCD109", "too-deep", "Brackets or operators are nested beyond the limit.")
TOO_LARGE = Code("MCD110", "too-large", "A spec file is larger than the limit.")
NOT_UTF8 = Code("MCD111", "not-utf8", "A spec file is not valid UTF-8.")
UNREADABLE = Code("MCD112", "unreadable", "A spec file is missing or cannot be read.")
CHAINED_COMPARISON = Code("MCD113", "chained-comparison", "Comparisons do not chain.")
UNCLOSED_BRACKET = Code("MCD114", "unclosed-bracket", "A bracket is never closed.")
BAD_NUMBER = Code("MCD115", "bad-number", "A number is malformed or out of range.")
INDENTED_DECLARATION = Code("MCD116", "indented-declaration", "A declaration does not start in column 1.")
UNWRITABLE = Code("MCD120", "unwritable", "A spec file cannot be written.")
