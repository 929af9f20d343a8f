"""What a selector is given: the texts of a batch, and the spans of every other set in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property

import pyarrow as pa

from ...dsl import checked
from ..batch import Ints, Spans, TextBatch
from ..evaluation.scalars import Scope
from ..evaluation.spans import Tokens, distinct, found, ranked
from ..tokens.text import CodePoints, Trimmer

Extents = tuple[Ints, Ints]
"""Start and end of ranges, in bytes of the batch's buffer."""


class Context(ABC):
    """One batch, while sets are evaluated over it."""

    def __init__(self, batch: TextBatch) -> None:
        self.batch = batch
        self.tokens = Tokens(batch.tokens)
        self.points = CodePoints(batch.buffer)
        self.unplaced = 0
        """Entries of `offsets` that stand in what a chat template left out or changed."""

    @cached_property
    def trimmer(self) -> Trimmer:
        return Trimmer(self.batch.buffer)

    @abstractmethod
    def spans(self, definition: checked.SpanSet) -> Spans:
        """The spans of a set."""

    @abstractmethod
    def scope(self, definition: checked.SpanSet) -> Scope:
        """The spans of a set as conditions read them."""

    @abstractmethod
    def phrases(self, definition: checked.Phrases) -> tuple[Ints, Ints, Ints]:
        """Record, start and end of every match of a set of phrases, in order."""

    @abstractmethod
    def regex(self, definition: checked.Regex) -> tuple[Ints, Ints, Ints]:
        """Record, start and end of every match of a pattern, in order."""

    @abstractmethod
    def token_id(self, name: str) -> int | None:
        """The id of the vocabulary's entry `name`, None where there is none."""

    def select(self, record: Ints, start: Ints, end: Ints, attributes: Mapping[str, pa.Array] | None = None) -> Spans:
        """The set of what a selector found, in any order: outer white space off, equal extents made one, ranked."""
        start, end = self.trimmer.trim(start, end)
        return ranked(distinct(found(record, start, end, attributes), self.tokens))
