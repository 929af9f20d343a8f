"""Tokens of a model paired with those of a teacher: numbers by hand, and random texts against a plain reading of the rules."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

from mcd.compiler.alignment.parts import cut_records
from mcd.compiler.alignment.retokenize import Reading, pairs, reread
from mcd.compiler.teaching import TeacherTokens
from mcd.dsl import checked as c

from .alignment import ints, model, texts


def reading(last=True, positions=None, prefix=0, suffix=0) -> Reading:
    encoder = SimpleNamespace(prefix=tuple(range(900, 900 + prefix)), suffix=tuple(range(950, 950 + suffix)))
    return Reading(encoder, positions, last)


def paired(found: TeacherTokens) -> list[tuple[int, int, int]]:
    return list(zip(found.row.tolist(), found.token.tolist(), found.at.tolist(), strict=True))


def read(own: list[str], other: list[str], asked: Reading, context=512, overflow=None, added=0) -> TeacherTokens:
    batch = texts(own, prefix=added, suffix=added)
    table = texts(other, prefix=len(asked.encoder.prefix), suffix=len(asked.encoder.suffix)).tokens
    return reread(batch.tokens, table, cut_records(batch, model(context, overflow)), asked)


def test_a_token_goes_with_the_last_that_ends_no_later():
    """`the cat sat` as the0 cat1 sat2, and to the teacher as th0 e1 ca2 `t s`3 at4.

    `the` goes with `e`; `cat` overlaps `ca` and `t s`, which ends behind it, and goes with `ca`; `sat` with `at`.
    """
    own, other = ["the", " cat", " sat"], ["th", "e", " ca", "t s", "at"]
    assert paired(read(own, other, reading())) == [(0, 0, 1), (0, 1, 2), (0, 2, 4)]


def test_without_an_order_a_token_goes_with_all_that_overlap_it():
    own, other = ["the", " cat", " sat"], ["th", "e", " ca", "t s", "at"]
    assert paired(read(own, other, reading(last=False))) == [
        (0, 0, 0),
        (0, 0, 1),
        (0, 1, 2),
        (0, 1, 3),
        (0, 2, 3),
        (0, 2, 4),
    ]


def test_a_token_within_a_longer_one_has_no_partner_until_that_ends():
    assert paired(read(["a", "b", "c"], ["abc"], reading())) == [(0, 2, 0)]


def test_added_and_blank_tokens_pair_with_nothing_and_count_as_places():
    """One token before and after the model's text; two of the teacher's before: its own `a` is at 2, its blank at 3."""
    found = read(["a", " ", "b"], ["a", "  "[:1], "b"], reading(prefix=2, suffix=1), added=1)
    assert found.ids.tolist() == [900, 901, 2, 3, 4, 950]
    assert paired(found) == [(0, 1, 2), (0, 3, 4)]


def test_a_teacher_reads_what_a_part_holds_and_no_more_than_it_has_positions_for():
    """Parts `ab`, `cd`, `e`; the teacher's `bc` is whole in none of them. Then three positions, one for an added token."""
    own, other = list("abcde"), ["a", "bc", "d", "e"]
    cut = c.Overflow("split", 0)
    found = read(own, other, reading(), context=2, overflow=cut)
    assert [ids.tolist() for ids in np.split(found.ids, found.offsets[1:-1])] == [[0], [2], [3]]
    assert paired(found) == [(0, 0, 0), (1, 1, 0), (2, 0, 0)]
    few = read(own, list("abcde"), reading(positions=3, prefix=1))
    assert few.ids.tolist() == [900, 1, 2]
    assert paired(few) == [(0, 0, 1), (0, 1, 2)]


def cut_text(text: str, generator: random.Random) -> list[str]:
    found = []
    while text:
        size = generator.randint(1, 4)
        found.append(text[:size])
        text = text[size:]
    return found


def slow(own: list[str], other: list[str], begin: int, end: int, asked: Reading) -> list[tuple[int, int]]:
    """Pairs of the part that holds the tokens `[begin, end)`, token by token and character by character."""

    def inked(tokens: list[str]) -> list[set[int]]:
        at, found = 0, []
        for token in tokens:
            found.append({at + i for i, char in enumerate(token) if char != " "})
            at += len(token)
        return found

    def places(tokens: list[str]) -> list[tuple[int, int]]:
        at, found = 0, []
        for token in tokens:
            lead = len(token) - len(token.lstrip()) if token.strip() else 0
            found.append((at + lead, at + lead + len(token.strip())))
            at += len(token)
        return found

    ink, other_ink, own_at, other_at = inked(own), inked(other), places(own), places(other)
    low = own_at[begin][0] if begin > 0 else 0
    high = own_at[end - 1][1] if end < len(own) else sum(map(len, own))
    seen = [n for n, (first, last) in enumerate(other_at) if first >= low and last <= high]
    if asked.positions is not None:
        seen = seen[: asked.positions - len(asked.encoder.prefix) - len(asked.encoder.suffix)]
    first = seen[0] if seen else 0
    found = []
    for token in range(begin, end):
        over = [n for n, chars in enumerate(other_ink) if chars and ink[token] and _overlap(own_at[token], other_at[n])]
        if asked.last:
            over = [n for n in over if other_at[n][1] <= own_at[token][1]][-1:]
        found += [(token - begin, n - first + len(asked.encoder.prefix)) for n in over if n in seen]
    return found


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(
    ("context", "overflow", "positions"),
    [(512, None, None), (5, None, None), (4, c.Overflow("split", 2), None), (512, None, 4)],
)
def test_random_texts_agree_with_the_plain_reading(last, context, overflow, positions):
    generator = random.Random(3)
    for _ in range(200):
        text = "".join(generator.choice("ab ") for _ in range(generator.randint(1, 24)))
        own, other = cut_text(text, generator), cut_text(text, generator)
        asked = reading(last, positions, prefix=1, suffix=1)
        batch = texts(own)
        parts = cut_records(batch, model(context, overflow))
        table = texts(other, prefix=1, suffix=1).tokens
        found = paired(reread(batch.tokens, table, parts, asked))
        expected = [
            (row, *pair)
            for row, (begin, end) in enumerate(zip(parts.begin.tolist(), parts.end.tolist(), strict=True))
            for pair in slow(own, other, begin, end, asked)
        ]
        assert found == sorted(expected), (own, other)


def test_pairs_of_nothing():
    nothing = ints([])
    for last in (True, False):
        place, at = pairs(nothing, nothing, nothing, nothing, last)
        assert (len(place), len(at)) == (0, 0)
        place, at = pairs(ints([0]), ints([1]), nothing, nothing, last)
        assert (len(place), len(at)) == (0, 0)
