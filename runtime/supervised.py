"""A model under a plan: what a pass computes, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import torch
from torch import Tensor, nn

from ..compiler.plan import HiddenRule, Plan
from ..dsl.codes.runtime import CLOSED, FOREIGN_BATCH
from ..dsl.diagnostics import Failure
from .accelerated import check_divided
from .adapters import Adapter, Parts, check_attention, check_contract, check_heads, locate
from .anchors import Vectors
from .batch import Batch
from .capture import Captured, Hooks
from .flow import Flow
from .gradients import check_whole
from .groups import group_rules
from .masking import check_masked
from .online import Known, Online
from .outside import Entered, around, broken, outside
from .packed import check_apart, kernel_of
from .precision import without_autocast
from .probes import Probes
from .receipts import Receipts
from .rule_losses import RuleLosses
from .schedule import Multipliers, check_ramps, multipliers
from .scores import token_measures
from .sharding import check_parted, check_wrapper
from .terms import AttendTerm, Term, hidden_term
from .token_loss import Predicted, TokenLoss
from .totals import ALONE, Losses, Reduction, Totals, all_ranks, ratio
from .weights import TokenWeights


@dataclass(frozen=True, slots=True)
class _Begun:
    """A pass before the model runs: its batch, joined with other ranks', what acts and how much, and what teachers say."""

    batch: Batch
    time: float
    scale: Multipliers
    totals: Totals
    factors: tuple[float, ...]
    taught: dict[int, Tensor]


class Supervised(nn.Module):
    """A model under a plan: see `supervise`. Its parameters are the model's and those of `probes`."""

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        anchors: Vectors,
        expected: Mapping[str, float] | None,
        records: int,
        adapter: Adapter | None,
        known: Known,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        check_wrapper(model)
        parts = locate(model, adapter, causal=plan.model.causal)
        groups = group_rules(plan)
        check_contract(model, parts, plan.model)
        check_heads(model, parts, plan.rules)
        check_ramps(plan)
        if groups.attend:
            check_attention(model, parts, plan.model, groups.attend[0].rules[0])
        self.plan = plan
        self.model = model
        hidden_rules = [rule for rule in plan.rules if isinstance(rule, HiddenRule)]
        self.probes = Probes(hidden_rules, plan.model.hidden, plan.learned)
        self._parts = (parts,)  # In a tuple, so that parts of the model are not registered a second time.
        # Before any hook: the model before training is a copy of the model.
        self._online = Online(model, plan, [group.rules for group in groups.hidden], adapter, known)
        heads = self._online.heads()
        hidden = [hidden_term(i, group, anchors, self.probes, parts, heads) for i, group in enumerate(groups.hidden)]
        attend = [AttendTerm(group) for group in groups.attend]
        self._rules = RuleLosses(attend, hidden)
        self._weighing = (*groups.weigh, *groups.keep)
        self._weights = TokenWeights(groups, token_measures(plan))
        self.probes.to(self.device)
        self._rules.to(self.device)
        self.receipts = Receipts([*self._rules.rules, *self._weighing], expected, records, self.device)
        self._hooks: Hooks | None = Hooks(model, parts, *self._rules.layers())
        self._tokens = TokenLoss(model, parts, chunk)
        # After the hooks that read hidden states, since it cuts what flows on from them.
        self.flow = Flow(model, parts, plan, self)
        self._apart: set[str] = set()  # the kernels with which the model was seen to keep packed records apart
        self._checked_ids = self._checked_parts = False

    @property
    def terms(self) -> Sequence[Term]:
        """The groups of rules, in the order of a batch's `attend` and `hidden`."""
        return self._rules.terms

    @property
    def parts(self) -> Parts:
        """Where the model keeps its blocks."""
        return self._parts[0]

    @property
    def device(self) -> torch.device:
        """Where the model's embedding is: batches are moved there."""
        return cast(Tensor, self.parts.embedding.weight).device

    @property
    def has_head(self) -> bool:
        """Whether the model gives logits, and so has a token loss."""
        return self.parts.head is not None

    # --- an optimiser step ---

    @around
    def forward(self, batch: Batch, time: float, totals: Totals | None = None) -> Losses:
        """The losses of one micro-batch at `time`, a share of the optimiser steps from 0 to 1.

        `totals`: the denominators of the whole step, from `totals`; None: this batch is the step, of every rank in training
        mode and of this rank alone otherwise. A rule whose factor is 0 is computed for the record, without a gradient. In
        training mode receipts are kept, and a dead rule stops the run. Under `torch.compile` the model alone is compiled. Fails
        with MCD703, MCD704, MCD706, MCD707, MCD710, MCD714, MCD719, MCD723, MCD724, MCD725.
        """
        begun = self._begun(batch, time, totals)
        with Entered(self.flow.passing(time)):
            seen, predicted = self._pass(begun.batch, begun.taught)
        return self._ended(begun, seen, predicted)

    @outside
    def _begun(self, batch: Batch, time: float, totals: Totals | None) -> _Begun:
        """What is known of a pass before the model runs."""
        batch = self._taken(batch)
        check_masked(self.plan, batch)
        scale = multipliers(self.plan, time)
        if totals is None:
            totals = self.totals([batch], time, reduce=None if self.training else ALONE)
        if self.training:
            check_divided(self, totals)
        batch = self._rules.joined(batch, totals.ranks)
        factors = tuple(rule.weight * scale.rules[rule.id] for rule in self._rules.rules)
        taught = self._online(batch, {r.id for r, f in zip(self._rules.rules, factors, strict=True) if f}, self.device)
        return _Begun(batch, time, scale, totals, factors, taught)

    @outside
    def _ended(self, begun: _Begun, seen: Captured, predicted: Predicted) -> Losses:
        """The losses of a pass, from what the model left."""
        batch, scale, totals, factors = begun.batch, begun.scale, begun.totals, begun.factors
        awake = self._rules.awake(factors, self.flow.depth(begun.time), begun.taught)
        every = [True] * len(self._weighing)
        self.receipts.hear([*self._rules.heard(seen), *every], [*awake, *every])
        early = self._weights(batch, scale) if self._weights.fixed(scale) else None
        losses = self._tokens.losses(predicted, batch, batch.scored if early is None else early.weights > 0)
        with without_autocast(self.device):
            sums, reaching = self._rules.sums(batch, seen, factors, awake)
            values = ratio(sums, totals.rules)
            weighed = self._weights(batch, scale, losses.detach()) if early is None else early
            token = ratio((losses * weighed.weights).sum(), totals.token_weight(weighed.weights))
            acting = (values * values.new_tensor(factors)).sum() + self._idle_probes(factors)
        counts, shares = self._counts(batch), self._rules.shares(batch)
        if not all(awake):
            counts, shares = counts * counts.new_tensor([*awake, *every]), shares * shares.new_tensor(awake)
        if self.training:
            self.receipts.add(len(batch.ids), counts, sums, shares, weighed.ranked, weighed.kept)
            if torch.is_grad_enabled():
                weighing = [bool(scale.token and scale.rules[rule.id]) for rule in self._weighing]
                on = [bool(factor) and up for factor, up in zip(factors, awake, strict=True)]
                self.receipts.reach(
                    [*on, *weighing], [*reaching, *[token.requires_grad] * len(every)], self.flow.limited
                )
            self.receipts.check()
        times = totals.ranks * totals.divided
        loss = self.flow.total(scale.token * token * times, acting * times, totals)
        kept = (weighed.ranked, weighed.kept)
        return Losses(loss, token, values, factors, counts, *kept, tuple(self.receipts), predicted.logits)

    def totals(self, batches: Iterable[Batch], time: float, reduce: Reduction | None = None) -> Totals:
        """The denominators of an optimiser step over `batches`, all its micro-batches on this rank, at `time`.

        Given to the call of each micro-batch, they make 4 micro-batches give the gradients of one batch: the losses add up, so do
        not divide them by their number. `reduce`: None for every rank of torch.distributed, where that is initialised.

        Where weights depend on the losses of tokens (`live.loss`), their sum is found by a forward pass without a gradient over
        each micro-batch, which draws the random numbers that the passes to come will draw; a step of one micro-batch needs none.
        Fails with MCD742 where FSDP keeps parameters in parts, which no pass outside of the wrapper gathers.
        """
        reduce = all_ranks() if reduce is None else reduce
        scale = multipliers(self.plan, time)
        found = list(batches)
        foreseen = self._weights.foreseen(scale)
        known = foreseen or len(found) > 1
        if known and not foreseen:
            check_whole("live.loss over several micro-batches", self)
        tokens, rules = torch.zeros((), device=self.device), torch.zeros(len(self._rules.rules), device=self.device)
        with torch.no_grad(), nullcontext() if foreseen else self._same_draws():
            for batch in found:
                self._check_packed(batch)
                moved = self._rules.joined(batch.to(self.device), reduce.ranks)
                rules = rules + self._rules.shares(moved)
                if known:
                    losses = None if foreseen else self._losses_of(moved, time)
                    tokens = tokens + self._weights(moved, scale, losses).weights.sum()
        sums = reduce.sum(torch.cat([tokens.view(1), rules]))
        return Totals(sums[0] if known else None, sums[1:], reduce.ranks, reduce, len(found))

    def _losses_of(self, batch: Batch, time: float) -> Tensor:
        """The loss of every token by a pass of its own: [B, T]."""
        with self.flow.passing(time):
            predicted = self._tokens.run(self.model, batch)
        return self._tokens.losses(predicted, batch, batch.scored)

    def _same_draws(self) -> AbstractContextManager[None]:
        """Within it, random numbers are drawn that will be drawn again after it."""
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def rows_of(self, batch: Batch) -> dict[str, int]:
        """Rows of each rule in a batch, `weigh` and `keep` rules last. Waits for the device, if the batch is on it."""
        batch = batch.to(self.device)
        return dict(zip(self.receipts, self._counts(batch).tolist(), strict=True))

    def observe(self, batch: Batch) -> tuple[Batch, Captured, Tensor]:
        """A forward pass for other numbers than losses of rules: the batch where the model is, what it left for the terms, and
        the loss of every token [B, T]. Fails with MCD704 and MCD710."""
        batch = self._taken(batch)
        seen, predicted = self._pass(batch, self._online(batch, {rule.id for rule in self._rules.rules}, self.device))
        return batch, seen, self._tokens.losses(predicted, batch, batch.scored)

    def gradient_norms(self, losses: Losses) -> dict[str, float]:
        """The norm, over all trainable parameters, of the gradient of each rule's weight x multiplier x loss, and of `token`.

        One backward pass per rule: for now and then, not for every step. The graph is kept, so that `backward` can follow. The
        norms of rules are noted in `receipts`. Fails with MCD742 under FSDP.
        """
        check_whole("gradient_norms", self)
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]

        def norm(value: Tensor) -> float:
            found = torch.autograd.grad(value, trained, retain_graph=True, allow_unused=True)
            return float(torch.stack([g.float().norm() for g in found if g is not None]).norm())

        terms = zip(losses.rules.items(), losses.factors, strict=True)
        norms = {rule: norm(value * factor) if factor else 0.0 for (rule, value), factor in terms}
        self.receipts.note_norms(norms)
        return {"token": norm(losses.token), **norms}

    # --- keeping and ending ---

    def save_probes(self, path: str | Path) -> None:
        """Writes the probes as safetensors. The model itself is saved as always."""
        self.probes.save(Path(path))

    def load_probes(self, path: str | Path) -> None:
        """Reads what `save_probes` wrote. Fails with MCD709 where the file's probes are not those of the plan."""
        self.probes.load(Path(path))

    def close(self) -> None:
        """Takes every hook off. The model is as it was; this object computes no more."""
        if self._hooks is not None:
            self._hooks.close()
            self._hooks = None
            self.flow.close()
            self._tokens.close()
            self._online.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- parts of a step ---

    def _taken(self, batch: Batch) -> Batch:
        """A batch that fits, on the model's device."""
        if self._hooks is None:
            raise Failure(CLOSED.at(None, "this supervision was closed", help="call `supervise` again"))
        if not self._checked_parts:
            check_parted(self, self.model, self.parts, self.probes)
            self._checked_parts = True
        self._check(batch)
        self._check_packed(batch)
        return batch.to(self.device)

    @around
    def _pass(self, batch: Batch, taught: dict[int, Tensor]) -> tuple[Captured, Predicted]:
        """What the model leaves for the terms, beside what teachers did, and for the token loss."""
        assert self._hooks is not None, "`_taken` looks"
        with Entered(self._hooks.listen(self._rules.requests(batch))) as seen, broken():
            predicted = self._tokens.run(self.model, batch)
        return _with(seen, taught), predicted

    def _counts(self, batch: Batch) -> Tensor:
        """Rows of each rule, weigh and keep rules last: [rules + weigh and keep rules] int64."""
        return torch.cat([self._rules.counts(batch), self._weights.counts(batch)])

    def _idle_probes(self, factors: Sequence[float]) -> Tensor:
        """A zero that every learned anchor is connected to, and every probe whose rule has factor 0: DDP waits for the gradient
        of each parameter."""
        idle = {rule.id for rule, factor in zip(self._rules.rules, factors, strict=True) if not factor}
        parameters = self.probes.parameters_of(idle)
        parameters += self.probes.anchors.values()  # several rules may read one, so that nobody says when it is idle
        return torch.stack([torch.zeros((), device=self.device), *(0 * p.sum() for p in parameters)]).sum()

    def _check_packed(self, batch: Batch) -> None:
        """Fails with MCD729 where the batch is packed and the model does not keep records apart."""
        kernel = kernel_of(self.model)
        if batch.document is None or kernel in self._apart:
            return
        check_apart(self.model, lambda rows: self.parts.logits(self.model, rows), self.plan.model.vocab, self.device)
        self._apart.add(kernel)

    def _check(self, batch: Batch) -> None:
        """Fails with MCD704 where the batch was collated for another plan, or holds ids outside the vocabulary."""
        self._rules.check(batch)
        # A batch that is on an accelerator would have to be waited for: there the first one answers for all.
        if batch.input_ids.device.type == "cpu" or not self._checked_ids:
            read = batch.input_ids if batch.labels is None else torch.stack([batch.input_ids, batch.labels])
            largest, vocab = int(read.max()), self.plan.model.vocab
            if largest >= vocab:
                message = f"the batch has token id {largest}, the model has a vocabulary of {vocab}"
                raise Failure(FOREIGN_BATCH.at(None, message, help="were the shards made with the model's tokenizer?"))
            self._checked_ids = True


@outside
def _with(seen: Captured, taught: dict[int, Tensor]) -> Captured:
    return replace(seen, taught=taught)
