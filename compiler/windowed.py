"""What the sliding windows of a model leave of edges: counted in the shards, which know no model.

An edge acts at a layer if any of its query tokens sees any of its key tokens there. Shards keep all edges, so that another model
changes the plan alone; those of rules at layers with windows are read once more for that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..dsl.windows import Windows, windows_at
from .alignment.align import Aligned
from .files.shard_reader import Chunk, Wanted, open_shard
from .manifest import Cause, Counts, ShardEntry
from .plan import AttendPlan, Digest, EdgeSetRef, Plan
from .ragged import Bools, Ints, offsets, owners, ranges
from .sets import BLANK

CHUNK = 1 << 20
"""Query tokens looked at at a time, unless a single edge has more."""

FAR = 1 << 40
"""A window that every key is in."""


def windowed_counts(plan: Plan, directory: Path, shards: Iterable[ShardEntry]) -> dict[str, Counts]:
    """`rows`, `window` and `narrow` of every rule over stored edges at a layer with a window, by its id.

    `directory` holds the shards, whose bytes were just written or verified.
    """
    counts, model = Windowed(plan), plan.model
    wanted = Wanted({}, edges=True, vocab=model.vocab, width=model.hidden, context=model.context)
    for shard in shards if counts.asked else ():
        for chunk in open_shard(directory / shard.path, shard.path, wanted, validate=False):
            counts.add(EdgeText.of_chunk(chunk), shard.split)
    return counts.by_rule()


class Windowed:
    """What the rules of a plan that have windows find, summed up. `asked`: by rule, the edges and the windows."""

    def __init__(self, plan: Plan) -> None:
        self._causal = plan.model.causal
        self.asked: dict[str, tuple[Digest, Windows]] = {
            rule: (edges, windows) for rule, edges, windows in _windowed(plan)
        }
        self._found: dict[tuple[Digest, Windows], dict[str, Counter[Cause]]] = {e: {} for e in self.asked.values()}

    def add(self, text: EdgeText, split: str) -> None:
        """Count the edges of some rows of a split."""
        for (edges, windows), splits in self._found.items():
            splits.setdefault(split, Counter()).update(text.count(edges, windows, self._causal))

    def by_rule(self) -> dict[str, Counts]:
        """The counts of each rule that was asked for."""
        return {
            rule: Counts(splits={split: dict(causes) for split, causes in sorted(self._found[each].items())})
            for rule, each in self.asked.items()
        }


def _windowed(plan: Plan) -> Iterator[tuple[str, Digest, Windows]]:
    for rule in plan.rules:
        if isinstance(rule, AttendPlan) and isinstance(rule.edges, EdgeSetRef):
            windows = windows_at(plan.model.windows, rule.layers)
            if windows != (None,):
                yield rule.id, rule.edges.edges, windows


class EdgeText:
    """The tokens of some rows, one row after another, and the edges in places among them.

    `begin[R + 1]`: where rows begin; `blank`: places of white space alone; `edges`: row, number of the set, start and end of the
    query and of the key in their row, each [E].
    """

    def __init__(self, keys: Sequence[str], begin: Ints, blank: Ints, edges: Sequence[Ints]) -> None:
        self._blank: Bools = np.zeros(int(begin[-1]), dtype=np.bool_)
        self._blank[blank] = True
        self._ink = offsets((~self._blank).astype(np.int64))
        self._number = {key: number for number, key in enumerate(keys)}
        row, self._sets, *ends = edges
        self._ends = tuple(end + begin[row] for end in ends)

    @classmethod
    def of_chunk(cls, chunk: Chunk) -> EdgeText:
        """The rows of a record batch."""
        begin = chunk.tokens.offsets.astype(np.int64)
        begin = begin - begin[0]
        spans, edges = (
            [owners(np.diff(columns[0].offsets)), *(column.used.astype(np.int64) for column in columns)]
            for columns in (chunk.spans, chunk.edges)
        )
        return cls(chunk.sets, begin, _blank(chunk.sets, begin, *spans), edges)

    @classmethod
    def of_aligned(cls, aligned: Aligned) -> EdgeText:
        """The rows of a batch that no shard holds."""
        spans, edges, begin = aligned.spans, aligned.edges, aligned.token_offsets
        blank = _blank(aligned.keys, begin, spans.row, spans.set, spans.start, spans.end)
        ends = (edges.query_start, edges.query_end, edges.key_start, edges.key_end)
        return cls(aligned.keys, begin, blank, (edges.row, edges.set, *ends))

    def count(self, edges: Digest, windows: Windows, causal: bool) -> dict[Cause, int]:
        """What a rule at layers with these windows has of a set of edges."""
        chosen = np.flatnonzero(self._sets == self._number[edges])
        rows = np.zeros(len(self._blank), dtype=np.bool_)
        outside = narrow = 0
        for part in _parts(chosen, (self._ends[1] - self._ends[0])[chosen]):
            ever, _ = self._seen(part, FAR, causal)
            widest, query = self._seen(part, windows[-1] or FAR, causal)
            narrowest, _ = self._seen(part, windows[0] or FAR, causal)
            rows[query] = True
            outside += int((ever & ~widest).sum())
            narrow += int((widest & ~narrowest).sum())
        found: dict[Cause, int] = {"rows": int(rows.sum()), "window": outside, "narrow": narrow}
        return {cause: amount for cause, amount in found.items() if amount or cause == "rows"}

    def _seen(self, chosen: Ints, window: int, causal: bool) -> tuple[Bools, Ints]:
        """Whether any query token of each edge sees a key token in the window, and the tokens that do."""
        query_start, query_end, key_start, key_end = (end[chosen] for end in self._ends)
        length = query_end - query_start
        edge, query = owners(length), ranges(query_start, length)
        kept = ~self._blank[query] | (length == 1)[edge]
        edge, query = edge[kept], query[kept]
        low = np.maximum(key_start[edge], query - window + 1)
        high = np.minimum(key_end[edge], query + (1 if causal else window))
        alone = (key_end - key_start == 1)[edge]
        seen = (high > low) & (alone | (self._ink[np.maximum(high, low)] > self._ink[low]))
        found = np.zeros(len(chosen), dtype=np.bool_)
        found[edge[seen]] = True
        return found, query[seen]


def _blank(keys: Sequence[str], begin: Ints, row: Ints, sets: Ints, start: Ints, end: Ints) -> Ints:
    """The places of the tokens that spans of `blank` cover."""
    mine = sets == keys.index(BLANK)
    return ranges((start + begin[row])[mine], (end - start)[mine])


def _parts(chosen: Ints, lengths: Ints) -> Iterator[Ints]:
    """Edges in runs of about CHUNK query tokens."""
    reach, first = np.cumsum(lengths), 0
    while first < len(chosen):
        done = reach[first - 1] if first else 0
        stop = max(first + 1, int(np.searchsorted(reach, done + CHUNK, side="right")))
        yield chosen[first:stop]
        first = stop
