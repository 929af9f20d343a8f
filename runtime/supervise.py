"""`supervise(model, program)`: a model that gives a loss per rule beside its token loss.

    supervised = supervise(model, plan, anchors=anchors)
    optimizer = AdamW(supervised.parameters())
    for step, batch in enumerate(batches):
        out = supervised(batch, time=step / steps)
        out.loss.backward()

The model's forward pass, parameters and state dict stay what they were. Between passes nothing of it differs but hooks that do
nothing, and `close` takes those off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..compiler.manifest import Manifest
from ..compiler.plan import AttendPlan, Contract, HiddenRule, KeepPlan, Plan, RulePlan, WeighPlan, deepest
from ..dsl.codes.runtime import CLOSED, FOREIGN_BATCH, UNSUPPORTED_ATTENTION
from ..dsl.diagnostics import Failure
from ..dsl.source import DataPlace
from .adapters import Adapter, check_attention, check_contract, locate
from .anchors import Vectors
from .batch import AttendRows, Batch, HiddenRows
from .capture import Captured, Hooks, requests
from .flow import Flow
from .groups import AttendGroup, group_rules
from .losses.token import token_losses
from .online import Known, Online, taught_by
from .precision import without_autocast
from .probes import Probes
from .receipts import Receipts
from .schedule import check_ramps, multipliers
from .scores import token_measures
from .teachers import GivenTeachers
from .terms import AttendTerm, HiddenTerm, Term, by_rule, count, hidden_term
from .totals import ALONE, Losses, Reduction, Totals, all_ranks, ratio
from .weights import TokenWeights


class Program(Protocol):
    """What a compiled directory gives: the plan, its anchors by name, and the manifest."""

    @property
    def plan(self) -> Plan: ...
    @property
    def anchors(self) -> Mapping[str, np.ndarray[Any, Any]]: ...
    @property
    def manifest(self) -> Manifest: ...


def supervise(
    model: nn.Module,
    program: Plan | Program,
    *,
    anchors: Vectors | None = None,
    expected: Mapping[str, float] | None = None,
    records: int = 0,
    split: str = "train",
    adapter: Adapter | None = None,
    teachers: GivenTeachers | None = None,
) -> Supervised:
    """Attaches a plan to a model.

    `program`: a plan, or what holds one with its anchors and manifest, which then stand for what is left out. `anchors`: by name,
    each of the model's width. `expected`: the rows per rule that the manifest promises in the `records` records of `split`; a
    rule of which none comes stops the run. `adapter`: for models that `adapters.ADAPTERS` does not know. `teachers`: models,
    or their folders, for teachers that run online; the others are looked for where the plan says. A teacher that is the model
    before training is a copy of the model as it is now.

    Fails with MCD701 where the model's numbers are not the plan's, with MCD702 or MCD703 where the model is not supported, with
    MCD705 for an anchor that is missing or of another width, with MCD708 for a ramp that cannot be followed, with MCD720, MCD721
    or MCD722 for a teacher that cannot be loaded, is missing or has changed.
    """
    known = Known(teachers or {}, getattr(program, "path", None), getattr(program, "manifest", None))
    if isinstance(program, Plan):
        return Supervised(model, program, anchors or {}, expected, records, adapter, known)
    manifest = program.manifest
    if expected is None:
        expected = {rule.id: _promised(rule, manifest, split) for rule in program.plan.rules}
        records = sum(shard.records for shard in manifest.shards if shard.split == split)
    vectors = program.anchors if anchors is None else anchors
    return Supervised(model, program.plan, vectors, expected, records, adapter, known)


def _promised(rule: RulePlan, manifest: Manifest, split: str) -> int:
    """How many records promise a row: rows may crowd in a few of them, of which the first to come tell nothing.

    A `weigh` or `keep` rule has no row at a record's first token, which has no loss: each of its records may lose one.
    """
    counts = manifest.rules[rule.id].splits.get(split) if rule.id in manifest.rules else None
    if counts is None:
        return 0
    rows, records = counts.get("rows", 0), manifest.records[split] - counts.get("unmatched", 0)
    return min(rows - records if isinstance(rule, WeighPlan | KeepPlan) else rows, records)


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
    ) -> None:
        super().__init__()
        parts = locate(model, adapter)
        groups = group_rules(plan)
        check_contract(model, parts, plan.model)
        check_ramps(plan)
        if groups.attend:
            _check_attention(model, bool(parts.attention), groups.attend[0], plan.model)
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
        self._terms = nn.ModuleList([*attend, *hidden])
        self._weighing = (*groups.weigh, *groups.keep)
        self._weights = TokenWeights(groups, token_measures(plan))
        self._acting: list[AttendPlan | HiddenRule] = [rule for term in self.terms for rule in term.rules]
        self.probes.to(self.device)
        self._terms.to(self.device)
        self.receipts = Receipts([*self._acting, *self._weighing], expected, records, self.device)
        layers = dict.fromkeys(layer for term in hidden for layer in term.layers)
        self._hooks: Hooks | None = Hooks(model, parts, {layer for term in attend for layer in term.layers}, layers)
        # After the hooks that read hidden states, since it cuts what flows on from them.
        self.flow = Flow(model, parts, plan, self)
        self._checked_ids = False

    @property
    def terms(self) -> Sequence[Term]:
        """The groups of rules, in the order of a batch's `attend` and `hidden`."""
        return cast(Sequence[Term], self._terms)

    @property
    def device(self) -> torch.device:
        """Where the model's embedding is: batches are moved there."""
        return cast(Tensor, self._parts[0].embedding.weight).device

    # --- an optimiser step ---

    def forward(self, batch: Batch, time: float, totals: Totals | None = None) -> Losses:
        """The losses of one micro-batch at `time`, a share of the optimiser steps from 0 to 1.

        `totals`: the denominators of the whole step, from `totals`; None: this batch is the step, of every rank in training
        mode and of this rank alone otherwise. A rule whose factor is 0 is computed for the record, without a gradient. In
        training mode receipts are kept, and a dead rule stops the run. Fails with MCD703, MCD704, MCD706, MCD707, MCD710.
        """
        batch = self._taken(batch)
        scale = multipliers(self.plan, time)
        if totals is None:
            totals = self.totals([batch], time, reduce=None if self.training else ALONE)
        batch = self._joined(batch, totals.ranks)
        factors = tuple(rule.weight * scale.rules[rule.id] for rule in self._acting)
        taught = self._online(batch, {r.id for r, f in zip(self._acting, factors, strict=True) if f}, self.device)
        with self.flow.passing(time):
            seen, logits = self._pass(batch, taught)
        awake = self._awake(factors, self.flow.depth(time), taught)
        every = [True] * len(self._weighing)
        self.receipts.hear([t.heard(seen) for t in self.terms for _ in t.rules] + every, [*awake, *every])
        with without_autocast(self.device):
            sums = self._sums(batch, seen, factors, awake)
            values = ratio(sums, totals.rules)
            losses = token_losses(logits, batch.input_ids)
            weighed = self._weights(batch, scale, losses.detach())
            token = ratio((losses * weighed.weights).sum(), totals.token_weight(weighed.weights))
            acting = (values * values.new_tensor(factors)).sum() + self._idle_probes(factors)
        counts, shares = self._counts(batch), self._shares(batch)
        if not all(awake):
            counts, shares = counts * counts.new_tensor([*awake, *every]), shares * shares.new_tensor(awake)
        if self.training:
            self.receipts.add(len(batch.ids), counts, sums, shares, weighed.ranked, weighed.kept)
            self.receipts.check()
        loss = self.flow.total(scale.token * token * totals.ranks, acting * totals.ranks, totals)
        kept = (weighed.ranked, weighed.kept)
        return Losses(loss, token, values, factors, counts, *kept, tuple(self.receipts), logits)

    def totals(self, batches: Iterable[Batch], time: float, reduce: Reduction | None = None) -> Totals:
        """The denominators of an optimiser step over `batches`, all its micro-batches on this rank, at `time`.

        Given to the call of each micro-batch, they make 4 micro-batches give the gradients of one batch: the losses add up, so do
        not divide them by their number. `reduce`: None for every rank of torch.distributed, where that is initialised.

        Where weights depend on the losses of tokens (`live.loss`), their sum is found by a forward pass without a gradient over
        each micro-batch, which draws the random numbers that the passes to come will draw; a step of one micro-batch needs none.
        """
        reduce = all_ranks() if reduce is None else reduce
        scale = multipliers(self.plan, time)
        found = list(batches)
        foreseen = self._weights.foreseen(scale)
        known = foreseen or len(found) > 1
        tokens, rules = torch.zeros((), device=self.device), torch.zeros(len(self._acting), device=self.device)
        with torch.no_grad(), nullcontext() if foreseen else self._same_draws():
            for batch in found:
                moved = self._joined(batch.to(self.device), reduce.ranks)
                rules = rules + self._shares(moved)
                if known:
                    losses = None if foreseen else self._losses_of(moved, time)
                    tokens = tokens + self._weights(moved, scale, losses).weights.sum()
        sums = reduce.sum(torch.cat([tokens.view(1), rules]))
        return Totals(sums[0] if known else None, sums[1:], reduce.ranks, reduce, len(found))

    def _losses_of(self, batch: Batch, time: float) -> Tensor:
        """The loss of every token by a pass of its own: [B, T]."""
        with self.flow.passing(time):
            logits = self._parts[0].logits(self.model, batch)
        with without_autocast(self.device):
            return token_losses(logits, batch.input_ids)

    def _same_draws(self) -> AbstractContextManager[None]:
        """Within it, random numbers are drawn that will be drawn again after it."""
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def observe(self, batch: Batch) -> tuple[Batch, Captured, Tensor]:
        """A forward pass for other numbers than losses: the batch where the model is, what it left for the terms, and its logits
        [B, T, V]. Fails with MCD704 and MCD710."""
        batch = self._taken(batch)
        return batch, *self._pass(batch, self._online(batch, {rule.id for rule in self._acting}, self.device))

    def gradient_norms(self, losses: Losses) -> dict[str, float]:
        """The norm, over all trainable parameters, of the gradient of each rule's weight x multiplier x loss, and of `token`.

        One backward pass per rule: for now and then, not for every step. The graph is kept, so that `backward` can follow. The
        norms of rules are noted in `receipts`.
        """
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
        self._check(batch)
        return batch.to(self.device)

    def _pass(self, batch: Batch, taught: dict[int, Tensor]) -> tuple[Captured, Tensor]:
        """What the model leaves for the terms, beside what teachers did, and its logits."""
        assert self._hooks is not None, "`_taken` looks"
        with self._hooks.listen(self._requests(batch)) as seen:
            logits = self._parts[0].logits(self.model, batch)
        return replace(seen, taught=taught), logits

    def _rows(self, batch: Batch) -> Iterator[tuple[Term, AttendRows | HiddenRows]]:
        return zip(self.terms, (*batch.attend, *batch.hidden), strict=True)

    def _joined(self, batch: Batch, ranks: int) -> Batch:
        """The batch with what its rules read of other ranks."""
        if ranks == 1 or not torch.distributed.is_initialized():
            return batch
        pairs = zip((term for term in self.terms if isinstance(term, HiddenTerm)), batch.hidden, strict=True)
        return replace(batch, hidden=tuple(term.joined(rows) for term, rows in pairs))

    def _requests(self, batch: Batch) -> Mapping[Any, Any]:
        return requests([term.layers for term in self.terms if isinstance(term, HiddenTerm)], batch.hidden)

    def _awake(self, factors: Sequence[float], depth: int, taught: Mapping[int, Tensor]) -> list[bool]:
        """Whether what each acting rule reads runs at all: not where it lies above `depth` and the rule has factor 0, nor where a
        teacher that it needs is not in `taught`: that runs if any rule asks for it."""
        there = [
            not isinstance(term, HiddenTerm) or taught_by(rule) is None or term.reader in taught
            for term in self.terms
            for rule in cast(Sequence[HiddenRule], term.rules)
        ]
        running = (bool(factor) or deepest(rule) <= depth for factor, rule in zip(factors, self._acting, strict=True))
        return [all(both) for both in zip(running, there, strict=True)]

    def _sums(self, batch: Batch, seen: Captured, factors: Sequence[float], awake: Sequence[bool]) -> Tensor:
        """Sum of share x loss of each acting rule: [rules]. A group of which every factor is 0 leaves no graph."""
        sums = [torch.zeros(0, device=self.device)]
        done = 0
        for term, rows in self._rows(batch):
            mine = slice(done, done + len(term.rules))
            done = mine.stop
            if not any(awake[mine]):
                sums.append(torch.zeros(len(term.rules), device=self.device))
                continue
            with torch.set_grad_enabled(any(factors[mine]) and torch.is_grad_enabled()):
                losses = term(rows, seen, batch.attention_mask)
                sums.append(by_rule(term, rows, losses * rows.share.flatten()))
        return torch.cat(sums)

    def _shares(self, batch: Batch) -> Tensor:
        """Sum of shares of each acting rule: [rules]."""
        sums = [by_rule(term, rows, rows.share.float()) for term, rows in self._rows(batch)]
        return torch.cat([torch.zeros(0, device=self.device), *sums])

    def _counts(self, batch: Batch) -> Tensor:
        """Rows of each rule, weigh and keep rules last: [rules + weigh and keep rules] int64."""
        rule = torch.cat([batch.weigh.rule, batch.keep.rule + self._weights.weighs])
        weighing = torch.zeros(len(self._weighing), dtype=torch.int64, device=self.device)
        weighing = weighing.index_add(0, rule, torch.ones_like(rule))
        return torch.cat([*(count(term, rows) for term, rows in self._rows(batch)), weighing])

    def _idle_probes(self, factors: Sequence[float]) -> Tensor:
        """A zero that every learned anchor is connected to, and every probe whose rule has factor 0: DDP waits for the gradient
        of each parameter."""
        idle = {rule.id for rule, factor in zip(self._acting, factors, strict=True) if not factor}
        parameters = self.probes.parameters_of(idle)
        parameters += self.probes.anchors.values()  # several rules may read one, so that nobody says when it is idle
        return torch.stack([torch.zeros((), device=self.device), *(0 * p.sum() for p in parameters)]).sum()

    def _check(self, batch: Batch) -> None:
        """Fails with MCD704 where the batch was collated for another plan, or holds ids outside the vocabulary."""
        found = (len(batch.attend), len(batch.hidden))
        hidden = sum(isinstance(term, HiddenTerm) for term in self.terms)
        wanted = (len(self.terms) - hidden, hidden)
        if found != wanted:
            message = f"the plan has {wanted[0]} attention and {wanted[1]} hidden groups, the batch has {found[0]} and {found[1]}"
            raise Failure(FOREIGN_BATCH.at(None, message, help="collate it with the plan given to `supervise`"))
        # A batch that is on an accelerator would have to be waited for: there the first one answers for all.
        if batch.input_ids.device.type == "cpu" or not self._checked_ids:
            largest, vocab = int(batch.input_ids.max()), self.plan.model.vocab
            if largest >= vocab:
                message = f"the batch has token id {largest}, the model has a vocabulary of {vocab}"
                raise Failure(FOREIGN_BATCH.at(None, message, help="were the shards made with the model's tokenizer?"))
            self._checked_ids = True


def _check_attention(model: nn.Module, found: bool, group: AttendGroup, contract: Contract) -> None:
    """Fails with MCD701 or MCD703 where attention rows cannot be had from the model as the plan takes it."""
    if not found:
        rule = group.rules[0]
        message = (
            f"rule `{rule.id}` reads attention, and the adapter of `{type(model).__name__}` does not say where it is"
        )
        help = "give the adapter `attention=`, a path below a block, and call `attention.observe` in it"
        raise Failure(UNSUPPORTED_ATTENTION.at(DataPlace(rule.line.file, rule.line.line), message, help=help))
    check_attention(model, contract)
