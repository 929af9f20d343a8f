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
from ..dsl.codes.runtime import DEAD_RULE
from ..dsl.diagnostics import Diagnostic, Failure
from ..dsl.source import DataPlace

PROMISE = 20
"""Rows that a rule must have been promised before their absence means something."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One rule so far. `steps`: passes in training mode; `rows`: rows matched in them; `fired`: its hooks ran in the last pass.

    `last_loss`: the mean over the rows of the last pass, None without rows; `mean_loss`: over all rows so far; both None for a
    `weigh` or `keep` rule, which has none. `gradient_norm`: as last measured by `gradient_norms`. `ranked`, `kept`: tokens of a
    positive weight that a `keep` rule ranked, and those of them that it kept; None for other rules.
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
        if ranked is not None and kept is not None:
            self._kept = self._kept.to(losses.device) + torch.stack([ranked, kept])

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

    def state_dict(self) -> dict[str, Any]:
        """What was counted so far, for a checkpoint: plain values and tensors."""
        plain = {"steps": self._steps, "seen": self._seen, "asleep": dict(self._asleep), "norms": dict(self._norms)}
        tensors = {"sums": self._sums, "last": self._last, "rows": self._rows, "kept": self._kept}
        return {"rules": list(self), "fired": list(self._fired), "pending": list(self._pending), **plain, **tensors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on counting from `state_dict`. Raises ValueError where that is of other rules."""
        if list(state["rules"]) != list(self):
            raise ValueError("receipts of other rules")
        self._fired, self._steps, self._seen = list(state["fired"]), state["steps"], state["seen"]
        self._asleep, self._norms = dict(state["asleep"]), dict(state["norms"])
        self._pending = {rule: rows for rule, rows in self._pending.items() if rule in state["pending"]}
        self._sums, self._last, self._rows, self._kept = (
            state[name].to(self._rows.device) for name in ("sums", "last", "rows", "kept")
        )

    def __getitem__(self, rule: str) -> Receipt:
        return next(self._read([self._index[rule]]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._rules)

    def all(self) -> list[Receipt]:
        """Every receipt, waiting for the device once."""
        return list(self._read(range(len(self._rules))))

    def _read(self, which: Iterable[int]) -> Iterator[Receipt]:
        sums, last, rows = self._sums.tolist(), self._last.tolist(), self._rows.tolist()
        kept = dict(zip(self._keeps, self._kept.T.tolist(), strict=True))
        for i in which:
            rule = self._rules[i].id
            yield Receipt(
                rule,
                self._steps,
                rows[i],
                self._fired[i],
                last[0][i] / last[1][i] if last[1][i] else None,
                sums[0][i] / sums[1][i] if sums[1][i] else None,
                self._norms.get(rule),
                *kept.get(rule, (None, None)),
            )


def _unheard(rule: RuleBase) -> Diagnostic:
    return _dead(rule, "the model never computed what it reads, so that its hook did not fire")


def _dead(rule: RuleBase, why: str) -> Diagnostic:
    help = "does the data come from the plan's own shards, and does the model run every block?"
    return DEAD_RULE.at(DataPlace(rule.line.file, rule.line.line), f"rule `{rule.id}` is dead: {why}", help=help)
