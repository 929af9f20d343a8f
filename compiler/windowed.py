"""What the sliding windows of a model leave of edges: counted in the shards, which know no model.

An edge acts at a layer if any of its query tokens sees any of its key tokens there. Shards keep all edges, so that another model
changes the plan alone; those of rules at layers with windows are read once more for that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from .files.shard_reader import Chunk, Wanted, open_shard
from .manifest import Cause, Counts, ShardEntry
from .plan import AttendPlan, Digest, EdgeSetRef, Plan
from .ragged import Bools, Ints, offsets, owners, ranges
from .sets import BLANK

CHUNK = 1 << 20
"""Query tokens looked at at a time, unless a single edge has more."""

FAR = 1 << 40
"""A window that every key is in."""

Windows = tuple[int | None, ...]
"""The different windows of a rule's layers, ascending; None, for a layer that sees everything, comes last."""


def windowed_counts(plan: Plan, directory: Path, shards: Iterable[ShardEntry]) -> dict[str, Counts]:
    """`rows`, `window` and `narrow` of every rule over stored edges at a layer with a window, by its id.

    `directory` holds the shards, whose bytes were just written or verified.
    """
    asked = {rule: (edges, windows) for rule, edges, windows in _windowed(plan)}
    found: dict[tuple[Digest, Windows], dict[str, Counter[Cause]]] = {each: {} for each in asked.values()}
    if not asked:
        return {}
    model = plan.model
    wanted = Wanted({}, edges=True, vocab=model.vocab, width=model.hidden, context=model.context)
    for shard in shards:
        for chunk in open_shard(directory / shard.path, shard.path, wanted, validate=False):
            text = _Text(chunk, model.causal)
            for (edges, windows), splits in found.items():
                splits.setdefault(shard.split, Counter()).update(text.count(edges, windows))
    counts = {
        each: Counts(splits={split: dict(causes) for split, causes in sorted(splits.items())})
        for each, splits in found.items()
    }
    return {rule: counts[each] for rule, each in asked.items()}


def _windowed(plan: Plan) -> Iterator[tuple[str, Digest, Windows]]:
    for rule in plan.rules:
        if isinstance(rule, AttendPlan) and isinstance(rule.edges, EdgeSetRef):
            windows = plan.model.windows_of(rule.layers)
            if windows != (None,):
                yield rule.id, rule.edges.edges, windows


class _Text:
    """The tokens of a record batch, one row after another, and its edges in places among them."""

    def __init__(self, chunk: Chunk, causal: bool) -> None:
        self._causal = causal
        begin = chunk.tokens.offsets.astype(np.int64)
        begin = begin - begin[0]
        sets, *span = (column.used.astype(np.int64) for column in chunk.spans)
        at = begin[owners(np.diff(chunk.spans[0].offsets))]
        mine = sets == chunk.sets.index(BLANK)
        start, end = ((side + at)[mine] for side in span)
        self._blank: Bools = np.zeros(int(begin[-1]), dtype=np.bool_)
        self._blank[ranges(start, end - start)] = True
        self._ink = offsets((~self._blank).astype(np.int64))
        self._number = {key: number for number, key in enumerate(chunk.sets)}
        self._sets, *ends = (column.used.astype(np.int64) for column in chunk.edges)
        at = begin[owners(np.diff(chunk.edges[0].offsets))]
        self._ends = tuple(end + at for end in ends)

    def count(self, edges: Digest, windows: Windows) -> dict[Cause, int]:
        """What a rule at layers with these windows has of a set of edges."""
        chosen = np.flatnonzero(self._sets == self._number[edges])
        rows = np.zeros(len(self._blank), dtype=np.bool_)
        outside = narrow = 0
        for part in _parts(chosen, (self._ends[1] - self._ends[0])[chosen]):
            ever, _ = self._seen(part, FAR)
            widest, query = self._seen(part, windows[-1] or FAR)
            narrowest, _ = self._seen(part, windows[0] or FAR)
            rows[query] = True
            outside += int((ever & ~widest).sum())
            narrow += int((widest & ~narrowest).sum())
        found: dict[Cause, int] = {"rows": int(rows.sum()), "window": outside, "narrow": narrow}
        return {cause: amount for cause, amount in found.items() if amount or cause == "rows"}

    def _seen(self, chosen: Ints, window: int) -> tuple[Bools, Ints]:
        """Whether any query token of each edge sees a key token in the window, and the tokens that do."""
        query_start, query_end, key_start, key_end = (end[chosen] for end in self._ends)
        length = query_end - query_start
        edge, query = owners(length), ranges(query_start, length)
        kept = ~self._blank[query] | (length == 1)[edge]
        edge, query = edge[kept], query[kept]
        low = np.maximum(key_start[edge], query - window + 1)
        high = np.minimum(key_end[edge], query + (1 if self._causal else window))
        alone = (key_end - key_start == 1)[edge]
        seen = (high > low) & (alone | (self._ink[np.maximum(high, low)] > self._ink[low]))
        found = np.zeros(len(chosen), dtype=np.bool_)
        found[edge[seen]] = True
        return found, query[seen]


def _parts(chosen: Ints, lengths: Ints) -> Iterator[Ints]:
    """Edges in runs of about CHUNK query tokens."""
    reach, first = np.cumsum(lengths), 0
    while first < len(chosen):
        done = reach[first - 1] if first else 0
        stop = max(first + 1, int(np.searchsorted(reach, done + CHUNK, side="right")))
        yield chosen[first:stop]
        first = stop
