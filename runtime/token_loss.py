"""From a pass of the model to the loss of every token: from whole logits, or in chunks, so that logits are never whole.

A chunked pass runs the model as it is, wrappers and hooks included, and lets its head see one token per row: what the head was
given is kept, and the head called on it again, chunk after chunk. A chunk's logits are computed once more for its gradient, and
let go (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", https://arxiv.org/abs/1604.06174). No model is asked
for a loss of its own: no `labels` are passed, and a forward pass that fuses head and loss where it gets some does not do so here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..dsl.codes.runtime import CHUNKED_LOSS
from ..dsl.diagnostics import Failure
from .adapters import Parts
from .batch import Batch
from .losses.token import cross_entropies, token_losses
from .precision import without_autocast

WHOLE = "leave `chunk` out: the loss is then computed from whole logits"


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a pass left to predict tokens from: `logits` [B, T, V], or what the head reads, `states` [B, T, d]."""

    logits: Tensor | None
    states: Tensor | None = None


class TokenLoss:
    """Runs a model and computes the loss of its tokens. `chunk`: how many tokens have their logits at a time; None for all.

    Fails with MCD716 for a chunk of no token.
    """

    def __init__(self, model: nn.Module, parts: Parts, chunk: int | None) -> None:
        if chunk is not None and chunk < 1:
            raise Failure(CHUNKED_LOSS.at(None, f"`chunk` is a number of tokens, at least 1, found {chunk}"))
        self._parts = parts
        self._name = type(model).__name__
        self._chunk = chunk
        self._given: list[Tensor] | None = None
        self._checked = False
        self._handle = None
        if chunk is not None:
            if parts.entry is None:
                raise self._refusal("it has no language-model head here")
            self._handle = parts.entry.register_forward_pre_hook(self._narrow)

    def run(self, model: nn.Module, batch: Batch) -> Predicted:
        """One forward pass. Fails with MCD716 where a chunked loss would not be that of the model's own logits."""
        if self._chunk is None:
            whole = self._parts.logits(model, batch)
            return Predicted(None if self._parts.head is None else whole)
        given: list[Tensor] = []
        self._given = given
        try:
            logits = self._parts.logits(model, batch)
        finally:
            self._given = None
        if len(given) != 1 or given[0].shape[:2] != batch.input_ids.shape:
            found = " and ".join(str(tuple(states.shape)) for states in given) or "nothing"
            shape = tuple(batch.input_ids.shape)
            raise self._refusal(f"its head read {found}, where states of {shape} tokens were expected")
        if not self._checked:
            self._check(given[0], logits)
        return Predicted(None, given[0])

    def losses(self, predicted: Predicted, batch: Batch, wanted: Tensor) -> Tensor:
        """The loss of every token, at the token, in float32: [B, T]. Those that are not `wanted` [B, T] may be 0, and all are in
        a model without a head."""
        tokens = batch.input_ids if batch.labels is None else batch.labels
        if self._parts.head is None:
            return torch.zeros(tokens.shape, device=tokens.device)
        if predicted.states is None:
            assert predicted.logits is not None, "a pass leaves one or the other"
            with without_autocast(tokens.device):
                return token_losses(predicted.logits, tokens, self._parts.causal)
        assert self._chunk is not None, "only then are states kept"
        place = wanted.flatten().nonzero().flatten()
        if not len(place):
            place = place.new_zeros(1)  # so that the loss is connected to the model
        row = (place - 1).clamp(min=0) if self._parts.causal else place
        states, target = predicted.states.flatten(0, 1), tokens.flatten()
        chunks = zip(torch.split(row, self._chunk), torch.split(place, self._chunk), strict=True)
        found = torch.cat([self._piece(states[rows], target[places]) for rows, places in chunks])
        return found.new_zeros(tokens.numel()).index_copy(0, place, found).view_as(tokens)

    def close(self) -> None:
        """Takes the hook off."""
        if self._handle is not None:
            self._handle.remove()

    def _piece(self, states: Tensor, target: Tensor) -> Tensor:
        """The losses of some tokens: [N], from states [N, d]."""

        def losses(states: Tensor) -> Tensor:
            assert self._parts.head is not None, "a model without one has no chunk"
            logits = self._parts.head(states)
            with without_autocast(target.device):
                return cross_entropies(logits, target)

        found: Tensor = checkpoint(losses, states, use_reentrant=False)
        return found

    def _narrow(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._given is None or not args:
            return None
        self._given.append(args[0])
        return (args[0][:, :1], *args[1:])

    @torch.no_grad()
    def _check(self, states: Tensor, logits: Tensor) -> None:
        """Fails with MCD716 where what is known of the head does not give the model's own logits [B, 1, V]."""
        assert self._parts.head is not None, "a model without one has no chunk"
        ours = self._parts.head(states[:, :1])
        step = max(torch.finfo(dtype).eps for dtype in (logits.dtype, ours.dtype))
        fits = logits.shape == ours.shape
        if not fits or not torch.allclose(ours.float(), logits.float(), rtol=16 * step, atol=16 * step * _most(logits)):
            raise self._refusal("its logits are not what its head gives of its last states")
        self._checked = True

    def _refusal(self, why: str) -> Failure:
        return Failure(CHUNKED_LOSS.at(None, f"the token loss of `{self._name}` cannot be chunked: {why}", help=WHOLE))


def _most(logits: Tensor) -> float:
    return float(logits.abs().max())
