"""The model contract, and the sources of text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ..source import Place
from .common import FieldPath, Lost, no_meaning


@dataclass(frozen=True, slots=True)
class Overflow:
    """What happens to a text longer than the context. `stride` counts repeated tokens, for `split` alone."""

    how: Literal["truncate", "split", "drop", "error"] = "truncate"
    stride: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """The contract: what layers, heads and widths are checked against, and what tokenises the text.

    `layers` is L, `heads` the query heads per layer, `hidden` the width of the residual stream.
    """

    name: str
    architecture: str | None
    layers: int
    heads: int
    hidden: int
    vocab: int
    causal: bool
    tokenizer: Path
    context: int
    overflow: Overflow
    weights: Path | None
    lost: Lost
    place: Place = no_meaning()


@dataclass(frozen=True, slots=True)
class HashSplit:
    """`hash(train: 90%, valid: 10%)`: by a digest of the record's id. Shares add up to 1."""

    shares: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class FieldSplit:
    """The split that a field of the record names."""

    path: FieldPath


@dataclass(frozen=True, slots=True)
class ConstantSplit:
    """Every record in one split."""

    name: str


Split: TypeAlias = HashSplit | FieldSplit | ConstantSplit


@dataclass(frozen=True, slots=True)
class Template:
    """The rendered text, as literal pieces (`str`) and slots (`FieldPath`) in order."""

    parts: tuple[str | FieldPath, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where records come from. `files` are resolved, sorted and below the root; `records` holds inline ones as JSON text.

    `marked`: the slots of the template, sorted, whose values are marked up and stand in the text without their marks.
    """

    name: str
    format: Literal["jsonl", "parquet", "csv", "arrow", "conllu", "inline"]
    files: tuple[Path, ...]
    records: tuple[str, ...]
    id: FieldPath | None
    split: Split
    text: Template
    place: Place = no_meaning()
    marked: tuple[FieldPath, ...] = ()
