"""200 patterns that take exponential or cubic time where an engine backtracks: here a text twice as long takes twice the time.

Time is counted in the processor's seconds, over all patterns of a family at once, so that noise of one is none of all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from mcd.dsl.patterns import PatternRefused, compiled

LETTERS = ("a", "x", "é", "日")
SHORT, LONG = 20_000, 160_000
"""Characters of the texts."""

TIMES = LONG / SHORT
SLACK = 4.0
"""How far beyond in proportion a family may lie: quadratic time would be 8 times beyond, exponential without end."""

FLOOR = 0.02
"""Seconds below which the short text says nothing."""


def nested(c: str) -> Iterator[str]:
    """A repetition of a repetition, and an end that never comes."""
    for inner in ("+", "*", "{1,5}", "+?", "*?"):
        for outer in ("+", "*", "{2,9}"):
            yield f"({c}{inner}){outer}!"


def overlapping(c: str) -> Iterator[str]:
    """Alternatives that match the same text."""
    for left, right in ((c, c), (c, f"{c}?"), (c, c * 2), (f"{c}+", f"{c}*"), (f"[{c}b]", f"[{c}z]"), (".", c)):
        for outer in ("+", "*"):
            yield f"({left}|{right}){outer}!"


def adjacent(c: str) -> Iterator[str]:
    """Repetitions side by side that share what they may take."""
    for count in (2, 3, 4, 6, 8, 10, 12, 16):
        yield f"{c}*" * count + "!"
        yield f"({c}?){{{count}}}{c}{{{count}}}!"


def spread(c: str) -> Iterator[str]:
    """Anything, again and again, around a letter."""
    for count in (2, 3, 4, 5, 6, 7, 8):
        yield f".*{c}" * count + "!"


FAMILIES = {family.__name__: family for family in (nested, overlapping, adjacent, spread)}


def patterns(family: str) -> list[str]:
    return [pattern for letter in LETTERS for pattern in FAMILIES[family](letter)]


def seconds(pattern: str, text: bytes) -> float:
    engine = compiled(pattern, False)
    start = time.process_time()
    assert sum(1 for _ in engine.finditer(text)) == 0
    return time.process_time() - start


def test_there_are_200_patterns() -> None:
    found = {pattern for family in FAMILIES for pattern in patterns(family)}
    assert len(found) >= 200


@pytest.mark.parametrize("family", FAMILIES)
def test_time_is_linear_in_the_text(family: str) -> None:
    short = long = 0.0
    for letter in LETTERS:
        texts = [(letter * (size // len(letter.encode()))).encode() for size in (SHORT, LONG)]
        for pattern in FAMILIES[family](letter):
            short += seconds(pattern, texts[0])
            long += seconds(pattern, texts[1])
    assert long <= TIMES * SLACK * max(short, FLOOR)


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(?=a)b", r"(?<!a)b", r"(?>a+)b", r"a++b", r"(?R)"])
def test_what_needs_backtracking_is_refused(pattern: str) -> None:
    with pytest.raises(PatternRefused):
        compiled(pattern, False)
