"""Rules that do nothing, as far as the spec alone tells.

A rule that no stage lets act, or whose weight is 0, trains nothing and is never reported dead, since nothing was promised of it.
Weights multiply, so that one on spans of which another makes 0 says nothing either.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from .. import checked as c
from ..canonical import Memo, digest
from ..check.contradictions import acting_stages
from ..codes import values as codes
from ..diagnostics import Diagnostic, Findings, Related

MAX_SHOWN = 3
"""Stages that a finding shows."""


def check_silent(program: c.Program, findings: Findings) -> None:
    """Report rules that never act, and weights that others cancel."""
    for rule in program.rules:
        if (why := _why(rule, program.stages)) is not None:
            findings.add(_with_uses(why, rule))
    _check_cancelled(program, findings)


def _with_uses(found: Diagnostic, rule: c.Rule) -> Diagnostic:
    """The finding with the places where the rule's frame is used."""
    return replace(found, related=(*found.related, *rule.uses))


def _why(rule: c.Rule, stages: tuple[c.Stage, ...]) -> Diagnostic | None:
    """Why a rule never acts, if it does not."""
    if isinstance(rule, c.Weigh):
        if rule.factor == 1 and not rule.only:
            return codes.SILENT_RULE.at(rule.place, f"`{rule.id}` multiplies losses by 1, which changes nothing")
    elif not isinstance(rule, c.Keep) and rule.weight == 0:
        return codes.SILENT_RULE.at(rule.place, f"`{rule.id}` has weight 0, so that it never acts")
    if acting_stages(rule, stages):
        return None
    related = [Related(stage.place, _reason(rule, stage)) for stage in stages[:MAX_SHOWN]]
    return codes.SILENT_RULE.at(rule.place, f"no stage lets `{rule.id}` act", related=related)


def _reason(rule: c.Rule, stage: c.Stage) -> str:
    scheduled = rule.id in dict(stage.factors)
    return "its factor is 0 here" if scheduled else "`only` leaves it out here"


def _check_cancelled(program: c.Program, findings: Findings) -> None:
    alike: dict[str, list[c.Weigh]] = defaultdict(list)
    memo: Memo = {}
    for rule in program.rules:
        if isinstance(rule, c.Weigh) and not rule.only:
            alike[digest(rule.subject, memo)].append(rule)
    for rules in alike.values():
        nulls = [rule for rule in rules if rule.factor == 0]
        for rule in rules:
            stages = acting_stages(rule, program.stages)
            other = next((null for null in nulls if stages & acting_stages(null, program.stages)), None)
            if other is not None and rule.factor != 0:
                message = f"`{rule.id}` says nothing, since `{other.id}` gives the same spans factor 0"
                related = [Related(other.place, f"`{other.id}` is here")]
                findings.add(_with_uses(codes.CANCELLED_WEIGHT.at(rule.place, message, related=related), rule))
