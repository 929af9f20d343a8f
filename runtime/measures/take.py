"""Takes measures: models run over the rows of a dataset, and a number per token goes into the files beside its shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...compiler.files.measures import MeasureWriter
from ...compiler.files.shard_reader import Chunk
from ...dsl.codes import runtime as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..adapters import hugging_face_logits
from ..batch import Batch
from ..collate import Collator
from ..dataset import Dataset, Row
from . import MEASURES, Seen

Values = npt.NDArray[np.float32]
Report = Callable[[int, int], None]
"""Called after every batch with the number of rows done and in all."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a measure came to: tokens that have it, and their mean."""

    tokens: int
    mean: float


def take(
    dataset: Dataset,
    name: str,
    columns: Mapping[str, str],
    model: nn.Module,
    reference: nn.Module | None = None,
    *,
    batch_size: int = 8,
    report: Report = lambda done, total: None,
) -> dict[str, Taken]:
    """Write the measure file `name` beside the shards of `dataset`, of all splits that it holds.

    `columns`: which of `MEASURES`, with a word on what each is made with. Rows come in their order, `batch_size` at a time, and
    the models in the precision that they have: the same models give the same bytes on the same machine. A token without a loss
    (a row's first, what `split` repeats) has none of any measure, NaN. Raises Failure for a token that a model does not know, and
    where the plan's model is not causal.
    """
    check_causal(dataset)
    plan = dataset.plan.model_copy(update={"rules": (), "mix": {}, "order": None})
    dataset = dataset.with_plan(plan)
    run = _Run(dataset, Collator(plan), tuple(columns), model.eval(), None if reference is None else reference.eval())
    sums = {column: np.zeros(2) for column in columns}
    done = 0
    shards = {shard.path: shard for shard in dataset.manifest.shards}
    with MeasureWriter(dataset.path, name, columns) as writer:
        for chunk in dataset.chunks:
            found: dict[str, list[Values]] = {column: [np.zeros(0, np.float32)] for column in columns}
            for rows, values in run.chunk(chunk, batch_size):
                for column, numbers in values.items():
                    found[column].append(numbers)
                done += rows
                report(done, len(dataset))
            whole = {column: np.concatenate(parts) for column, parts in found.items()}
            writer.write(shards[chunk.shard], chunk, whole)
            for column, numbers in whole.items():
                there = numbers[~np.isnan(numbers)]
                sums[column] += len(there), there.sum(dtype=np.float64)
    return {column: Taken(int(count), total / count if count else 0.0) for column, (count, total) in sums.items()}


def check_causal(dataset: Dataset) -> None:
    """Fails with MCD715 where the plan's model predicts no next token."""
    if not dataset.plan.model.causal:
        message = f"measures are of next tokens, and `{dataset.path.name}` was compiled for a model that is not causal"
        help = "compile the spec for a causal model, or write the measure yourself: `MeasureWriter`"
        raise Failure(codes.NEXT_TOKEN.at(DataPlace(str(dataset.path)), message, help=help))


@dataclass(frozen=True, eq=False)
class _Run:
    dataset: Dataset
    collate: Collator
    columns: Sequence[str]
    model: nn.Module
    reference: nn.Module | None

    @torch.inference_mode()
    def chunk(self, chunk: Chunk, batch_size: int) -> Iterator[tuple[int, dict[str, Values]]]:
        """Batch after batch of a record batch: the number of its rows, and each column's numbers of all their tokens."""
        for start in range(0, chunk.rows, batch_size):
            rows = [Row(chunk, at) for at in range(start, min(start + batch_size, chunk.rows))]
            yield len(rows), self._batch(self.collate(rows))

    def _batch(self, batch: Batch) -> dict[str, Values]:
        reference = None if self.reference is None else self._logits(self.reference, batch)
        moved = batch.to(_device(self.model))
        seen = Seen(self._logits(self.model, batch), reference, moved.input_ids)
        there = moved.attention_mask.bool()
        return {
            column: MEASURES[column].of(seen).masked_fill(~moved.scored, torch.nan)[there].float().cpu().numpy()
            for column in self.columns
        }

    def _logits(self, model: nn.Module, batch: Batch) -> Tensor:
        known = cast(Any, model).get_input_embeddings().weight.shape[0]
        largest = int(batch.input_ids.max())
        if largest >= known:
            message = f"the shards hold token {largest}, and the model has a vocabulary of {known}"
            help = "were they made with the tokenizer of the model?"
            raise Failure(codes.SAVED_MODEL.at(DataPlace(str(self.dataset.path)), message, help=help))
        return hugging_face_logits(model, batch.to(_device(model))).to(_device(self.model))


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
