"""Scores: arithmetic over numbers that each token, or each record, has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..source import Place
from .common import FieldPath, no_meaning

Operator: TypeAlias = Literal["+", "-", "*", "/"]


@dataclass(frozen=True, slots=True)
class Live:
    """`live.loss`: the loss of the token in the model that trains, as the current pass gives it."""

    name: Literal["loss"]


@dataclass(frozen=True, slots=True)
class Measured:
    """`measure("file", column)`: what `mcd measure -o file` wrote beside the shards. For a record, the mean over its tokens."""

    file: str
    column: str


@dataclass(frozen=True, slots=True)
class Tokens_:
    """`length`: how many tokens a row has."""


@dataclass(frozen=True, slots=True)
class Number_:
    """`.field`: a number that the record holds."""

    path: FieldPath


Term: TypeAlias = float | Operator | Live | Measured | Tokens_ | Number_


@dataclass(frozen=True, slots=True)
class Score:
    """Terms in postfix order, so that nothing recurses over a long sum: `a - b` is `(a, b, "-")`."""

    terms: tuple[Term, ...]
    written: str = field(compare=False)
    place: Place = no_meaning()
