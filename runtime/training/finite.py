"""Losses that are no number: which rule, in which step, and on which records.

On a CPU every step is looked at before its gradient is applied, so that no weight is ever spoilt. An accelerator would have to be
waited for: there what steps found is kept on the device, and looked at when the run waits for it anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...dsl.codes.runtime import DIVERGED
from ...dsl.diagnostics import Diagnostic, Failure
from ..totals import Losses

SHOWN = 4
"""How many records, and rules, a message names."""


class Finite:
    """What the micro-batches since the last look gave."""

    def __init__(self) -> None:
        self._noted: list[tuple[int, tuple[str, ...], tuple[str, ...], Tensor]] = []
        self._norms: list[tuple[int, Tensor]] = []

    def note(self, step: int, records: tuple[str, ...], losses: Losses) -> None:
        """Keep the losses of a micro-batch, on their device."""
        values = torch.cat([losses.token.detach().view(1), losses.values.detach()])
        self._noted.append((step, records, losses.ids, values))

    def note_norm(self, step: int, norm: Tensor) -> None:
        """Keep the norm of the gradient of a step."""
        self._norms.append((step, norm.detach()))

    def look(self, culprit: Callable[[], str | None] = lambda: None) -> None:
        """Fails with MCD752 for the first loss that is no number, else for the first such gradient, of which `culprit` knows
        the rule. Waits for the device."""
        noted, norms = self._noted, self._norms
        self._noted, self._norms = [], []
        if noted and not bool(torch.stack([values.isfinite().all() for *_, values in noted]).all()):
            raise Failure(next(d for each in noted if (d := _spoilt(*each)) is not None))
        for step, norm in norms:
            if not math.isfinite(value := float(norm)):
                raise Failure(_steep(step, value, culprit()))


def _spoilt(step: int, records: Sequence[str], ids: Sequence[str], values: Tensor) -> Diagnostic | None:
    token, *rules = values.tolist()
    bad = [rule for rule, value in zip(ids, rules, strict=False) if not math.isfinite(value)]
    if math.isfinite(token) and not bad:
        return None
    if not math.isfinite(token) and len(bad) == len(rules):
        message = (
            f"the loss of step {step} is {token}, of every rule too" if bad else f"the loss of step {step} is {token}"
        )
        return DIVERGED.at(None, message, help="try a lower `--lr`, or a longer `--warmup`")
    value = token if not math.isfinite(token) else next(v for v in rules if not math.isfinite(v))
    names = ["the token loss"] if not math.isfinite(token) else []
    names += [f"rule `{rule}`" for rule in bad]
    what = f"the loss of {_listed(names)}" if bad else "the token loss"
    message = f"{what} is {value} in step {step}, on the records {_listed([f'`{r}`' for r in records])}"
    help = "look at these records with `mcd inspect`; try a lower `--lr`, or a lower weight of the rule"
    return DIVERGED.at(None, message, help=help)


def _steep(step: int, value: float, rule: str | None) -> Diagnostic:
    whose = f"of rule `{rule}`" if rule not in (None, "token") else "of the token loss" if rule else "of the sum"
    message = f"the gradient of step {step} is {value}, {whose}, though every loss is a number"
    return DIVERGED.at(None, message, help="try a lower `--lr`, a lower weight of the rule, or `--precision float32`")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
