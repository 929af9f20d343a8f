"""Specs that nobody wrote end in a program or in diagnostics: 2,000 of them, by grammar and by mutation (tests/dsl/fuzz.py)."""

from __future__ import annotations

import pytest

from .fuzz import MUTATIONS, _tokens, case, corpus, run

PART = 1000


@pytest.mark.parametrize("first", [0, pytest.param(PART, marks=pytest.mark.slow)])
def test_only_diagnostics_come(first: int) -> None:
    codes, failed = run(first, PART)
    assert failed == []
    assert codes["clean"] > 0 and len(codes) > 20


def test_a_spec_is_known_by_its_number() -> None:
    known = corpus()
    assert [case(number, known, known) for number in range(20)] == [case(number, known, known) for number in range(20)]


def test_mutations_know_every_character() -> None:
    """Nothing but the mutation itself changes a text: its tokens are the whole of it."""
    for text in corpus():
        assert "".join(_tokens(text)[0]) == text
    assert len(MUTATIONS) > 5
