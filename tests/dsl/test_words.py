"""Every word that the vocabulary knows has a group, so that no editor misses it."""

from collections.abc import Iterator, Mapping

import pytest

from mcd.dsl import cut, vocabulary, words
from mcd.dsl.vocabulary import Entry, Table

GROUPS = {name: value for name, value in vars(words).items() if name.isupper() and not name.startswith("_")}
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
        assert {*table.entries} <= {*words.ATTRIBUTES}, kind


@pytest.mark.parametrize(
    ("group", "some", "none"),
    [
        (
            words.FUNCTIONS,
            {"hash", "heads", "split", "ramp", "next", "regex", "jsonl", "mlp", "length"},
            {"like", "model"},
        ),
        (words.VALUES, {"any", "truncate", "nll", "orthonormal", "batch", "cosine"}, {"tokens", "is_a", "is"}),
        (words.MEMBERS, {"text", "previous", "anchor"}, {"tokens"}),
        (words.PRELUDE, {"tokens", "record"}, {"query"}),
    ],
)
def test_words_are_in_their_groups(group: tuple[str, ...], some: set[str], none: set[str]) -> None:
    assert some <= {*group}
    assert none & {*group} == set()


def test_groups_have_no_word_twice() -> None:
    for name, group in GROUPS.items():
        assert len({*group}) == len(group), name
