"""One task of the executor: a range of a source -> one shard per split, and what was counted on the way.

A task is a pure function of the recipe and its range. Which process runs it, after which other, and in what batches the
records come changes none of its bytes; its number alone names its files.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..dsl import checked
from .alignment.align import Aligned, align
from .alignment.fields import FieldColumn, count_labels, field_columns
from .alignment.rows import count_rows
from .alignment.together import count_together
from .batch import Edges, Spans, TextBatch
from .cache.cache import Cache, CacheFolder
from .counted import Counted, Found, merge
from .evaluation.evaluate import Evaluation, Evaluator
from .files.shards import ShardWriter, shard_path, shard_rows, shard_schema
from .manifest import ChatCause, ShardEntry
from .plan import Digest
from .recipe import Recipe
from .sources.base import Tally, Task
from .sources.inventory import origin_of
from .sources.reader import Batches, Encodes, Splits, read_batches
from .tokens.tokenize import Encoder
from .walk import field_paths, join_fields, join_sets


@dataclass(slots=True)
class Outcome:
    """What a task, or several merged, wrote and counted.

    `sets` and `labels` count by set key and by rule; `dropped` counts records by cause; `seen` holds the fields that some
    record had, with their source; `chat` counts messages by source.
    """

    shards: list[ShardEntry] = field(default_factory=list)
    sets: Found = field(default_factory=dict)
    labels: Found = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[str, checked.FieldPath]] = field(default_factory=set)
    chat: dict[str, Counter[ChatCause]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found in a batch before any of it is written: spans, and edges with the sets that they join, by digest; the values
    of fields by name; the spans without a usable label, counted by rule."""

    evaluation: Evaluation
    spans: dict[Digest, Spans]
    edges: dict[Digest, tuple[Spans, Spans, Edges]]
    aligned: Aligned
    columns: dict[str, FieldColumn]
    labels: Counted


class Executor:
    """What the tasks of one recipe share in one process: the tokenizer, the compiled patterns, the schema, what `cache` keeps.

    `fields`: those of a record that its sets, edges and columns are made of.
    """

    def __init__(self, recipe: Recipe, root: Path, encoder: Encoder, cache: CacheFolder | None = None) -> None:
        self._recipe = recipe
        self._root = root
        self._encoder = encoder
        self._cache = None if cache is None else Cache(cache, encoder)
        self._sources = {source.name: source for source in recipe.sources}
        definitions = [
            *(stored.definition for stored in recipe.sets),
            *join_sets(stored.join for stored in recipe.edges),
        ]
        self._evaluator = Evaluator(definitions, encoder.token_id)
        self._schema = shard_schema(recipe)
        joined = join_fields(stored.join for stored in recipe.edges)
        self.fields = sorted(field_paths(definitions) | joined | {stored.path for stored in recipe.fields})

    def run(self, task: Task, number: int, work: Path) -> Outcome:
        """Run one task and write its shards below `work`, named by `number`. Raises Failure for what is wrong in the data."""
        outcome, tally = Outcome(), Tally()
        source = self._sources[task.source]
        with ExitStack() as stack:
            writers: dict[str, ShardWriter] = {}

            def writer(split: str) -> ShardWriter:
                if split not in writers:
                    writers[split] = stack.enter_context(ShardWriter(work / shard_path(split, number), self._schema))
                return writers[split]

            for batch, splits in stack.enter_context(closing(self._batches(task, tally))):
                measured = self.measure(batch, splits, outcome)
                rows = shard_rows(batch, self._recipe, measured.aligned, measured.columns, self._schema)
                split_of_row = splits.index[measured.aligned.parts.record]
                for place in np.unique(split_of_row).tolist():
                    chosen = rows if len(splits.names) == 1 else rows.filter(pa.array(split_of_row == place))
                    writer(splits.names[place]).write(chosen)
            outcome.shards = [writers[split].close(split, work, source.name) for split in sorted(writers)]
        outcome.dropped += tally.dropped
        outcome.seen |= {(source.name, path) for path in tally.seen}
        outcome.chat.setdefault(source.name, Counter()).update(tally.chat)
        return outcome

    def _batches(self, task: Task, tally: Tally) -> Batches:
        """The batches of a task, read or kept."""
        source, strict = self._sources[task.source], self._recipe.model.lost == "error"

        def read(encoder: Encodes) -> Batches:
            return read_batches(source, self._root, task, self.fields, encoder, tally, strict=strict)

        if self._cache is None:
            return read(self._encoder)
        return self._cache.batches(source, task, origin_of(source, self._root, task.file), self.fields, tally, read)

    def measure(self, batch: TextBatch, splits: Splits, outcome: Outcome) -> Measured:
        """What one batch holds; counts into `outcome`."""
        recipe, evaluation = self._recipe, self._evaluator.start(batch)
        spans = {stored.digest: evaluation.spans(stored.definition) for stored in recipe.sets}
        edges = {stored.digest: evaluation.join(stored.join) for stored in recipe.edges}
        outcome.chat.setdefault(batch.source, Counter())["entries"] += evaluation.unplaced
        aligned = align(batch, recipe, spans, edges)
        columns = field_columns(batch, recipe, spans, self._encoder)
        labels = count_labels(batch, recipe, spans, columns, aligned.dropped)
        merge(outcome.sets, aligned.counts.by_split(splits.index, splits.names))
        merge(outcome.sets, count_together(recipe, aligned).by_split(splits.index, splits.names))
        merge(outcome.labels, labels.by_split(splits.index, splits.names))
        rows = count_rows(batch, recipe, spans, columns, aligned)
        merge(outcome.labels, rows.by_split(splits.index, splits.names))
        empty = aligned.parts.content == 0
        outcome.dropped += Counter(
            {"empty_text": int((aligned.dropped & empty).sum()), "too_long": int((aligned.dropped & ~empty).sum())}
        )
        return Measured(evaluation, spans, edges, aligned, columns, labels)
