"""Token weights: which tokens have a loss, and how much each of them counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..compiler.plan import LiveTerm, MeasureTerm, TokenScore
from .batch import Batch
from .groups import Groups
from .keep import kept_tokens
from .schedule import Multipliers
from .scores import Variable, evaluate, reads_live


@dataclass(frozen=True, eq=False)
class Weighed:
    """The weight of every token, at the token that is predicted: `weights` [B, T] float32. `ranked`, `kept` [keep rules] int64:
    tokens that each rule ranked, and those of them that it kept."""

    weights: Tensor
    ranked: Tensor
    kept: Tensor


class TokenWeights:
    """The `weigh` and `keep` rules of a plan. `measures`: what the batch's `measures` hold, in order."""

    def __init__(self, groups: Groups, measures: tuple[MeasureTerm, ...]) -> None:
        self._weigh, self._keep = groups.weigh, groups.keep
        self._place = {measure: place for place, measure in enumerate(measures)}

    @property
    def weighs(self) -> int:
        """How many `weigh` rules there are."""
        return len(self._weigh)

    def counts(self, batch: Batch) -> Tensor:
        """Entries of each rule, `weigh` first: [weigh and keep rules] int64."""
        rule = torch.cat([batch.weigh.rule, batch.keep.rule + self.weighs])
        found = torch.zeros(self.weighs + len(self._keep), dtype=torch.int64, device=rule.device)
        return found.index_add(0, rule, torch.ones_like(rule))

    def fixed(self, scale: Multipliers) -> bool:
        """Whether the weights of a batch are known before its forward pass: nothing live acts."""
        scores = [(rule.id, rule.score) for rule in self._weigh] + [(rule.id, rule.score) for rule in self._keep]
        return not any(reads_live(score) for rule, score in scores if scale.rules[rule])

    def foreseen(self, scale: Multipliers) -> bool:
        """Whether the sum of the weights of a batch is known before its forward pass.

        So it is where nothing live acts; and where a single `keep` acts and no `weigh`, since how many tokens it keeps does not
        depend on which.
        """
        weigh = any(scale.rules[rule.id] for rule in self._weigh)
        keep = sum(bool(scale.rules[rule.id]) for rule in self._keep)
        return (not weigh and keep == 1) or self.fixed(scale)

    def __call__(self, batch: Batch, scale: Multipliers, losses: Tensor | None = None) -> Weighed:
        """The weights at the multipliers `scale`. `losses` [B, T]: of each token in the training model; None: not known yet, and
        0 in their place.

        A rule of factor f and multiplier m acts as 1 + m (f - 1), so that m = 0 switches it off and m = 1 on; factors of several
        rules multiply, and none falls below 0. Tokens without a loss weigh 0. Every `keep` ranks what has a positive weight
        before any of them, so that their order carries no meaning. No gradient reaches a weight.
        """
        with torch.no_grad():
            weights = self._weighed(batch, scale, losses)
            positive, counts = weights > 0, []
            for place, rule in enumerate(self._keep):
                mine = batch.keep.rule == place
                ranked = torch.zeros_like(positive)
                ranked[batch.keep.record[mine], batch.keep.position[mine]] = True
                ranked &= positive
                score = batch.by_record(self._score(rule.score, batch, losses))
                kept = batch.by_row(kept_tokens(rule, score, batch.by_record(ranked)))
                counts.append(torch.stack([ranked.sum(), kept.sum()]))
                factor = max(1 - scale.rules[rule.id], 0.0)
                weights = torch.where(ranked & ~kept, weights * factor, weights)
            found = torch.stack(counts, 1) if counts else torch.zeros(2, 0, dtype=torch.int64, device=weights.device)
            return Weighed(weights, found[0], found[1])

    def _weighed(self, batch: Batch, scale: Multipliers, losses: Tensor | None) -> Tensor:
        """The weights that the `weigh` rules give."""
        rows = batch.weigh
        factor = rows.factor
        for place, rule in enumerate(self._weigh):
            if rule.score is not None:
                value = self._score(rule.score, batch, losses)[rows.record, rows.position]
                value = torch.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0).clamp(min=0)
                factor = torch.where(rows.rule == place, factor * value, factor)
        multiplier = factor.new_tensor([scale.rules[rule.id] for rule in self._weigh])
        return token_weights(batch, multiplier, factor)

    def _score(self, score: TokenScore, batch: Batch, losses: Tensor | None) -> Tensor:
        """A score of every token: [B, T]."""

        def value(term: Variable) -> Tensor:
            if isinstance(term, LiveTerm):
                return torch.zeros_like(batch.scored, dtype=torch.float32) if losses is None else losses
            assert isinstance(term, MeasureTerm) and batch.measures is not None
            return batch.measures[self._place[term]]

        return evaluate(score, value)


def token_weights(batch: Batch, multipliers: Tensor, factor: Tensor | None = None) -> Tensor:
    """The weight of every token by the `weigh` rules alone: [B, T] float32.

    `multipliers` [weigh rules]; `factor` [N]: of each entry of `batch.weigh`, the entry's own where it is None.
    """
    weights = batch.scored.float()
    rows = batch.weigh
    factor = rows.factor if factor is None else factor
    factor = (1 + multipliers[rows.rule] * (factor - 1)).clamp(min=0)
    flat = rows.record * weights.shape[1] + rows.position
    return weights.flatten().scatter_reduce(0, flat, factor, reduce="prod").view_as(weights)
