"""Rows -> a batch of tensors.

Takes rows of a dataset and a plan. Establishes what the losses rely on: every row of every rule names tokens that are there,
that the model can attend to, and that are no white space inside a longer span; each token counts once per rule and label; the
share of a row is its weight in its rule's mean. All of it in numpy, over the whole batch and all rules at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..compiler.plan import Plan
from ..compiler.ragged import Ints
from .attend_rows import AttendCollator
from .batch import Batch
from .dataset import Row
from .gather import Gathered, gather
from .hidden_rows import HiddenCollator
from .layout import Layout
from .like_rows import LikeCollator
from .masking import Masker, Masking
from .readers import Readers
from .weigh_rows import KeepCollator, WeighCollator


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
        self._readers = Readers(plan)
        self._attend = AttendCollator(self._readers)
        self._hidden = HiddenCollator(self._readers, plan.model.vocab)
        self._like = LikeCollator(self._readers)
        self._weigh = WeighCollator(self._readers)
        self._keep = KeepCollator(self._readers)

    def __call__(self, rows: Sequence[Row], *, epoch: int = 0) -> Batch:
        """The batch of `rows`, at least one, in their order. In another `epoch` other tokens are masked."""
        gathered = gather(rows, self._readers)
        width = -(-int(gathered.length.max()) // self._multiple) * self._multiple
        layout = Layout(self._plan, self._readers, gathered, len(rows), width)
        ids = np.full((len(rows), width), self._pad_id, dtype=np.int64)
        ids[gathered.token_record, gathered.token_position] = gathered.token
        read = self._masked(layout, rows, ids, epoch)
        return Batch(
            input_ids=torch.from_numpy(read),
            attention_mask=torch.from_numpy(layout.there.astype(np.int64)),
            scored=torch.from_numpy(layout.scored),
            weigh=self._weigh(layout, gathered),
            keep=self._keep(layout),
            attend=self._attend(layout, gathered.edges),
            hidden=(*self._hidden(layout, gathered, ids), *self._like(layout)),
            ids=tuple(row.id for row in rows),
            measures=_measures(gathered, len(rows), width),
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


def _measures(gathered: Gathered, records: int, width: int) -> torch.Tensor | None:
    """The measures of all tokens: [M, records, width], NaN for padding; None where nothing reads one."""
    if not len(gathered.measures):
        return None
    found = np.full((len(gathered.measures), records, width), np.nan, dtype=np.float32)
    found[:, gathered.token_record, gathered.token_position] = gathered.measures
    return torch.from_numpy(found)
