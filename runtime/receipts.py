"""Receipts: what each rule has done so far, and whether it did anything at all.

Sums stay on the model's device. The host waits for them when someone reads a receipt, and once per rule that is due: a rule is
due when the records seen promise `PROMISE` rows of it, and is never looked at again once a row has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compiler.plan import KeepPlan, RuleBase
from ..dsl.codes.runtime import DEAD_RULE, DETACHED, RECEIPTS
from ..dsl.diagnostics import Diagnostic, Failure
from ..dsl.source import DataPlace
from .totals import all_ranks

PROMISE = 20
"""Rows that a rule must have been promised before their absence means something."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One rule so far. `steps`: passes in training mode; `rows`: rows matched in them; `fired`: its hooks ran in the last pass.

    `last_loss`: the mean over the rows of the last pass, None without rows; `mean_loss`: over all rows so far; both None for a
    `weigh` or `keep` rule, which has none. `gradient_norm`: as last measured by `gradient_norms`. `ranked`, `kept`: tokens of a
    positive weight that a `keep` rule ranked, and those of them that it kept; None for other rules.

    `seen`: passes in which it had rows. `acted`: those of them in which, too, its factor was not 0 and its loss depended on a
    parameter that is trained: in which it changed something. `detached`: passes with a gradient in which its factor was not 0 and
    its loss depended on none.
    """

    rule: str
    steps: int
    rows: int
    fired: bool
    last_loss: float | None
    mean_loss: float | None
    gradient_norm: float | None
    ranked: int | None = None
    kept: int | None = None
    seen: int = 0
    acted: int = 0
    detached: int = 0


class Receipts(Mapping[str, Receipt]):
    """The receipts of all rules, by id, in the order of `rules`: those that have a loss first.

    `expected`: rows per rule that the manifest promises in `records` records; rules without an entry are promised none.
    """

    def __init__(
        self, rules: Sequence[RuleBase], expected: Mapping[str, float] | None, records: int, device: torch.device
    ) -> None:
        self._rules = list(rules)
        self._index = {rule.id: i for i, rule in enumerate(self._rules)}
        self._fired = [False] * len(self._rules)
        self._awake = [True] * len(self._rules)
        self._asleep: dict[str, int] = {}  # records that passed while a rule's layers did not run
        self._norms: dict[str, float] = {}
        promised = {rule: rows for rule, rows in (expected or {}).items() if rule in self._index and rows >= PROMISE}
        self._pending = promised if records > 0 else {}
        self._records = records
        self._seen = 0
        self._steps = 0
        precise = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(2, len(self._rules), dtype=precise, device=device)  # share x loss; share
        self._last = torch.zeros_like(self._sums)
        self._rows = torch.zeros(len(self._rules), dtype=torch.int64, device=device)
        self._keeps = [rule.id for rule in self._rules if isinstance(rule, KeepPlan)]
        self._kept = torch.zeros(2, len(self._keeps), dtype=torch.int64, device=device)  # ranked; kept
        self._passes = torch.zeros(
            2, len(self._rules), dtype=torch.int64, device=device
        )  # with rows; in which it acted
        self._present = self._passes[0].bool()  # of the last pass
        self._detached = [0] * len(self._rules)
        self._mask: tuple[tuple[bool, ...], Tensor] | None = None

    def hear(self, fired: Sequence[bool], awake: Sequence[bool] | None = None) -> None:
        """Notes whose hooks ran in this pass. Fails with MCD706 where one did not, but for rules that are not `awake`: what they
        read does not run in this stage, and the records of the pass promise no row of them."""
        self._fired = list(fired)
        self._awake = [True] * len(self._rules) if awake is None else list(awake)
        silent = self._silent()
        if silent:
            raise Failure(*silent)

    def _silent(self) -> list[Diagnostic]:
        found = zip(self._rules, self._fired, self._awake, strict=True)
        return [_unheard(rule) for rule, fired, awake in found if awake and not fired]

    def add(
        self,
        records: int,
        rows: Tensor,
        losses: Tensor,
        shares: Tensor,
        ranked: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> None:
        """Adds a pass over `records` records: `rows` [rules], sums of share x loss and of share [rules that have a loss], and the
        tokens that were `ranked` and `kept` [keep rules]."""
        self._steps += 1
        self._seen += records
        for rule, awake in zip(self._rules, self._awake, strict=True):
            if not awake:
                self._asleep[rule.id] = self._asleep.get(rule.id, 0) + records
        self._sums, self._rows = self._sums.to(losses.device), self._rows.to(losses.device)  # The model may have moved.
        self._last = torch.zeros_like(self._sums)
        self._last[:, : len(losses)] = torch.stack([losses.detach(), shares.to(losses.dtype)])
        self._sums = self._sums + self._last
        self._rows = self._rows + rows.to(self._rows)
        self._present = rows > 0
        self._passes = self._passes.to(losses.device)
        self._passes = torch.stack([self._passes[0] + self._present, self._passes[1]])
        if ranked is not None and kept is not None:
            self._kept = self._kept.to(losses.device) + torch.stack([ranked, kept])

    def reach(self, acting: Sequence[bool], reaching: Sequence[bool], limited: bool) -> None:
        """Notes, of a pass with a gradient that was added, whose factor is not 0 (`acting`), and whose loss depends on
        a parameter that is trained (`reaching`). Fails with MCD725 where a rule acts on none, unless the plan itself cuts it off:
        `limited`."""
        acted = tuple(on and far for on, far in zip(acting, reaching, strict=True))
        if self._mask is None or self._mask[0] != acted or self._mask[1].device != self._present.device:
            self._mask = acted, torch.tensor(acted, dtype=torch.bool, device=self._present.device)
        self._passes = torch.stack([self._passes[0], self._passes[1] + (self._present & self._mask[1])])
        lost = [on and not far for on, far in zip(acting, reaching, strict=True)]
        self._detached = [count + off for count, off in zip(self._detached, lost, strict=True)]
        if any(lost) and not limited:
            raise Failure(*(_detached(rule) for rule, off in zip(self._rules, lost, strict=True) if off))

    def note_norms(self, norms: Mapping[str, float]) -> None:
        """Keeps gradient norms for the receipts."""
        self._norms.update({rule: norm for rule, norm in norms.items() if rule in self._index})

    def check(self) -> None:
        """Fails with MCD706, naming every rule that is dead by now.

        A rule is dead if a hook of it did not run in the last pass, or if no row of it has come although the records seen so far
        were promised at least `PROMISE` (as many of the split's rows as their share of its records). Cheap enough for every step.
        """
        dead = [] if self._steps == 0 else self._silent()
        due = [rule for rule in self._pending if self._promised(rule) >= PROMISE]
        if due:
            rows = self._rows.tolist()
            dead += [self._missing(rule) for rule in due if not rows[self._index[rule]]]
            for rule in due:
                if rows[self._index[rule]]:
                    del self._pending[rule]
        if dead:
            raise Failure(*dead)

    def _promised(self, rule: str) -> float:
        seen = self._seen - self._asleep.get(rule, 0)
        return self._pending[rule] * min(seen / self._records, 1.0)

    def _missing(self, rule: str) -> Diagnostic:
        return _dead(
            self._rules[self._index[rule]],
            f"no row of it came in {self._seen} records, for which the manifest promises about {self._promised(rule):.0f}",
        )

    def __getitem__(self, rule: str) -> Receipt:
        return next(self._read([self._index[rule]]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._rules)

    def all(self) -> list[Receipt]:
        """Every receipt of this rank, waiting for the device."""
        return list(self._read(range(len(self._rules))))

    def of_all_ranks(self) -> list[Receipt]:
        """Every receipt, passes, rows and losses added up over the ranks of torch.distributed, all of which have to call this. A
        rule has fired if it did on every rank; gradient norms are this rank's."""
        return list(self._read(range(len(self._rules)), self.state_dict(over_ranks=True)))

    def state_dict(self, *, over_ranks: bool = False) -> dict[str, Any]:
        """What the receipts hold, as plain values. `over_ranks`: added up over all ranks, all of which have to call this; one of
        them loads it to go on, and the others begin at nothing."""
        counts = torch.cat([self._rows, self._passes.flatten(), self._kept.flatten()])
        numbers = torch.cat([self._sums.flatten(), self._last.flatten()])
        asleep = [self._asleep.get(rule, 0) for rule in self._index]
        here = torch.tensor([self._steps, self._seen, *asleep, *self._detached], device=counts.device)
        silent = torch.tensor([not fired for fired in self._fired], dtype=torch.int64, device=counts.device)
        if over_ranks:
            total = all_ranks().sum
            counts, numbers, here, silent = (total(each.clone()) for each in (counts, numbers, here, silent))
        rules = len(self._rules)
        steps, seen, *rest = here.tolist()
        rows, *passes = counts[: 3 * rules].view(3, rules).tolist()
        return {
            "rules": list(self._index),
            "steps": steps,
            "records": seen,
            "asleep": rest[:rules],
            "detached": rest[rules:],
            "fired": [not count for count in silent.tolist()],
            "rows": rows,
            "passes": passes,
            "kept": counts[3 * rules :].view(2, -1).tolist(),
            "sums": numbers[: 2 * rules].view(2, rules).tolist(),
            "last": numbers[2 * rules :].view(2, rules).tolist(),
            "norms": dict(self._norms),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken. Fails with MCD726 where that is not of these rules, changing nothing."""
        rules, found = list(self._index), state.get("rules")
        if found != rules:
            has = ", ".join(f"`{rule}`" for rule in found) if isinstance(found, list) else "none"
            message = f"the receipts are of the rules {has}, the plan has {', '.join(f'`{rule}`' for rule in rules)}"
            raise Failure(RECEIPTS.at(None, message, help="load the receipts that were saved with this plan"))

        def like(name: str, tensor: Tensor) -> Tensor:
            return torch.tensor(state[name], dtype=tensor.dtype, device=tensor.device).view_as(tensor)

        sums, last, rows = like("sums", self._sums), like("last", self._last), like("rows", self._rows)
        self._kept, self._passes = like("kept", self._kept), like("passes", self._passes)
        self._sums, self._last, self._rows = sums, last, rows
        self._steps, self._seen = state["steps"], state["records"]
        self._fired, self._detached = list(state["fired"]), list(state["detached"])
        self._asleep = dict(zip(rules, state["asleep"], strict=True))
        self._norms = dict(state["norms"])

    def _read(self, which: Iterable[int], state: Mapping[str, Any] | None = None) -> Iterator[Receipt]:
        state = self.state_dict() if state is None else state
        sums, last = state["sums"], state["last"]
        kept: dict[str, tuple[int | None, int | None]] = dict(
            zip(self._keeps, zip(*state["kept"], strict=True), strict=True)
        )
        for i in which:
            rule = self._rules[i].id
            yield Receipt(
                rule,
                state["steps"],
                state["rows"][i],
                state["fired"][i],
                last[0][i] / last[1][i] if last[1][i] else None,
                sums[0][i] / sums[1][i] if sums[1][i] else None,
                state["norms"].get(rule),
                *kept.get(rule, (None, None)),
                seen=state["passes"][0][i],
                acted=state["passes"][1][i],
                detached=state["detached"][i],
            )


def _unheard(rule: RuleBase) -> Diagnostic:
    return _dead(rule, "the model never computed what it reads, so that its hook did not fire")


def _detached(rule: RuleBase) -> Diagnostic:
    layers = getattr(rule, "layers", ())
    read = f", which reads layer {', '.join(map(str, layers))}," if layers else ""
    message = f"the loss of rule `{rule.id}`{read} reaches no parameter that is trained"
    help = "train something at or below what it reads, or leave the rule out"
    return DETACHED.at(DataPlace(rule.line.file, rule.line.line), message, help=help)


def _dead(rule: RuleBase, why: str) -> Diagnostic:
    help = "does the data come from the plan's own shards, and does the model run every block?"
    return DEAD_RULE.at(DataPlace(rule.line.file, rule.line.line), f"rule `{rule.id}` is dead: {why}", help=help)
