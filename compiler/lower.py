"""Checked program -> plan and recipe: what is asked of the model is parted from where in the text it applies.

Takes a program that checked clean. Establishes that every span set, edge set and field that a rule reads is in the recipe
exactly once, under the digest of its definition, and that the plan refers to them by that digest alone. One walk over the
rules; no data is read but the tokenizer file, for its digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from ..dsl import checked as c
from ..dsl.canonical import digest
from .gathered import Gathered
from .plan import (
    AttendPlan,
    ClaimPlan,
    ClassifyPlan,
    Contract,
    ContrastPlan,
    CrossRef,
    DistilPlan,
    EdgeSetRef,
    GradientPlan,
    KeepPlan,
    LikePlan,
    Line,
    Plan,
    PredictPlan,
    RampPlan,
    RelatePlan,
    RulePlan,
    SpanSetRef,
    StagePlan,
    ThroughPlan,
    Tokenizer,
    TowardPlan,
    WeighPlan,
)
from .recipe import VECTORS, AheadCheck, ContrastCheck, LabelCheck, Recipe, StoredEdges
from .scores import record_score, token_score
from .teachers import hidden_of, teacher_plan
from .written import written_anchor

BASE_COLUMNS = ("id", "part", "source", "input_ids", "span.set", "span.start", "span.end")
EDGE_WEIGHT = "edge.weight"
EDGE_COLUMNS = ("edge.set", "edge.query_start", "edge.query_end", "edge.key_start", "edge.key_end")


@dataclass(frozen=True, slots=True)
class Lowered:
    """The two halves of a program."""

    plan: Plan
    recipe: Recipe


def lower(program: c.Program, tokenizer: Tokenizer, version: str) -> Lowered:
    """Part `program` into plan and recipe."""
    gathered = Gathered(program.model.hidden, program.model.vocab)
    rules = tuple(_rule(rule, gathered) for rule in program.rules)
    for expect in program.expects:
        gathered.span_set(expect.subject)
    order = None
    if program.order is not None:
        order = record_score(program.order, lambda path: gathered.field(path, "number", c.Record()))
    centroids = dict(gathered.centroids())
    recipe = Recipe(
        model=program.model,
        tokenizer_digest=tokenizer.digest,
        sources=program.sources,
        sets=gathered.stored_sets(),
        edges=tuple(StoredEdges(key, gathered.edges[key]) for key in sorted(gathered.edges)),
        fields=gathered.stored_fields(),
        labels=tuple(gathered.labels),
        rows=tuple(gathered.rows),
        pairs=tuple(sorted(gathered.pairs)),
    )
    model = program.model
    plan = Plan(
        version=version,
        edition=program.edition,
        spec=program.path,
        model=Contract(
            architecture=model.architecture,
            layers=model.layers,
            heads=model.heads,
            hidden=model.hidden,
            vocab=model.vocab,
            causal=model.causal,
            context=model.context,
            windows=model.windows,
        ),
        tokenizer=tokenizer,
        columns=_columns(recipe),
        sets=gathered.infos(),
        anchors={name: written_anchor(concept.anchor) for name, concept in sorted(gathered.anchors.items())},
        learned=tuple(
            sorted(n for n, concept in gathered.anchors.items() if isinstance(concept.anchor, c.LearnedAnchor))
        ),
        centroids=centroids,
        teachers={name: teacher_plan(each, program.root) for name, each in sorted(gathered.teachers.items())},
        rules=rules,
        stages=tuple(_stage(stage) for stage in program.stages),
        gradient=_gradient(program.gradient),
        mix=dict(program.mix),
        order=order,
        claims=tuple(_claim(claim) for claim in program.claims),
    )
    return Lowered(plan, recipe)


def _columns(recipe: Recipe) -> tuple[str, ...]:
    attributes = sorted({name for stored in recipe.sets for name in stored.attributes})
    return (
        *BASE_COLUMNS,
        *(f"span.at.{name}" for name in attributes),
        *(EDGE_COLUMNS if recipe.edges else ()),
        *((EDGE_WEIGHT,) if recipe.weighted else ()),
        *(f"field.{stored.name}" for stored in recipe.fields),
    )


def _rule(rule: c.Rule, gathered: Gathered) -> RulePlan:
    match rule:
        case c.Attend():
            return _attend(rule, gathered)
        case c.Toward():
            return _toward(rule, gathered)
        case c.Classify():
            return _classify(rule, gathered)
        case c.Contrast():
            return _contrast(rule, gathered)
        case c.Predict():
            return _predict(rule, gathered)
        case c.Distil():
            return _distil(rule, gathered)
        case c.Relate():
            return _relate(rule, gathered)
        case c.Like():
            return _like(rule, gathered)
        case c.Weigh():
            return _weigh(rule, gathered)
        case c.Keep():
            return _keep(rule, gathered)


def _line(item: c.RuleBase | c.Trained) -> Line:
    return Line(file=item.place.source.path, line=item.place.source.position(item.place.start)[0])


def _attend(rule: c.Attend, gathered: Gathered) -> AttendPlan:
    edges: EdgeSetRef | CrossRef
    if rule.join.condition is None and rule.join.pick == "all":
        edges = CrossRef(query=gathered.span_set(rule.join.query), key=gathered.span_set(rule.join.key))
    else:
        stored = StoredEdges(digest(rule.join), rule.join)
        gathered.edges.setdefault(stored.digest, rule.join)
        edges = EdgeSetRef(edges=stored.digest, weighted=stored.weighted)
    return AttendPlan(
        id=rule.id,
        line=_line(rule),
        lost=rule.lost,
        edges=edges,
        layers=tuple(layer for layer in rule.layers.resolved if layer != "final"),
        heads=rule.heads,
        pairs=rule.pairs,
        loss=rule.loss,
        mass=rule.mass,
        avoid=rule.avoid,
        each=rule.each,
        weight=rule.weight,
        per=rule.per,
    )


class _Hidden(TypedDict):
    id: str
    line: Line
    lost: c.Lost
    layers: tuple[c.Layer, ...]
    pool: c.Pool
    weight: float
    per: c.Per


def _hidden(rule: c.Signal | c.Relate | c.Like) -> _Hidden:
    """What every rule on hidden states has, but for its subject."""
    return {
        "id": rule.id,
        "line": _line(rule),
        "lost": rule.lost,
        "layers": rule.layers.resolved,
        "pool": rule.pool,
        "weight": rule.weight,
        "per": rule.per,
    }


def _through(through: c.Through | None) -> ThroughPlan | None:
    if through is None:
        return None
    return ThroughPlan(kind=through.kind, hidden=through.hidden, width=through.width)


def _toward(rule: c.Toward, gathered: Gathered) -> TowardPlan:
    anchor, column = None, None
    match rule.target:
        case c.Concept():
            anchor = gathered.anchor(rule.target)
        case c.Hidden(teacher):
            gathered.teacher(teacher)
        case path:
            width = gathered.hidden if rule.through is None else rule.through.width
            column = gathered.field(path, VECTORS[rule.dtype], rule.subject, width)
    subject = gathered.span_set(rule.subject, *(() if column is None else ("index",)))
    return TowardPlan(
        **_hidden(rule),
        through=_through(rule.through),
        subject=subject,
        anchor=anchor,
        field=column,
        loss=rule.loss,
        dtype=rule.dtype,
        hidden=hidden_of(rule),
    )


def _classify(rule: c.Classify, gathered: Gathered) -> ClassifyPlan:
    named = isinstance(rule.classes, tuple)
    subject, column, attribute = _label(rule, "label" if named else "class", gathered)
    gathered.labels.append(LabelCheck(rule.id, subject.set, column, attribute, rule.classes))
    return ClassifyPlan(
        **_hidden(rule),
        through=_through(rule.through),
        subject=subject,
        field=column,
        attribute=attribute,
        classes=len(rule.classes) if isinstance(rule.classes, tuple) else rule.classes,
        labels=rule.classes if isinstance(rule.classes, tuple) else None,
    )


def _contrast(rule: c.Contrast, gathered: Gathered) -> ContrastPlan:
    subject, column, attribute = _label(rule, "key", gathered)
    each = rule.pool == "each"
    gathered.rows.append(ContrastCheck(rule.id, subject.set, column, attribute, each, rule.scope))
    return ContrastPlan(
        **_hidden(rule),
        through=_through(rule.through),
        subject=subject,
        field=column,
        attribute=attribute,
        temperature=rule.temperature,
        scope=rule.scope,
    )


def _label(rule: c.Classify | c.Contrast, kind: str, gathered: Gathered) -> tuple[SpanSetRef, str | None, str | None]:
    """The subject of a rule that reads a label, and the label's column as a field or as an attribute."""
    if isinstance(rule.label, str):
        return gathered.span_set(rule.subject, rule.label), None, rule.label
    return gathered.span_set(rule.subject, "index"), gathered.field(rule.label, kind, rule.subject), None


def _predict(rule: c.Predict, gathered: Gathered) -> PredictPlan:
    ahead, column = None, None
    if isinstance(rule.target, int):
        ahead = rule.target
        subject = gathered.span_set(rule.subject)
        gathered.rows.append(AheadCheck(rule.id, subject.set, rule.pool, ahead))
    else:
        subject = gathered.span_set(rule.subject, "index")
        column = gathered.field(rule.target, "token", rule.subject)
        gathered.labels.append(LabelCheck(rule.id, subject.set, column, None, gathered.vocab))
    return PredictPlan(**_hidden(rule), through=_through(rule.through), subject=subject, ahead=ahead, field=column)


def _distil(rule: c.Distil, gathered: Gathered) -> DistilPlan:
    return DistilPlan(
        **_hidden(rule),
        through=_through(rule.through),
        subject=gathered.span_set(rule.subject),
        teacher=gathered.teacher(rule.teacher),
        temperature=rule.temperature,
    )


def _relate(rule: c.Relate, gathered: Gathered) -> RelatePlan:
    assert rule.subject.spans is not None, "the checker requires spans of a relation's subject"
    return RelatePlan(
        **_hidden(rule),
        subject=gathered.span_set(rule.subject.spans),
        relation=rule.relation,
        anchor=gathered.anchor(rule.object),
        margin=rule.margin,
    )


def _like(rule: c.Like, gathered: Gathered) -> LikePlan:
    assert rule.subject.spans is not None and rule.subject_to.spans is not None, "the checker requires spans of both"
    subject, to = gathered.span_set(rule.subject.spans), gathered.span_set(rule.subject_to.spans)
    gathered.pairs.add((subject.set, to.set))
    return LikePlan(
        **_hidden(rule),
        subject=subject,
        to=to,
        anchor=gathered.anchor(rule.object),
        anchor_to=gathered.anchor(rule.object_to),
        margin=rule.margin,
    )


def _weigh(rule: c.Weigh, gathered: Gathered) -> WeighPlan:
    factor, column, score = None, None, None
    match rule.factor:
        case c.Score():
            score = token_score(rule.factor)
        case tuple():
            column = gathered.field(rule.factor, "factor", rule.subject)
        case _:
            factor = rule.factor
    return WeighPlan(
        id=rule.id,
        line=_line(rule),
        lost=rule.lost,
        subject=gathered.span_set(rule.subject, *(() if column is None else ("index",))),
        factor=factor,
        field=column,
        only=rule.only,
        score=score,
    )


def _keep(rule: c.Keep, gathered: Gathered) -> KeepPlan:
    return KeepPlan(
        id=rule.id,
        line=_line(rule),
        lost=rule.lost,
        subject=gathered.span_set(rule.subject),
        score=token_score(rule.score),
        end=rule.end,
        share=rule.share,
        per=rule.within,
    )


def _stage(stage: c.Stage) -> StagePlan:
    return StagePlan(
        name=stage.name,
        start=stage.start,
        end=stage.end,
        factors={name: _ramp(ramp) for name, ramp in stage.factors},
        only=stage.only,
        token_loss=_ramp(stage.token_loss),
        depth=stage.depth,
        train=stage.train,
    )


def _gradient(gradient: c.Gradient | None) -> GradientPlan | None:
    if gradient is None:
        return None
    return GradientPlan(scale=gradient.scale, stop=gradient.stop, conflicts=gradient.conflicts)


def _ramp(ramp: c.Ramp) -> RampPlan:
    return RampPlan(start=ramp.start, end=ramp.end, shape=ramp.shape)


def _claim(claim: c.Trained) -> ClaimPlan:
    metric = claim.metric
    return ClaimPlan(
        metric=metric.name,  # type: ignore[arg-type]
        rule=metric.rule,
        of=metric.of,
        over=claim.over,
        op=claim.op,  # type: ignore[arg-type]
        bound=claim.bound,
        line=_line(claim),
    )
