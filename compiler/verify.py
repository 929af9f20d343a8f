"""The plan's verifier: what must hold of every plan that `lower` makes and of every one that a reader is given.

A broken invariant in a plan that was just lowered is our bug, not the user's; in one that was read from a file it means that
somebody else wrote the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ..dsl.vocabulary import METRICS, names_measure
from .plan import (
    AttendPlan,
    ClassifyPlan,
    ContrastPlan,
    CrossRef,
    DistilPlan,
    EdgeSetRef,
    FieldTerm,
    HiddenRule,
    KeepPlan,
    Layer,
    LikePlan,
    MeasureTerm,
    Plan,
    PredictPlan,
    RulePlan,
    SpanSetRef,
    StagePlan,
    TowardPlan,
    Vocabulary,
    WeighPlan,
    deepest,
)

MOST = 2**31 - 1
"""The most layers, heads, tokens and dimensions."""


def broken_invariants(plan: Plan) -> list[str]:
    """Every invariant that `plan` breaks, a sentence each; empty for a sound plan."""
    found = (_numbers, _windows, _anchors, _centroids, _rules, _stages, _gradient, _order, _claims)
    return [broken for part in found for broken in part(plan)]


def _numbers(plan: Plan) -> Iterator[str]:
    """What is counted or multiplied in 64 bits elsewhere."""
    for name in ("layers", "heads", "hidden", "vocab", "context"):
        if not 1 <= getattr(plan.model, name) <= MOST:
            yield f"has {_short(getattr(plan.model, name))} as `{name}` of its model"
    for name in ("prefix", "suffix"):
        if not 0 <= getattr(plan.tokenizer, name) <= MOST:
            yield f"has {_short(getattr(plan.tokenizer, name))} tokens as `{name}` of its tokenizer"
    if plan.tokenizer.vocabulary is not None:
        yield from _vocabulary(plan.tokenizer.vocabulary, plan.model.vocab)
    for rule in plan.rules:
        found = {"ahead": getattr(rule, "ahead", None), "classes": getattr(rule, "classes", None)}
        if isinstance(rule, HiddenRule) and rule.through is not None:
            found |= {"through": rule.through.width}
        for name, number in found.items():
            if number is not None and not 1 <= number <= MOST:
                yield f"rule `{rule.id}`: has {_short(number)} as `{name}`"


def _vocabulary(found: Vocabulary, vocab: int) -> Iterator[str]:
    if not 0 <= found.size <= vocab:
        yield f"has a tokenizer of {_short(found.size)} tokens in a vocabulary of {vocab}"
    masks = () if found.mask is None else (found.mask,)
    if any(not 0 <= id < found.size for id in (*found.special, *masks)):
        yield "names special tokens that its tokenizer does not have"


def _short(number: int) -> str:
    return f"{number}" if abs(number) < 1 << 64 else "a number of more than 64 bits"


def _windows(plan: Plan) -> Iterator[str]:
    model = plan.model
    if len(model.windows) not in (0, model.layers):
        yield f"has windows of {len(model.windows)} layers of {model.layers}"
    if any(window is not None and not 1 <= window < model.context for window in model.windows):
        yield f"has windows {model.windows} in a context of {model.context}"


def _anchors(plan: Plan) -> Iterator[str]:
    for name in plan.learned:
        if name not in plan.anchors:
            yield f"learns an anchor `{name}` that the plan does not list"


def _centroids(plan: Plan) -> Iterator[str]:
    for name, centroid in plan.centroids.items():
        key = centroid.subject.set
        if name not in plan.anchors or key not in (*plan.sets, "tokens", "record"):
            yield f"has a centroid `{name}` of an anchor or a set that the plan does not list"
        if (problem := _of_teacher(centroid.teacher, centroid.layer, plan)) is not None:
            yield f"centroid `{name}`: {problem}"


def _of_teacher(name: str, layer: Layer, plan: Plan) -> str | None:
    """What is wrong where a layer of a teacher is read."""
    teacher = plan.teachers.get(name)
    if teacher is None:
        return f"reads a teacher `{name}` that the plan does not list"
    if layer != "final" and not 0 <= layer <= teacher.layers:
        return f"reads layer {layer} of a teacher with layers 0..{teacher.layers}"
    return None


def _rules(plan: Plan) -> Iterator[str]:
    for rule_id, count in Counter(rule.id for rule in plan.rules).items():
        if count > 1:
            yield f"{count} rules have the id `{rule_id}`"
    for rule in plan.rules:
        for problem in (*_references(rule, plan), *_layers(rule, plan)):
            yield f"rule `{rule.id}`: {problem}"


def _references(rule: RulePlan, plan: Plan) -> Iterator[str]:
    for key, kind in _set_keys(rule):
        if key not in plan.sets:
            yield f"reads a set {key} that the plan does not list"
        elif plan.sets[key].kind != kind:
            yield f"reads {key} as {kind} set, which is a {plan.sets[key].kind} set"
    for column in _columns(rule):
        if column not in plan.columns:
            yield f"reads a column `{column}` that the plan does not require"
    for anchor in (getattr(rule, "anchor", None), getattr(rule, "anchor_to", None)):
        if anchor is not None and anchor not in plan.anchors:
            yield f"is pulled toward an anchor `{anchor}` that the plan does not list"
    if isinstance(rule, TowardPlan) and [rule.anchor, rule.field, rule.hidden].count(None) != 2:
        yield "needs exactly one of an anchor, a field and a teacher's state"
    if isinstance(rule, TowardPlan) and rule.hidden is not None:
        yield from filter(None, [_of_teacher(rule.hidden.teacher, rule.hidden.layer, plan)])
    if isinstance(rule, DistilPlan):
        yield from filter(None, [_of_teacher(rule.teacher, "final", plan)])
    if isinstance(rule, ClassifyPlan | ContrastPlan) and (rule.attribute is None) == (rule.field is None):
        yield "needs exactly one of an attribute and a field"
    if isinstance(rule, PredictPlan) and (rule.ahead is None) == (rule.field is None):
        yield "needs exactly one of a distance and a field"
    if isinstance(rule, WeighPlan) and [rule.factor, rule.field, rule.score].count(None) != 2:
        yield "needs exactly one of a factor, a field and a score"
    if isinstance(rule, KeepPlan) and not 0 < rule.share <= 1:
        yield f"keeps a share of {rule.share:g}"
    score = rule.score if isinstance(rule, WeighPlan | KeepPlan) else None
    if score is not None and not is_postfix(score):
        yield "has a score that is no postfix expression"


def _set_keys(rule: RulePlan) -> Iterator[tuple[str, str]]:
    spans: list[SpanSetRef] = []
    match rule:
        case AttendPlan(edges=EdgeSetRef(edges=key)):
            yield key, "edge"
        case AttendPlan(edges=CrossRef(query=query, key=key_set)):
            spans = [query, key_set]
        case LikePlan(subject=subject, to=to):
            spans = [subject, to]
        case HiddenRule(subject=subject) | WeighPlan(subject=subject) | KeepPlan(subject=subject):
            spans = [subject]
    for span in spans:
        if span.set not in ("tokens", "record"):
            yield span.set, "span"


def _columns(rule: RulePlan) -> Iterator[str]:
    field = getattr(rule, "field", None)
    if field is not None:
        yield f"field.{field}"
    attribute = getattr(rule, "attribute", None)
    if attribute is not None:
        yield f"span.at.{attribute}"
    if isinstance(rule, AttendPlan) and isinstance(rule.edges, EdgeSetRef):
        yield "edge.set"
        if rule.edges.weighted:
            yield "edge.weight"


def _layers(rule: RulePlan, plan: Plan) -> Iterator[str]:
    model = plan.model
    if isinstance(rule, AttendPlan):
        if not rule.layers or not all(1 <= layer <= model.layers for layer in rule.layers):
            yield f"attends at layers {rule.layers} of 1..{model.layers}"
        if isinstance(rule.heads, tuple) and not all(0 <= head < model.heads for head in rule.heads):
            yield f"names heads {rule.heads} of 0..{model.heads - 1}"
        if rule.pairs and (rule.heads != "all" or {layer for layer, _ in rule.pairs} != set(rule.layers)):
            yield f"has pairs {rule.pairs} beside layers {rule.layers} and heads {rule.heads}"
        if not all(0 <= head < model.heads for _, head in rule.pairs):
            yield f"names heads {rule.pairs} of 0..{model.heads - 1}"
        if (rule.mass is None) == (rule.loss == "hinge"):
            yield f"has loss {rule.loss} with mass {rule.mass}"
    elif isinstance(rule, HiddenRule):
        if not rule.layers or not all(layer == "final" or 0 <= layer <= model.layers for layer in rule.layers):
            yield f"reads layers {rule.layers} of 0..{model.layers}"
        wanted = _width(rule, plan)
        given = model.hidden if rule.through is None else rule.through.width
        if wanted is not None and given != wanted:
            yield f"goes through a map to {given} numbers where {wanted} are read"
        if rule.through is not None and (rule.through.hidden is None) == (rule.through.kind == "mlp"):
            yield f"goes through a map of kind {rule.through.kind} with {rule.through.hidden} hidden numbers"


def _width(rule: HiddenRule, plan: Plan) -> int | None:
    """How many numbers what a rule compares with has, where the plan knows that."""
    if isinstance(rule, TowardPlan) and rule.hidden is not None:
        return plan.teachers[rule.hidden.teacher].hidden if rule.hidden.teacher in plan.teachers else None
    bound = isinstance(rule, PredictPlan | DistilPlan) or getattr(rule, "anchor", None) is not None
    return plan.model.hidden if bound else None


def _stages(plan: Plan) -> Iterator[str]:
    if not plan.stages:
        return
    if plan.stages[0].start != 0.0 or plan.stages[-1].end != 1.0:
        yield "the stages do not run from 0 to 1"
    for before, after in pairwise(plan.stages):
        if before.end != after.start:
            yield f"stage `{after.name}` starts at {after.start}, `{before.name}` ends at {before.end}"
    known = {rule.id for rule in plan.rules}
    for stage in plan.stages:
        for name in {*stage.factors, *(stage.only or ())} - known:
            yield f"stage `{stage.name}` names a rule `{name}` that the plan does not have"
        top = plan.model.layers
        if stage.depth is not None and not 1 <= stage.depth <= top:
            yield f"stage `{stage.name}` runs {stage.depth} blocks of {top}"
        if stage.train is not None and not all(_is_layer(layer, top) for layer in stage.train):
            yield f"stage `{stage.name}` trains layers {stage.train} of 0..{top}"
        for rule in plan.rules:
            if stage.depth is not None and _acts(rule, stage) and deepest(rule) > stage.depth:
                yield f"stage `{stage.name}` runs {stage.depth} blocks and switches on `{rule.id}`, which reads more"


def _acts(rule: RulePlan, stage: StagePlan) -> bool:
    if isinstance(rule, WeighPlan | KeepPlan) or rule.weight == 0:
        return False
    if rule.id in stage.factors:
        return max(stage.factors[rule.id].start, stage.factors[rule.id].end) > 0
    return stage.only is None or rule.id in stage.only


def _gradient(plan: Plan) -> Iterator[str]:
    if plan.gradient is None:
        return
    top, scaled = plan.model.layers, [layer for layer, _ in plan.gradient.scale]
    if len(set(scaled)) < len(scaled) or not all(_is_layer(layer, top) for layer in scaled):
        yield f"scales the gradients of layers {tuple(scaled)} of 0..{top}"
    if not all(factor >= 0 for _, factor in plan.gradient.scale):
        yield "scales a gradient by less than 0"
    if not all(0 <= layer <= top for layer in plan.gradient.stop):
        yield f"stops gradients at layers {plan.gradient.stop} of 0..{top}"


def _is_layer(layer: Layer, top: int) -> bool:
    return layer == "final" or 0 <= layer <= top


def _order(plan: Plan) -> Iterator[str]:
    if plan.mix and abs(sum(plan.mix.values()) - 1) > 1e-9:
        yield f"mixes sources by shares that add up to {sum(plan.mix.values()):g}"
    if plan.order is not None and not is_postfix(plan.order):
        yield "orders records by what is no postfix expression"
    scores = [getattr(rule, "score", None) or () for rule in plan.rules]
    for term in (*(plan.order or ()), *(term for score in scores for term in score)):
        if isinstance(term, MeasureTerm) and not names_measure(term.file):
            yield f"reads a measure `{term.file}`, which can be the name of none"
    for term in plan.order or ():
        if isinstance(term, FieldTerm) and f"field.{term.field}" not in plan.columns:
            yield f"orders records by a column `field.{term.field}` that the plan does not require"


def is_postfix(terms: Sequence[object]) -> bool:
    """Whether operators find two operands each, and one value is left."""
    held = 0
    for term in terms:
        held += -1 if isinstance(term, str) else 1
        if held < 1:
            return False
    return held == 1


def _claims(plan: Plan) -> Iterator[str]:
    rules = {rule.id: rule for rule in plan.rules}
    for claim in plan.claims:
        if claim.rule is None:
            if claim.metric != "loss":
                yield f"claims {claim.metric} of no rule"
        elif claim.rule not in rules:
            yield f"claims {claim.metric} of a rule `{claim.rule}` that the plan does not have"
        elif rules[claim.rule].kind not in METRICS[claim.metric].kinds:
            yield f"claims {claim.metric} of rule `{claim.rule}`, whose kind is {rules[claim.rule].kind}"
