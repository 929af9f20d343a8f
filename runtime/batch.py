"""What the collator gives and the supervisor takes: token ids, and the sparse records as index tensors.

Nothing here is dense in [T, T] or [T, width]. `B` records, padded on the right to `T` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class AttendRows:
    """The supervised query tokens of one AttendGroup, padded per record to `Q` rows, and their key tokens as `E` pairs.

    A row without a key that the model can attend to is left out by the collator and is no row. With `each`, every pair is a
    row of its own.
    """

    position: Tensor  # [B, Q] int64, query position; 0 where padded
    valid: Tensor  # [B, Q] bool
    rule: Tensor  # [B, Q] int64, index within the group
    share: Tensor  # [B, Q] float32, the row's weight in its rule's mean: 1, or 1 / rows of its record; 0 where padded
    pair_record: Tensor  # [E] int64, 0..B-1
    pair_row: Tensor  # [E] int64, 0..Q-1
    pair_key: Tensor  # [E] int64, key position
    pair_weight: Tensor | None = None  # [E] float32 above 0, for kl over weighted edges


@dataclass(frozen=True, slots=True)
class HiddenRows:
    """The rows of one HiddenGroup: `R` rows, each the mean of the hidden states of its tokens, `N` tokens in all; where there are
    weights, their weighted sum.

    Under `pool = each`, `first` or `last` every row has one token, so `N == R`. What is contrasted and has no positive is here
    as a negative of others, with share 0, and counts as no row. `members`: which rows are contrasted with each other, `G` times
    at most `M`. `among`, `own`: the labels of all ranks, `A` in all, and the rows' places in them; None before ranks are joined.
    """

    record: Tensor  # [N] int64, 0..B-1
    position: Tensor  # [N] int64
    row: Tensor  # [N] int64, 0..R-1, non-decreasing
    rule: Tensor  # [R] int64, index within the group
    share: Tensor  # [R] float32, the row's weight in its rule's mean
    label: Tensor | None  # [R] int64: a class, the number of a key to contrast by, or the token to predict
    vector: Tensor | None  # [R, width] float32, for toward a field
    members: Tensor | None = None  # [G, M] int64, for contrast; 0..R-1, or -1 where padded
    among: Tensor | None = None  # [A] int64, -1 where padded
    own: Tensor | None = None  # [R] int64, 0..A-1
    weight: Tensor | None = None  # [N] float32, for like: tokens of one side add up to 1, those of the other to -1


@dataclass(frozen=True, slots=True)
class WeighRows:
    """Factors of the weigh rules: at most one entry per rule and token. Tokens outside an `only` rule have factor 0, those that a
    score will weigh have 1."""

    record: Tensor  # [N] int64
    position: Tensor  # [N] int64
    rule: Tensor  # [N] int64, index within Groups.weigh
    factor: Tensor  # [N] float32


@dataclass(frozen=True, slots=True)
class KeepRows:
    """The tokens of the sets of the keep rules, as far as they have a loss: one entry per rule and token."""

    record: Tensor  # [N] int64
    position: Tensor  # [N] int64
    rule: Tensor  # [N] int64, index within Groups.keep


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch. Its `B` rows are records, or hold several each, one behind the other, where `document` says which."""

    input_ids: Tensor  # [B, T] int64
    attention_mask: Tensor  # [B, T] int64: 1 for a token, 0 for padding
    scored: Tensor  # [B, T] bool, tokens with a loss: what is masked, or all but a record's first, padding and repeats
    weigh: WeighRows
    keep: KeepRows
    attend: tuple[AttendRows, ...]  # in the order of Groups.attend
    hidden: tuple[HiddenRows, ...]  # in the order of Groups.hidden
    ids: tuple[str, ...]
    measures: Tensor | None = None  # [M, B, T] float32, what scores read of measure files; NaN where there is none
    labels: Tensor | None = None  # [B, T] int64, the tokens to predict, where some of input_ids are masked
    position_ids: Tensor | None = None  # [B, T] int64, places within records, where rows hold several
    document: Tensor | None = None  # [B, T] int64, the record of each token, -1 for padding; None: row b is record b

    @property
    def segments(self) -> Tensor:
        """Which tokens belong together: [B, T] int64, 0 for padding, and in a row equal numbers for the tokens of one record."""
        return self.attention_mask if self.document is None else self.document + 1

    def by_record(self, values: Tensor, fill: float = 0) -> Tensor:
        """Values of tokens [B, T] with a row for each record: themselves, or of a packed batch [len(ids), T]."""
        if self.document is None or self.position_ids is None:
            return values
        there = self.document >= 0
        found = values.new_full((len(self.ids), values.shape[1]), fill)
        found[self.document[there], self.position_ids[there]] = values[there]
        return found

    def by_row(self, values: Tensor, fill: float = 0) -> Tensor:
        """What `by_record` gave, at the tokens' own places again: [B, T]."""
        if self.document is None or self.position_ids is None:
            return values
        found = values[self.document.clamp(min=0), self.position_ids]
        return torch.where(self.document >= 0, found, torch.full_like(found, fill))

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch with every tensor on `device`."""
        moved: Batch = _map(self, lambda t: t.to(device, non_blocking=non_blocking))
        return moved

    def pin_memory(self) -> Batch:
        """The same batch in pinned memory; DataLoader calls this."""
        pinned: Batch = _map(self, lambda t: t.pin_memory())
        return pinned


def _map(value: Any, change: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_map(item, change) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: _map(getattr(value, f.name), change) for f in fields(value)})
    return value
