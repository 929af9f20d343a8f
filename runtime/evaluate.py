"""The metrics of a model over a whole split, without a gradient.

Every number is a ratio of two sums over the split, added up in float64: no mean of means, so that the size of a batch changes
nothing. A row counts in a metric as it does in its rule's loss. Multipliers of stages are left out, since an evaluation has no
training time, and so is what a rule's `weight` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..compiler.plan import WeighPlan
from ..dsl.codes.runtime import NO_HEAD
from ..dsl.diagnostics import Failure
from .batch import AttendRows, Batch, HiddenRows
from .capture import Captured
from .collate import Collator
from .dataset import Dataset
from .masking import masking_of
from .metrics import metrics_of
from .precision import without_autocast
from .supervised import Supervised
from .terms import Term, count
from .weights import token_weights


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's value; None where nothing counts in it. `more`: whether more of it is better."""

    value: float | None
    more: bool


@dataclass(frozen=True, slots=True)
class RuleScores:
    """What a rule comes to: its rows, and its metrics by name."""

    rows: int
    metrics: dict[str, Score]


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model comes to on a split. `model`: of all tokens, `loss` as the rules weigh it, and `unweighted`.

    `rules`: by id, in the order of the plan.
    """

    records: int
    tokens: int
    model: dict[str, Score]
    rules: dict[str, RuleScores]


def scores_of(supervised: Supervised, batches: Iterable[Batch]) -> Scores:
    """The metrics of `supervised` on batches that were collated for its plan. Fails with MCD711 for a model without a head."""
    if not supervised.has_head:
        message = "what is measured of every model is its token loss, and this one has no language-model head"
        raise Failure(NO_HEAD.at(None, message, help="measure one with its head, or read `rules` of what a pass gives"))
    sums = _Sums(supervised)
    training = supervised.training
    supervised.eval()
    with torch.no_grad():
        for batch in batches:
            sums.add(batch)
    supervised.train(training)
    return sums.scores()


def in_batches(dataset: Dataset, batch_size: int) -> Iterator[Batch]:
    """Every row of a dataset in its order, `batch_size` at a time. For a model that is not causal tokens are masked, always the
    same; fails with MCD714 where its tokenizer has no mask token."""
    collate = Collator(dataset.plan, masking=masking_of(dataset.plan))
    for at in range(0, len(dataset), batch_size):
        yield collate(dataset.rows(range(at, min(at + batch_size, len(dataset)))))


class _Mean:
    """A sum of weighted values over a sum of weights, of each of several rules, in float64: `values` [rules, K], `weights`
    [rules]. K is 1 where a value is a number."""

    def __init__(self, values: Tensor, weights: Tensor) -> None:
        self._values, self._weights = values, weights

    @classmethod
    def of(cls, rules: int, device: torch.device) -> _Mean:
        """Of nothing yet. K is known with the first values."""
        zeros = torch.zeros(rules, dtype=torch.float64, device=device)
        return cls(zeros.new_zeros(rules, 0), zeros)

    def add(self, rule: Tensor, values: Tensor, weights: Tensor) -> None:
        """Values [R] or [R, K] of rows of `rule` [R], with `weights` [R]."""
        rows = values.double() if values.ndim > 1 else values.double()[:, None]
        if not self._values.shape[1]:
            self._values = rows.new_zeros(len(self._weights), rows.shape[1])
        self._values.index_add_(0, rule, rows * weights.double()[:, None])
        self._weights.index_add_(0, rule, weights.double())

    def ratios(self) -> list[Tensor | None]:
        """For each rule, the mean of its values, [K]; None where nothing counts."""
        pairs = zip(self._values, self._weights.tolist(), strict=True)
        return [values / weight if weight > 0 else None for values, weight in pairs]

    def without(self, part: _Mean) -> _Mean:
        """What is left when the rows of `part` are taken from those of the one rule here, for each rule of `part`."""
        return _Mean(self._values - part._values, self._weights - part._weights)


class _TermSums:
    """The sums of the rules of a term."""

    def __init__(self, term: Term, device: torch.device) -> None:
        self._term = term
        self._means = [(metric, _Mean.of(len(term.rules), device)) for metric in metrics_of(term.rules[0], term.loss)]
        self._rows = torch.zeros(len(term.rules), dtype=torch.int64, device=device)

    def add(self, rows: AttendRows | HiddenRows, seen: Captured, segments: Tensor) -> None:
        found = self._term.read(rows, seen, segments)
        for metric, mean in self._means:
            mean.add(rows.rule.flatten(), self._term.over(found, rows, metric.of), rows.share.flatten())
        self._rows += count(self._term, rows)

    def scores(self) -> dict[str, RuleScores]:
        metrics: list[dict[str, Score]] = [{} for _ in self._term.rules]
        for metric, mean in self._means:
            for into, ratio in zip(metrics, mean.ratios(), strict=True):
                into[metric.name] = _score(ratio, metric.more, metric.final)
        found = zip(self._term.rules, self._rows.tolist(), metrics, strict=True)
        return {rule.id: RuleScores(rows, scores) for rule, rows, scores in found}


class _TokenSums:
    """The losses of tokens: of all, and of those inside the set of each `weigh` rule."""

    def __init__(self, rules: tuple[WeighPlan, ...], device: torch.device) -> None:
        self._rules = rules
        self._only = torch.tensor([rule.only for rule in rules], dtype=torch.bool, device=device)
        self._all, self._weighted = _Mean.of(1, device), _Mean.of(1, device)
        self._inside = _Mean.of(len(rules), device)
        self._rows = torch.zeros(len(rules), dtype=torch.int64, device=device)
        self._tokens = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, batch: Batch, losses: Tensor) -> None:
        """`losses` [B, T]: of each token."""
        flat, scored = losses.flatten(), batch.scored.flatten()
        everyone = torch.zeros_like(scored, dtype=torch.int64)
        self._all.add(everyone, flat, scored)
        self._weighted.add(everyone, flat, token_weights(batch, losses.new_ones(len(self._rules))).flatten())
        self._tokens += scored.sum()
        rows = batch.weigh
        # What is outside of an `only` rule stands among its rows, with factor 0.
        inside = ~self._only[rows.rule] | (rows.factor > 0)
        rule, mine = rows.rule[inside], losses[rows.record[inside], rows.position[inside]]
        self._inside.add(rule, mine, torch.ones_like(mine))
        self._rows.index_add_(0, rule, torch.ones_like(rule))

    def of_tokens(self) -> tuple[int, dict[str, Score]]:
        """How many tokens have a loss, and what is said of all of them."""
        names = {"loss": self._weighted, "unweighted": self._all}
        return int(self._tokens), {name: _score(mean.ratios()[0], more=False) for name, mean in names.items()}

    def scores(self) -> dict[str, RuleScores]:
        means = zip(self._inside.ratios(), self._all.without(self._inside).ratios(), strict=True)
        found = [{"loss": _score(mine, False), "outside": _score(others, False)} for mine, others in means]
        rows = self._rows.tolist()
        return {rule.id: RuleScores(rows[i], found[i]) for i, rule in enumerate(self._rules)}


def _score(mean: Tensor | None, more: bool, final: Callable[[Tensor], Tensor] = torch.clone) -> Score:
    return Score(None if mean is None else float(final(mean)), more)


class _Sums:
    """Everything that is added up over a split."""

    def __init__(self, supervised: Supervised) -> None:
        self._supervised = supervised
        rules = supervised.plan.rules
        self._order = [rule.id for rule in rules]
        self._terms = [_TermSums(term, supervised.device) for term in supervised.terms]
        self._tokens = _TokenSums(tuple(r for r in rules if isinstance(r, WeighPlan)), supervised.device)
        self._records = 0

    def add(self, batch: Batch) -> None:
        self._records += len(batch.ids)
        batch, seen, losses = self._supervised.observe(batch)
        with without_autocast(self._supervised.device):
            every: tuple[AttendRows | HiddenRows, ...] = (*batch.attend, *batch.hidden)
            for term, rows in zip(self._terms, every, strict=True):
                term.add(rows, seen, batch.segments)
            self._tokens.add(batch, losses)

    def scores(self) -> Scores:
        tokens, model = self._tokens.of_tokens()
        found = self._tokens.scores()
        for term in self._terms:
            found |= term.scores()
        return Scores(self._records, tokens, model, {rule: found[rule] for rule in self._order if rule in found})
