"""Rows -> a batch of tensors.

Takes rows of a dataset and a plan. Establishes what the losses rely on: every row of every rule names tokens that are there,
that the model can attend to, and that are no white space inside a longer span; each token counts once per rule and label; the
share of a row is its weight in its rule's mean. All of it in numpy, over the whole batch and all rules at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ..compiler.plan import Plan
from ..compiler.ragged import Ints
from ..compiler.sets import REPEAT
from .attend_rows import AttendCollator
from .batch import Batch
from .dataset import Row, Rows
from .gather import Reach, gather
from .hidden_rows import HiddenCollator
from .layout import Layout
from .like_rows import LikeCollator
from .masking import Masker, Masking
from .readers import Readers
from .weigh_rows import NO_KEEP, NO_WEIGHTS, KeepCollator, WeighCollator


class Collator:
    """Makes batches for a plan. Called with rows, as torch's DataLoader does with `collate_fn`.

    `pad_id` fills up to the longest row of the batch, and to a multiple of `multiple` tokens. `masking`: what a model that is not
    causal is to predict; without it such a batch has no token with a loss. Fails with MCD714 for a masking that the plan's
    tokenizer or model has no use for.
    """

    def __init__(self, plan: Plan, pad_id: int = 0, *, multiple: int = 1, masking: Masking | None = None) -> None:
        self._plan = plan
        self._pad_id = pad_id
        self._multiple = multiple
        self._masker = None if masking is None else Masker(masking, plan)
        self._plain = not plan.rules and plan.model.causal and masking is None
        self._readers = Readers(plan)
        self._attend = AttendCollator(self._readers)
        self._hidden = HiddenCollator(self._readers, plan.model.vocab)
        self._like = LikeCollator(self._readers)
        self._weigh = WeighCollator(self._readers)
        self._keep = KeepCollator(self._readers)

    def __call__(self, rows: Sequence[Row], *, epoch: int = 0) -> Batch:
        """The batch of `rows`, at least one, in their order. In another `epoch` other tokens are masked."""
        found = Rows.of(rows)
        if self._plain and not any(REPEAT in chunk.held for chunk in found.chunks):
            return self._without_rules(found)
        gathered = gather(found, self._readers)
        width = self._width(int(gathered.length.max()))
        layout = Layout(self._plan, self._readers, gathered, len(rows), width)
        ids = self._ids(gathered.tokens, width)
        read = self._masked(layout, rows, ids, epoch)
        return Batch(
            input_ids=torch.from_numpy(read),
            attention_mask=torch.from_numpy(layout.there.astype(np.int64)),
            scored=torch.from_numpy(layout.scored),
            weigh=self._weigh(layout, gathered),
            keep=self._keep(layout),
            attend=self._attend(layout, gathered.edges),
            hidden=(*self._hidden(layout, gathered, ids), *self._like(layout)),
            ids=_names(found),
            measures=_measures(gathered.measures, len(rows), width),
            labels=None if self._masker is None else torch.from_numpy(ids),
        )

    def _masked(self, layout: Layout, rows: Sequence[Row], ids: Ints, epoch: int) -> Ints:
        """What the model reads; of a model that is not causal, what is masked is what has a loss."""
        if layout.causal:
            return ids
        if self._masker is None:
            layout.scored = np.zeros_like(layout.scored)
            return ids
        read, layout.scored = self._masker(rows, ids, layout.scored, epoch)
        return read

    def _without_rules(self, rows: Rows) -> Batch:
        """The batch of rows of which no token is repeated, under a plan without rules, for a causal model."""
        columns = [chunk.tokens for chunk in rows.chunks]
        reach = Reach(columns, rows.at)
        width = self._width(reach.longest)
        ids = self._ids(reach.slices(columns), width)
        there = np.zeros(ids.shape, dtype=np.int64)
        scored = np.zeros(ids.shape, dtype=np.bool_)
        for row, (start, end) in enumerate(reach.bounds):
            there[row, : end - start] = 1
            scored[row, 1 : end - start] = True
        return Batch(
            input_ids=torch.from_numpy(ids),
            attention_mask=torch.from_numpy(there),
            scored=torch.from_numpy(scored),
            weigh=NO_WEIGHTS,
            keep=NO_KEEP,
            attend=(),
            hidden=(),
            ids=_names(rows),
        )

    def _width(self, longest: int) -> int:
        return -(-longest // self._multiple) * self._multiple

    def _ids(self, tokens: Sequence[npt.NDArray[np.int32]], width: int) -> Ints:
        """The tokens of each row, padded: [rows, width]."""
        ids = np.zeros((len(tokens), width), dtype=np.int64)
        if self._pad_id:
            ids.fill(self._pad_id)
        for row, found in enumerate(tokens):
            ids[row, : len(found)] = found
        return ids


def _names(rows: Rows) -> tuple[str, ...]:
    return tuple(chunk.id(at) for chunk, at in zip(rows.chunks, rows.at, strict=True))


def _measures(measures: Sequence[Sequence[npt.NDArray[np.float32]]], records: int, width: int) -> torch.Tensor | None:
    """The measures of all tokens: [M, records, width], NaN for padding; None where nothing reads one."""
    if not measures:
        return None
    found = np.full((len(measures), records, width), np.nan, dtype=np.float32)
    for number, rows in enumerate(measures):
        for record, values in enumerate(rows):
            found[number, record, : len(values)] = values
    return torch.from_numpy(found)
