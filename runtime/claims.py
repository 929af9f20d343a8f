"""Claims about a trained model, decided: what `expect trained` says against what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..compiler.plan import ClaimPlan
from ..dsl.codes.runtime import CLAIM_FAILS, CLAIM_OPEN
from ..dsl.compare import COMPARE
from ..dsl.diagnostics import Diagnostic
from ..dsl.source import DataPlace
from .evaluate import Score, Scores

TRAINED, UNTRAINED = "trained", "untrained"
"""The names of the run that is evaluated, and of the model as it was before training."""

Found = Mapping[str, Mapping[str, Scores]]
"""Split -> name of a run -> what it comes to there."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a claim. `found`: the number that was compared; `open`: why it cannot be decided, None where it was."""

    claim: ClaimPlan
    found: float | None
    holds: bool
    open: str | None = None

    def diagnostic(self) -> Diagnostic | None:
        """What is to be said where the claim does not hold."""
        claim = self.claim
        place = DataPlace(claim.line.file, claim.line.line)
        if self.open is not None:
            return CLAIM_OPEN.at(place, f"`{claim.subject}` cannot be decided: {self.open}")
        if not self.holds:
            expected = f"{claim.op} {claim.bound:g}"
            return CLAIM_FAILS.at(place, f"`{claim.subject}` is {self.found:.4g}, expected {expected}")
        return None


class _Open(Exception):
    """A claim cannot be decided."""


def decide(claim: ClaimPlan, found: Found) -> Decision:
    """Whether a claim holds.

    A gain is how much better the trained run is than the other, in the metric's own unit: trained - other, and other - trained
    for a metric of which less is better.
    """
    try:
        score = _score(claim, found, TRAINED)
        value = _number(claim, score, TRAINED)
        if claim.over is not None:
            other = _number(claim, _score(claim, found, claim.over), claim.over)
            value = value - other if score.more else other - value
    except _Open as why:
        return Decision(claim, None, False, str(why))
    return Decision(claim, value, COMPARE[claim.op](value, claim.bound))


def _score(claim: ClaimPlan, found: Found, run: str) -> Score:
    """What the claim is about, of one run."""
    scores = found[claim.of].get(run)
    if scores is None:
        raise _Open(f"no run `{run}` was given, as `--over {run}=DIR` does")
    if claim.rule is None:
        return scores.model[claim.metric]
    if claim.rule not in scores.rules:
        raise _Open(f"the run `{run}` holds no trained part of rule `{claim.rule}`")
    return scores.rules[claim.rule].metrics[claim.metric]


def _number(claim: ClaimPlan, score: Score, run: str) -> float:
    if score.value is None:
        raise _Open(f"nothing counts in it in split `{claim.of}`")
    if not math.isfinite(score.value):
        raise _Open(f"it is {score.value} of the run `{run}`")
    return score.value
