"""The words of the language by what they are to a reader: what lexers and editors colour alike.

All follow from the tables of the vocabulary; the keywords stand in `cut.py`. A word may stand in several groups, since its
place in a spec decides which it is: `split` is an attribute of a source, a function, and a value. What is added to the
vocabulary finds its group by its kind: a table belongs to the function that it is named after, a tuple of words lists values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import vocabulary as v

_PUBLIC = {name: value for name, value in vars(v).items() if name.isupper() and not name.startswith("_")}
_FUNCTIONS_OF = {"HEADS_FILE": "heads", "SPLIT_STRIDE": "split"}
"""Tables that are not named after their function."""

_NO_VALUES = ("PRELUDE_SETS", "STEPS", "BUILT_INS", "RELATIONS", "MODEL_NUMBERS", "CONDITIONS")
"""Tuples of words that are something else than values."""


def _functions() -> Iterator[str]:
    """The names that are called: those of tables, of mappings other than blocks and types, and of conditions."""
    yield from ("hash", *v.CONDITIONS)
    for name, value in _PUBLIC.items():
        if isinstance(value, v.Table) and name != "LIKE":
            if name in _FUNCTIONS_OF or "_" not in name:
                yield _FUNCTIONS_OF.get(name, name.lower())
        elif isinstance(value, Mapping) and name != "BLOCKS":
            yield from (key for key, item in value.items() if not isinstance(item, v.Type | tuple))


def _attributes() -> Iterator[str]:
    yield v.STAGE_FACTOR.name
    for table in v.BLOCKS.values():
        yield from table.entries


def _values() -> Iterator[str]:
    """What a word may be, in blocks and in functions, and the tuples of words that say it elsewhere."""
    for name, value in _PUBLIC.items():
        if isinstance(value, tuple) and name not in _NO_VALUES:
            yield from (word for word in value if isinstance(word, str))
        for table in value.values() if isinstance(value, Mapping) else [value]:
            if isinstance(table, v.Table):
                yield from (word for entry in table.entries.values() for word in entry.words)


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
