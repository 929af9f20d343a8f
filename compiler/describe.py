"""A plan in words: what `mcd plan` prints and golden tests store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..dsl import checked as c
from ..dsl.windows import described, runs
from .columns import in_columns
from .lower import Lowered
from .plan import (
    AttendPlan,
    ClaimPlan,
    ClassifyPlan,
    ContrastPlan,
    CrossRef,
    DistilPlan,
    EdgeSetRef,
    GradientPlan,
    HiddenRule,
    KeepPlan,
    Layer,
    LikePlan,
    Plan,
    PredictPlan,
    RampPlan,
    RelatePlan,
    RulePlan,
    SpanSetRef,
    StagePlan,
    TeacherPlan,
    ThroughPlan,
    TowardPlan,
    WeighPlan,
)
from .scores import score_text
from .written import field_text, template_text

ATTEND_FORMULAE = {
    "nll": "-log p(keys)",
    "hinge": "max(0, log {mass:g} - log p(keys))",
    "kl": "KL(uniform over keys || p)",
    "kl weighted": "KL(link weights over keys || p)",
    "avoid": "max(0, log(1 - {mass:g}) - log(1 - p(keys)))",
}
RELATE_FORMULAE = {
    "is_a": "max(0, {margin:g} - cos)",
    "opposes": "max(0, cos + {margin:g})",
    "distinct": "max(0, |cos| - {margin:g})",
}
DISTIL_FORMULA = "{square:g} x KL(softmax({teacher}.logits / {temperature:g}) || softmax(logits / {temperature:g}))"
CONTRAST_FORMULA = (
    "logsumexp(cos / {temperature:g}) over others - mean(cos / {temperature:g}) over those of equal {label}"
)
PROJECTION = (
    "where (rules . token) < 0: rules - (rules . token) / (token . token) token, over all parameters of the model"
)


def describe(program: c.Program, lowered: Lowered) -> str:
    """The whole plan, for a person: contract, sources, sets, rules with layers, heads and formulae, schedule."""
    plan = lowered.plan
    sections = [
        ("spec", [f"{plan.spec} (edition {plan.edition})"]),
        ("settings", [f"{name} = {value}" for name, value in program.settings]),
        ("model", list(_model(program.model, plan))),
        ("teachers", [_teacher(name, teacher) for name, teacher in plan.teachers.items()]),
        ("sources", [_source(source) for source in program.sources]),
        ("sets", [f"{key[:8]}  {info.kind:<4}  {info.written}" for key, info in plan.sets.items()]),
        ("anchors", [f"{name} = {how}" for name, how in plan.anchors.items()]),
        ("rules", in_columns(describe_rule(rule, plan) for rule in plan.rules)),
        ("gradient", list(_gradient(plan.gradient))),
        ("schedule", [*_records(plan), *(_stage(stage, plan.model.layers) for stage in plan.stages)]),
        ("expects", [*map(_coverage, program.expects), *map(_claim, plan.claims)]),
    ]
    return "".join(_section(title, lines) for title, lines in sections if lines)


def _section(title: str, lines: Sequence[str]) -> str:
    return f"{title}\n" + "".join(f"  {line}\n" for line in lines)


def _model(model: c.Model, plan: Plan) -> Iterator[str]:
    kind = model.architecture or "given by numbers"
    direction = "causal" if model.causal else "bidirectional"
    yield (
        f"{model.name}: {kind}, {model.layers} layers x {model.heads} heads, width {model.hidden}, "
        f"vocabulary {model.vocab}, {direction}"
    )
    overflow = model.overflow
    how = f"split with stride {overflow.stride}" if overflow.how == "split" else overflow.how
    yield f"context {model.context}, on overflow {how}; tokenizer {plan.tokenizer.digest[:8]}"
    if model.windows:
        yield f"sliding windows: {described(model.windows)}"


def _teacher(name: str, teacher: TeacherPlan) -> str:
    kind = teacher.architecture or "given by numbers"
    direction = "causal" if teacher.causal else "bidirectional"
    where = "the model before training" if teacher.weights is None else teacher.weights
    tokens = "" if teacher.tokenizer is None else f"; tokenizer {teacher.tokenizer[:8]}"
    return (
        f"{name}: {kind}, {teacher.layers} layers, width {teacher.hidden}, {direction}; {teacher.run}, {where}{tokens}"
    )


def _source(source: c.Source) -> str:
    where = source.amount
    match source.split:
        case c.HashSplit(shares):
            split = "hash of the id: " + ", ".join(f"{name} {share:.0%}" for name, share in shares)
        case c.FieldSplit(path):
            split = f"by {field_text(path)}"
        case c.ConstantSplit(name):
            split = f'all "{name}"'
    return f"{source.name}: {source.format}, {where}; split {split}; {_text(source.text)}"


def _text(text: c.Template | c.Chat) -> str:
    if isinstance(text, c.Template):
        return f"text {template_text(text)!r}"
    also = "".join(f", {field_text((name,))}" for name in text.template.fields)
    return f"messages {field_text(text.path)}{also} through the chat template of {text.template.path}; no added tokens"


def describe_rule(rule: RulePlan, plan: Plan) -> tuple[str, ...]:
    """A rule's id, its line, what it is about, its layers, and its formula with heads and weight."""
    where = f"{rule.line.file}:{rule.line.line}"
    match rule:
        case AttendPlan():
            return (rule.id, where, _edges(rule, plan), f"layers {describe_layers(rule.layers)}", _attend(rule))
        case TowardPlan():
            target = rule.anchor if rule.anchor is not None else f".{rule.field}"
            if rule.hidden is not None:
                target = f"{rule.hidden.teacher}.hidden(layer: {rule.hidden.layer})"
            loss = "1 - cos" if rule.loss == "cosine" else "mean squared error"
            return _hidden(rule, plan, f"{loss} to {target}")
        case ClassifyPlan():
            label = f".{rule.field}" if rule.field is not None else rule.attribute
            return _hidden(rule, plan, f"cross-entropy of an affine probe for {label} in {rule.classes} classes")
        case ContrastPlan():
            label = f".{rule.field}" if rule.field is not None else rule.attribute
            batch = ", others of the batch on all ranks: micro-batches change it" if rule.scope == "batch" else ""
            return _hidden(rule, plan, CONTRAST_FORMULA.format(temperature=rule.temperature, label=label) + batch)
        case PredictPlan():
            target = f"the token {rule.ahead} ahead" if rule.ahead is not None else f".{rule.field}"
            return _hidden(rule, plan, f"cross-entropy of the model's norm and head for {target}")
        case DistilPlan():
            given = {"temperature": rule.temperature, "square": rule.temperature**2, "teacher": rule.teacher}
            return _hidden(rule, plan, DISTIL_FORMULA.format_map(given))
        case RelatePlan():
            formula = RELATE_FORMULAE[rule.relation].format(margin=rule.margin)
            return _hidden(rule, plan, f"{rule.relation} {rule.anchor}: {formula}")
        case LikePlan():
            formula = f"offset like {rule.anchor} -> {rule.anchor_to}: max(0, {rule.margin:g} - cos)"
            return _hidden(rule, plan, formula)
        case WeighPlan():
            only = ", 0 outside" if rule.only else ""
            return (rule.id, where, _set(rule.subject, plan), "token loss", f"factor {_factor(rule)}{only}")
        case KeepPlan():
            per = "record" if rule.per == "record" else "batch, so that micro-batches change it"
            kept = f"factor 0 outside the {rule.end} {rule.share * 100:g}% by {score_text(rule.score)} of each {per}"
            return (rule.id, where, _set(rule.subject, plan), "token loss", kept)


def _factor(rule: WeighPlan) -> str:
    if rule.score is not None:
        return f"max(0, {score_text(rule.score)})"
    return f"{rule.factor:g}" if rule.factor is not None else f".{rule.field}"


def _hidden(rule: HiddenRule, plan: Plan, formula: str) -> tuple[str, ...]:
    where = f"{rule.line.file}:{rule.line.line}"
    layers = f"layers {describe_layers(rule.layers)}"
    mean = "; mean per record" if rule.per == "record" else ""
    through = f" through {_through(rule.through)}" if rule.through is not None else ""
    to = f" -> {_set(rule.to, plan)}" if isinstance(rule, LikePlan) else ""
    return (
        rule.id,
        where,
        f"{_set(rule.subject, plan)}{to} ({rule.pool})",
        layers,
        f"{rule.weight:g} x [{formula}]{through}{mean}",
    )


def _through(through: ThroughPlan) -> str:
    hidden = f"hidden {through.hidden}, " if through.hidden is not None else ""
    return f"{through.kind} ({hidden}width {through.width})"


def _attend(rule: AttendPlan) -> str:
    weighted = rule.loss == "kl" and isinstance(rule.edges, EdgeSetRef) and rule.edges.weighted
    loss = "avoid" if rule.avoid else "kl weighted" if weighted else rule.loss
    formula = ATTEND_FORMULAE[loss].format(mass=rule.mass or 0.0)
    heads = rule.heads if isinstance(rule.heads, str) else ", ".join(map(str, rule.heads))
    if rule.pairs:
        heads = ", ".join(f"{layer}:{head}" for layer, head in rule.pairs)
    each = ", each key alone" if rule.each else ""
    mean = "; mean per record" if rule.per == "record" else ""
    return f"heads {heads}: {rule.weight:g} x [{formula}]{each}{mean}"


def _edges(rule: AttendPlan, plan: Plan) -> str:
    match rule.edges:
        case EdgeSetRef(edges=key):
            return plan.sets[key].written
        case CrossRef(query=query, key=key):
            return f"{_set(query, plan)} -> {_set(key, plan)}"


def _set(ref: SpanSetRef, plan: Plan) -> str:
    return plan.sets[ref.set].written if ref.set in plan.sets else ref.set


def describe_layers(layers: Sequence[Layer]) -> str:
    """`1, 3..5, final`."""
    numbers = runs([layer for layer in layers if layer != "final"])
    return ", ".join([*([numbers] if numbers else []), *(["final"] if "final" in layers else [])])


def _gradient(gradient: GradientPlan | None) -> Iterator[str]:
    if gradient is None:
        return
    for factor in dict.fromkeys(factor for _, factor in gradient.scale):
        yield f"layers {describe_layers([layer for layer, own in gradient.scale if own == factor])} x {factor:g}"
    if gradient.stop:
        yield f"no gradient flows down through layers {describe_layers(gradient.stop)}, but for that of rules that read them"
    if gradient.conflicts == "project":
        yield PROJECTION


def _records(plan: Plan) -> Iterator[str]:
    """Which records an epoch holds, and in which order."""
    if plan.mix:
        yield "tokens of an epoch: " + ", ".join(f"{source} {share * 100:g}%" for source, share in plan.mix.items())
    if plan.order is not None:
        yield f"order of an epoch: {score_text(plan.order)}, ascending; equal ones shuffled"


def _coverage(claim: c.Coverage) -> str:
    return f"coverage({claim.written}) {claim.op} {claim.count:g} of {claim.of}"


def _claim(claim: ClaimPlan) -> str:
    return f"trained {claim.subject} {claim.op} {claim.bound:g}  ({claim.line.file}:{claim.line.line})"


def _stage(stage: StagePlan, layers: int) -> str:
    factors = [f"{name} {_ramp(ramp)}" for name, ramp in stage.factors.items()]
    only = [] if stage.only is None else [f"only {', '.join(stage.only)}"]
    token = (
        []
        if stage.token_loss == RampPlan(start=1, end=1, shape="linear")
        else [f"token loss {_ramp(stage.token_loss)}"]
    )
    depth = [] if stage.depth is None else [f"runs block{'s 1..' if stage.depth > 1 else ' '}{stage.depth} of {layers}"]
    train = [] if stage.train is None else [f"trains layers {describe_layers(stage.train)} alone"]
    said = "; ".join([*depth, *train, *only, *factors, *token]) or "every rule at its weight"
    return f"{stage.start:>4.0%} to {stage.end:>4.0%}  {stage.name}: {said}"


def _ramp(ramp: RampPlan) -> str:
    if ramp.start == ramp.end:
        return f"x {ramp.start:g}"
    return f"x {ramp.start:g} to {ramp.end:g} ({ramp.shape})"
