"""Plan and manifest, held against each other: whether one compilation wrote both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Diagnostic
from ..files.opening import stored_keys
from ..manifest import MANIFEST_FILE, PLAN_FILE
from ..plan import HiddenOf, LikePlan, TowardPlan
from ..sets import both
from .base import Check, at, differences, listed


class Fitting(Check):
    """The plan breaks no invariant, and the manifest has what the plan reads; its totals are the sums of its shards."""

    def before(self) -> Iterator[Diagnostic]:
        for problem in self._unfit():
            yield at(codes.PLAN_UNFIT, PLAN_FILE, f"`{PLAN_FILE}` {problem}", "compile the spec again")
        manifest = self.dataset.manifest
        for what, totals in (("records", manifest.records), ("tokens", manifest.tokens)):
            sums = Counter[str]()
            for shard in manifest.shards:
                sums[shard.split] += getattr(shard, what)
            for split, found, stated in differences(sums, totals):
                message = f"`{MANIFEST_FILE}` states {stated:,} {what} of split `{split}`; its shards have {found:,}"
                yield at(codes.COUNTS_DIFFER, MANIFEST_FILE, message)

    def _unfit(self) -> Iterator[str]:
        plan, manifest = self.dataset.plan, self.dataset.manifest
        if plan.version != manifest.version:
            yield f"is of version {plan.version}, the manifest of version {manifest.version}"
        pairs = [both(rule.subject.set, rule.to.set) for rule in plan.rules if isinstance(rule, LikePlan)]
        if missing := [key for key in (*plan.sets, *pairs) if key not in manifest.sets]:
            yield f"reads {listed(missing)}, which the manifest does not count"
        for rule in sorted({rule.id for rule in plan.rules} ^ set(manifest.rules)):
            counted = rule in manifest.rules
            yield f"has no rule `{rule}`, which is counted" if counted else f"has a rule `{rule}` that is not counted"
        if manifest.causal not in (None, plan.model.causal):
            kind = "attends backward alone" if manifest.causal else "attends both ways"
            yield f"is for another kind of model than its edges were counted for, one that {kind}"
        if missing := [key for key in stored_keys(plan.rules) if key not in manifest.targets]:
            yield f"reads states {listed(missing)}, which the manifest does not list"
        if manifest.centroids.keys() != plan.centroids.keys():
            yield f"has centroids {listed(sorted(plan.centroids))}; the manifest has {listed(sorted(manifest.centroids))}"
        yield from self._widths()

    def _widths(self) -> Iterator[str]:
        plan, targets = self.dataset.plan, self.dataset.manifest.targets
        for rule in plan.rules:
            match rule:
                case TowardPlan(hidden=HiddenOf(teacher=teacher) as hidden) if hidden.key in targets:
                    width = targets[hidden.key].width
                    if teacher in plan.teachers and plan.teachers[teacher].hidden != width:
                        yield f"has a teacher `{teacher}` of width {plan.teachers[teacher].hidden}; its states have {width}"
