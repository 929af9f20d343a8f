"""What a run came to, rule by rule: the end of its log, `summary.json`, and the rules that fight the token loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..monitor import Tally
from ..supervised import Supervised
from .logs import Log


@dataclass(frozen=True, slots=True)
class RuleReport:
    """One rule over a run. `rows`, and `mean`, the mean loss over all of them, are of this rank; `first` and `last` loss of the
    log. `gradient` and `cosine` are means over the inspections; None where there were none, and for rules without a loss."""

    rule: str
    rows: int
    first: float | None
    last: float | None
    mean: float | None
    gradient: float | None
    cosine: float | None
    inspections: int
    fights: bool
    ranked: int | None
    kept: int | None


def reports(supervised: Supervised, log: Log, tallies: Mapping[str, Tally]) -> list[RuleReport]:
    """Every rule, in the order of the receipts."""
    found = []
    for receipt in supervised.receipts.all():
        rule, tally = receipt.rule, tallies.get(receipt.rule, Tally())
        losses = (log.first.get(rule), log.last.get(rule), receipt.mean_loss)
        means = (tally.mean_norm, tally.mean_cosine)
        counts = (receipt.ranked, receipt.kept)
        found.append(RuleReport(rule, receipt.rows, *losses, *means, tally.cosines, tally.fights, *counts))
    return found


def advice(report: RuleReport) -> str:
    """What is said of a rule that fights the token loss, in one line."""
    return (
        f"`{report.rule}` fights the token loss: mean cosine {report.cosine:.2f} over {report.inspections} inspections; give it"
        f" a lower weight, end it earlier (`{report.rule}.factor` of a stage), or try `conflicts = project` of `gradient`"
    )


def as_json(found: list[RuleReport], steps: int, log: Log) -> dict[str, Any]:
    """The content of `summary.json`."""
    rules = {report.rule: {n: getattr(report, n) for n in report.__slots__ if n != "rule"} for report in found}
    fights = [report.rule for report in found if report.fights]
    return {"steps": steps, "tokens": log.total, "seconds": round(log.seconds, 3), "rules": rules, "fights": fights}
