"""What the two ways to place tokens without the library's offsets share.

Both rest on the same thought: a tokenizer that drops nothing and adds nothing says by its ids alone how much of the text each
token takes, so that their places are a running sum. Where the sum does not meet the text, the library is asked instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, models

from ..batch import Bools, Ints
from .text import Bytes, Trimmer, string_bytes

UNKNOWN = 1 << 40
"""The length of a token that stands for no certain text: no sum with it meets the length of a text."""


class Texts:
    """Texts as byte ranges `[begin, stop)` of one buffer."""

    def __init__(self, buffer: Bytes, begin: Ints, stop: Ints, trimmer: Trimmer | None = None) -> None:
        self.buffer, self.begin, self.stop = buffer, begin, stop
        self.trimmer = Trimmer(buffer) if trimmer is None else trimmer

    @staticmethod
    def of(texts: pa.StringArray) -> Texts:
        """The strings of an array without nulls, which tile their buffer."""
        buffer, bounds = string_bytes(texts)
        return Texts(buffer, bounds[:-1], bounds[1:])

    @cached_property
    def strings(self) -> list[str]:
        """The texts one by one."""
        view = np.ascontiguousarray(self.buffer).data
        ranges = zip(self.begin.tolist(), self.stop.tolist(), strict=True)
        return [str(view[first:last], "utf-8") for first, last in ranges]

    def take(self, rows: Ints) -> Texts:
        """Some of the texts, in their order."""
        if len(rows) == len(self):
            return self
        return Texts(self.buffer, self.begin[rows], self.stop[rows], self.trimmer)

    def __len__(self) -> int:
        return len(self.begin)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of texts without those that the post-processor adds: ids, byte ranges without outer white space, and the number of
    tokens of each text."""

    ids: Ints
    start: Ints
    end: Ints
    counts: Ints


class Lengths(Protocol):
    """Places tokens by their lengths. `table`: the length of each token, by its id."""

    @property
    def table(self) -> Ints: ...

    def promising(self, given: Texts) -> Bools:
        """The texts with which it may work."""
        ...

    def sizes(self, given: Texts) -> Ints:
        """Per text, what the lengths of its tokens have to add up to."""
        ...

    def ranges(self, given: Texts, ids: Ints, counts: Ints) -> tuple[Ints, Ints, Bools]:
        """The byte ranges, without outer white space, of the tokens of the texts: `ids`, `counts` of them per text. And per text
        whether they are right, else they mean nothing."""
        ...


class Sums:
    """Running sums of token lengths: `start[n]`, `end[n]` from the start of the token's own text; `total` per text."""

    def __init__(self, lengths: Ints, counts: Ints) -> None:
        reached = np.concatenate([[0], np.cumsum(lengths)])
        last = np.cumsum(counts)
        first = reached[last - counts]
        self.total: Ints = reached[last] - first
        before = np.repeat(first, counts)
        self.start: Ints = reached[:-1] - before
        self.end: Ints = reached[1:] - before


def steps(component: Any) -> list[dict[str, Any]]:
    """The settings of a normaliser or pre-tokeniser, those within a sequence one by one."""
    return [] if component is None else _flat(json.loads(component.__getstate__()))


def _flat(settings: dict[str, Any]) -> list[dict[str, Any]]:
    if settings["type"] != "Sequence":
        return [settings]
    inner: list[dict[str, Any]] = settings.get("normalizers") or settings.get("pretokenizers") or []
    return [step for part in inner for step in _flat(part)]


def length_table(tokenizer: Tokenizer, known: Iterable[tuple[int, int]], added: Iterable[tuple[int, int]]) -> Ints:
    """Lengths by token id: those of the model's tokens, then those of added ones, UNKNOWN for all else and for the token that
    stands for what the vocabulary lacks."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    table = np.full(max(vocabulary.values(), default=0) + 1, UNKNOWN, np.int64)
    for id, length in (*known, *added):
        table[id] = length
    unknown = _unknown(tokenizer.model, vocabulary)
    if unknown is not None:
        table[unknown] = UNKNOWN
    return table


def _unknown(model: models.Model, vocabulary: dict[str, int]) -> int | None:
    if isinstance(model, models.Unigram):
        id: int | None = json.loads(model.__getstate__())["unk_id"]
        return id
    return vocabulary.get(getattr(model, "unk_token", None) or "")
