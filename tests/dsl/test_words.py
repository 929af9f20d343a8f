"""Every word that the vocabulary knows has a group, so that no editor misses it."""

from collections.abc import Iterator, Mapping

from mcd.dsl import cut, vocabulary, words
from mcd.dsl.vocabulary import Entry, Table

GROUPS = {name: value for name, value in vars(words).items() if name.isupper() and name not in ("TABLES", "BLOCKS")}
GROUPS |= {"KEYWORDS": cut.KEYWORDS, "INNER": cut.INNER}


def members(value: object) -> Iterator[str]:
    """The words below a value of the vocabulary, but for the names of attributes and parameters."""
    if isinstance(value, Mapping):
        yield from value
        for item in value.values():
            yield from members(item)
    elif isinstance(value, tuple):
        yield from (item for item in value if isinstance(item, str))
    elif isinstance(value, Table):
        yield from value.later
        for entry in value.entries.values():
            yield from members(entry)
    elif isinstance(value, Entry):
        yield from value.words


def public() -> Iterator[tuple[str, object]]:
    yield from ((name, value) for name, value in vars(vocabulary).items() if name.isupper() and name[0] != "_")


def test_every_word_has_a_group() -> None:
    grouped = {word for group in GROUPS.values() for word in group}
    # The formats' texts are field names, and no words of the language.
    known = {word for name, value in public() if name != "FORMAT_TEXTS" for word in members(value)}
    assert known - grouped == set()
    assert len(known) > 80


def test_every_attribute_is_one() -> None:
    for kind, table in vocabulary.BLOCKS.items():
        assert {*table.entries, *table.later} <= {*words.ATTRIBUTES}, kind


def test_every_function_is_one() -> None:
    mappings = [
        value
        for name, value in public()
        if isinstance(value, Mapping) and name != "BLOCKS" and any(isinstance(item, Table) for item in value.values())
    ]
    assert {name for mapping in mappings for name in mapping} <= {*words.FUNCTIONS}


def test_every_table_without_a_mapping_is_a_named_function() -> None:
    alone = [name for name, value in public() if isinstance(value, Table) and value not in words.BLOCKS]
    tables = [*words.TABLES.values()]
    assert [name for name in alone if getattr(vocabulary, name) not in tables] == []


def test_groups_have_no_word_twice() -> None:
    for name, group in GROUPS.items():
        assert len({*group}) == len(group), name
