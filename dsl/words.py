"""The words of the language by what they are to a reader: what lexers and editors colour alike.

All follow from the tables of the vocabulary; the keywords stand in `cut.py`. A word may stand in several groups, since its
place in a spec decides which it is: `split` is an attribute of a source, a function, and a value.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import vocabulary as v

TABLES = {
    "next": v.NEXT,
    "heads": v.HEADS_FILE,
    "split": v.SPLIT_STRIDE,
    "ramp": v.RAMP,
    "coverage": v.COVERAGE,
}
"""Functions whose table the vocabulary has under no mapping of names."""

BLOCKS = (*v.BLOCKS.values(), v.LIKE)


def _functions() -> Iterator[str]:
    yield "hash"
    for names in (TABLES, v.SELECTORS, v.FORMATS, v.ANCHORS, v.MAPS, v.CONDITIONS):
        yield from names
    for later in (v.LATER_FORMATS, v.LATER_ANCHORS, v.LATER_CLAIMS, v.LATER_VALUES):
        yield from later


def _attributes() -> Iterator[str]:
    yield v.STAGE_FACTOR.name
    for table in BLOCKS:
        yield from (*table.entries, *table.later)


def _values() -> Iterator[str]:
    yield from (*v.HEAD_WORDS, *v.OVERFLOWS, *v.ANCHOR_WORDS)
    functions = [TABLES, v.SELECTORS, v.FORMATS, v.ANCHORS, v.MAPS]
    for table in (*BLOCKS, *(table for tables in functions for table in tables.values())):
        for entry in table.entries.values():
            yield from entry.words


CONSTANTS = ("true", "false", "null")
PRELUDE = (*v.PRELUDE_SETS, "final", "live")
"""Names that the edition fixes and a file's own names win over."""

ROLES = ("query", "key")
MEMBERS = tuple(sorted({*v.BUILT_INS, *v.STEPS, "anchor", "factor"}))
"""What may stand behind a `.`, of spans, concepts and rules."""

FUNCTIONS = tuple(sorted({*_functions()} - {*PRELUDE}))
ATTRIBUTES = tuple(sorted({*_attributes()}))
VALUES = tuple(sorted({*_values()}))
RELATIONS = v.RELATIONS
TYPES = tuple(v.LET_TYPES)
