"""A batch that counts for nothing, for a rank that a step has no record left for: it comes along in collective operations."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from ..batch import AttendRows, Batch, HiddenRows, KeepRows, WeighRows

R = TypeVar("R", WeighRows, KeepRows, HiddenRows)


def blank(batch: Batch) -> Batch:
    """The texts of `batch` with no token scored and no row of any rule, as no record: `ids` is empty."""
    return replace(
        batch,
        scored=torch.zeros_like(batch.scored),
        weigh=_none(batch.weigh),
        keep=_none(batch.keep),
        attend=tuple(_no_rows(rows) for rows in batch.attend),
        hidden=tuple(_none(rows) for rows in batch.hidden),
        ids=(),
    )


def _none(rows: R) -> R:
    """The same columns without an entry."""
    columns = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    return replace(rows, **{name: column[:0] for name, column in columns.items() if isinstance(column, Tensor)})


def _no_rows(rows: AttendRows) -> AttendRows:
    padded = {name: getattr(rows, name)[:, :0] for name in ("position", "valid", "rule", "share")}
    pairs = {name: getattr(rows, name)[:0] for name in ("pair_record", "pair_row", "pair_key")}
    weight = None if rows.pair_weight is None else rows.pair_weight[:0]
    return replace(rows, **padded, **pairs, pair_weight=weight)
