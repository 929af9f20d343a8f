"""The losses of rules on attention and hidden states, from what a pass left behind: sums, shares and rows by rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..compiler.plan import AttendPlan, HiddenRule, deepest
from ..dsl.checked import Layer
from ..dsl.codes.runtime import FOREIGN_BATCH
from ..dsl.diagnostics import Failure
from .batch import AttendRows, Batch, HiddenRows
from .capture import Captured, Request, requests
from .online import taught_by
from .terms import AttendTerm, HiddenTerm, Term, by_rule, count


class RuleLosses(nn.Module):
    """The terms of a plan's groups, in the order of a batch's `attend` and `hidden`, and `rules`, every rule of theirs."""

    def __init__(self, attend: Sequence[AttendTerm], hidden: Sequence[HiddenTerm]) -> None:
        super().__init__()
        self._terms = nn.ModuleList([*attend, *hidden])
        self._hidden = tuple(hidden)  # A tuple, so that they are not registered a second time.
        self.rules: tuple[AttendPlan | HiddenRule, ...] = tuple(rule for term in self.terms for rule in term.rules)

    @property
    def terms(self) -> Sequence[Term]:
        """Attention first."""
        return cast(Sequence[Term], self._terms)

    def check(self, batch: Batch) -> None:
        """Fails with MCD704 where the batch was collated for another plan."""
        found = (len(batch.attend), len(batch.hidden))
        wanted = (len(self.terms) - len(self._hidden), len(self._hidden))
        if found != wanted:
            message = f"the plan has {wanted[0]} attention and {wanted[1]} hidden groups, the batch has {found[0]} and {found[1]}"
            raise Failure(FOREIGN_BATCH.at(None, message, help="collate it with the plan given to `supervise`"))

    def layers(self) -> tuple[set[int], list[Layer]]:
        """The layers whose attention some rule reads, and those whose hidden states."""
        attend = {layer for term in self.terms if isinstance(term, AttendTerm) for layer in term.layers}
        return attend, list(dict.fromkeys(layer for term in self._hidden for layer in term.layers))

    def requests(self, batch: Batch) -> Mapping[Layer, Request]:
        """The tokens whose hidden states the batch asks for."""
        return requests([term.layers for term in self._hidden], batch.hidden)

    def joined(self, batch: Batch, ranks: int) -> Batch:
        """The batch with what its rules read of other ranks."""
        if ranks == 1 or not torch.distributed.is_initialized():
            return batch
        pairs = zip(self._hidden, batch.hidden, strict=True)
        return replace(batch, hidden=tuple(term.joined(rows, batch.document) for term, rows in pairs))

    def awake(self, factors: Sequence[float], depth: int, taught: Mapping[int, Tensor]) -> list[bool]:
        """Whether what each rule reads runs at all: not where it lies above `depth` and the rule has factor 0, nor where a
        teacher that it needs is not in `taught`: that runs if any rule asks for it."""
        there = [
            not isinstance(term, HiddenTerm) or taught_by(rule) is None or term.reader in taught
            for term in self.terms
            for rule in cast(Sequence[HiddenRule], term.rules)
        ]
        running = (bool(factor) or deepest(rule) <= depth for factor, rule in zip(factors, self.rules, strict=True))
        return [all(both) for both in zip(running, there, strict=True)]

    def heard(self, seen: Captured) -> list[bool]:
        """Of each rule, whether the model computed everything that it reads."""
        return [term.heard(seen) for term in self.terms for _ in term.rules]

    def sums(self, batch: Batch, seen: Captured, factors: Sequence[float], awake: Sequence[bool]) -> Tensor:
        """Sum of share x loss of each rule: [rules]. A group of which every factor is 0 leaves no graph."""
        device = batch.input_ids.device
        sums = [torch.zeros(0, device=device)]
        done = 0
        for term, rows in self._rows(batch):
            mine = slice(done, done + len(term.rules))
            done = mine.stop
            if not any(awake[mine]):
                sums.append(torch.zeros(len(term.rules), device=device))
                continue
            with torch.set_grad_enabled(any(factors[mine]) and torch.is_grad_enabled()):
                losses = term(rows, seen, batch.segments)
                sums.append(by_rule(term, rows, losses * rows.share.flatten()))
        return torch.cat(sums)

    def shares(self, batch: Batch) -> Tensor:
        """Sum of shares of each rule: [rules]."""
        sums = [by_rule(term, rows, rows.share.float()) for term, rows in self._rows(batch)]
        return torch.cat([torch.zeros(0, device=batch.input_ids.device), *sums])

    def counts(self, batch: Batch) -> Tensor:
        """Rows of each rule: [rules] int64."""
        nothing = torch.zeros(0, dtype=torch.int64, device=batch.input_ids.device)
        return torch.cat([nothing, *(count(term, rows) for term, rows in self._rows(batch))])

    def _rows(self, batch: Batch) -> Iterator[tuple[Term, AttendRows | HiddenRows]]:
        pairs: Any = zip(self.terms, (*batch.attend, *batch.hidden), strict=True)
        return cast(Iterator[tuple[Term, AttendRows | HiddenRows]], pairs)
