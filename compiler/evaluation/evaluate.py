"""Span sets and joins of a recipe -> spans and edges of a batch.

An `Evaluator` is made once per process: it compiles every pattern and builds the automata over the phrases of *all* sets, so
that a thousand concepts cost one pass over a text. `start` gives an `Evaluation` of one batch, in which each distinct
definition is computed once, however many sets and joins mention it. What it gives depends on the records alone, never on
which others are in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product

import numpy as np

from ...dsl import checked
from ..batch import Edges, Ints, Spans, TextBatch
from ..selectors.base import Context
from ..selectors.phrases import Matches, PhraseIndex
from ..selectors.regex import Pattern
from ..selectors.registry import SELECTORS
from ..walk import below, counted_in, elsewhere, links
from .joins import joined
from .links import Side, listed
from .scalars import Scope, Text

TokenId = Callable[[str], int | None]


class Evaluator:
    """Everything about a recipe's sets that does not depend on the text.

    `definitions`: every set that will be asked for, those of joins among them (`walk.join_sets`); `token_id`: the id of an entry
    of the vocabulary.
    """

    def __init__(self, definitions: Iterable[checked.SpanSet], token_id: TokenId = lambda name: None) -> None:
        self.token_id = token_id
        nodes = dict.fromkeys(below(definitions))
        self._patterns = {node: Pattern(node) for node in nodes if isinstance(node, checked.Regex)}
        self._phrases: dict[checked.Phrases, tuple[PhraseIndex, int]] = {}
        for options in product((False, True), repeat=2):
            sets = [node for node in nodes if isinstance(node, checked.Phrases)]
            self._index([node for node in sets if (node.ignore_case, node.words) == options])

    def _index(self, sets: Sequence[checked.Phrases]) -> None:
        if sets:
            index = PhraseIndex(sets)
            self._phrases.update({node: (index, number) for number, node in enumerate(sets)})

    def start(self, batch: TextBatch) -> Evaluation:
        """An evaluation of one batch."""
        return Evaluation(self, batch)

    def pattern(self, node: checked.Regex) -> Pattern:
        """The compiled pattern of a set."""
        if node not in self._patterns:
            self._patterns[node] = Pattern(node)
        return self._patterns[node]

    def phrases(self, node: checked.Phrases) -> tuple[PhraseIndex, int]:
        """The automaton that a set of phrases is in, and its number there."""
        if node not in self._phrases:
            self._index([node])
        return self._phrases[node]


class Evaluation(Context):
    """The spans and edges of one batch. Every method gives arrays that the caller must not change."""

    def __init__(self, evaluator: Evaluator, batch: TextBatch) -> None:
        super().__init__(batch)
        self._evaluator = evaluator
        self._spans: dict[checked.SpanSet, Spans] = {}
        self._scopes: dict[checked.SpanSet, Scope] = {}
        self._matches: dict[int, Matches] = {}

    def spans(self, definition: checked.SpanSet) -> Spans:
        """The spans of a set. Raises Failure (MCD55x) for what only the data could show to be wrong."""
        if definition not in self._spans:
            self._spans[definition] = SELECTORS[type(definition)](definition, self)
        return self._spans[definition]

    def scope(self, definition: checked.SpanSet) -> Scope:
        """The spans of a set as conditions read them."""
        if definition not in self._scopes:
            text = Text(self.batch, self.tokens, self.points)
            self._scopes[definition] = Scope(text, self.spans(definition))
        return self._scopes[definition]

    def join(self, join: checked.Join) -> tuple[Spans, Spans, Edges]:
        """The query set, the key set, and the edges as positions in the two. Raises Failure (MCD55x)."""
        query, key = self.scope(join.query), self.scope(join.key)
        sides = self._side(join.query), self._side(join.key)
        found = {node: listed(node, self.batch, *sides) for node in links(join.condition)}
        return query.spans, key.spans, joined(join, query, key, found)

    def _side(self, definition: checked.SpanSet) -> Side:
        if elsewhere(definition, self.batch.source):
            return Side(self.spans(definition), None)
        indices = np.zeros(self.batch.records, np.int64)
        for counted in map(self.spans, counted_in(definition)):
            np.maximum.at(indices, counted.record, counted.index + 1)
        return Side(self.spans(definition), indices)

    def phrases(self, definition: checked.Phrases) -> tuple[Ints, Ints, Ints]:
        """Record, start and end of every match of a set of phrases, in order."""
        index, number = self._evaluator.phrases(definition)
        if id(index) not in self._matches:
            self._matches[id(index)] = index.find(self.batch)
        return self._matches[id(index)].of(number)

    def regex(self, definition: checked.Regex) -> tuple[Ints, Ints, Ints]:
        """Record, start and end of every match of a pattern, in order."""
        return self._evaluator.pattern(definition).find(self.batch)

    def token_id(self, name: str) -> int | None:
        """The id of an entry of the vocabulary."""
        return self._evaluator.token_id(name)
