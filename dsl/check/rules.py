"""Rules: `attend`, `signal`, `relate`, `weigh` -> `checked.Rule`. One walk over the rules of each file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypedDict

from .. import ast
from .. import checked as c
from ..codes import model as model_codes
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import did_you_mean
from ..source import Place
from ..vocabulary import BUILT_INS, LATER_RELATIONS, RELATIONS, STEPS, Bounds, Entry, Type
from .blocks import Given, read_block
from .conditions import condition
from .declare import RULES, keyword_place, rule_id
from .env import Declaration, Env, Reported, State, shown
from .spans import shape, subject
from .values import check_field, field_path, listed_once, mismatch, number, reads, within


def check_rules(state: State) -> dict[str, c.Rule]:
    """The rules of every file, by id."""
    found: dict[str, c.Rule] = {}
    for file in state.loaded.files:
        env = Env(state, file)
        for item in file.spec.items:
            if isinstance(item, RULES):
                with suppress(Reported):
                    rule = _rule(env, item)
                    found[rule.id] = rule
    return found


def _rule(env: Env, item: ast.Relate | ast.Attend | ast.Signal | ast.Weigh) -> c.Rule:
    match item:
        case ast.Attend():
            return _attend(env, item)
        case ast.Signal():
            return _signal(env, item)
        case ast.Relate():
            return _relate(env, item)
        case ast.Weigh():
            return _weigh(env, item)


def attempt(read: Callable[[], Any]) -> Any:
    """What `read` gives, or None after a report: for a part of a rule that others do not depend on."""
    with suppress(Reported):
        return read()


class Common(TypedDict):
    """What every rule has."""

    id: str
    name: str | None
    lost: c.Lost
    place: Place


def _common(env: Env, item: ast.Rule, given: Given) -> Common:
    name = env.file.prefix + item.label.name if item.label else None
    if env.state.model is None:
        raise Reported
    return {
        "id": rule_id(env.file, item),
        "name": name,
        "lost": given["lost"] or env.state.model.lost,
        "place": head(item),
    }


def head(item: ast.Rule) -> Place:
    """Where a rule is pointed at: its name, or its keyword."""
    return item.label.place if item.label else keyword_place(item)


# --- attend ----------------------------------------------------------------------------------------------------------


def _attend(env: Env, item: ast.Attend) -> c.Attend:
    given = read_block(env, "attend", item.block.attributes, head(item))
    join = attempt(lambda: _join(env, item, given))
    layers = attempt(lambda: _attention_layers(env, given))
    loss, mass = _bound_loss(env, given)
    if join is None or layers is None:
        raise Reported
    return c.Attend(
        **_common(env, item, given),
        join=join,
        layers=layers,
        heads=given["heads"],
        loss=loss,
        mass=mass,
        avoid=given["avoid"],
        each=given["each"],
        weight=given["weight"],
        per=given["per"],
    )


def _join(env: Env, item: ast.Attend, given: Given) -> c.Join:
    query = attempt(lambda: subject(env, item.query, "attend"))
    key = attempt(lambda: subject(env, item.key, "attend"))
    if query is None or key is None:
        raise Reported
    where = None
    if item.where is not None:
        roles: dict[c.Role, Any] = {"query": (query, shape(env, query).open), "key": (key, shape(env, key).open)}
        where = condition(env, item.where, roles)
    return c.Join(query, key, where, given["pick"], given["max_edges"])


def _attention_layers(env: Env, given: Given) -> c.Layers:
    layers: c.Layers = given["layers"]
    odd = next((layer for layer in layers.resolved if layer in (0, "final")), None)
    if odd is not None:
        top = env.state.contract.layers if env.state.contract else 0
        message = f"attention has layers 1..{top} of the model `{env.state.model_name}`, found {odd}"
        raise env.fail(model_codes.NO_SUCH_LAYER.at(given.place("layers"), message))
    return layers


def _bound_loss(env: Env, given: Given) -> tuple[Any, float | None]:
    """The loss and the mass of an attention rule: each has its default from the other."""
    if given.later:
        raise Reported
    mass, loss, avoid = given["mass"], given["loss"], given["avoid"]
    if avoid and "heads" in given and given["heads"] == "any":
        reason = "`heads = any` cannot stand with `avoid`: which head to turn away is not said"
        raise _clash(env, given.place("heads"), reason)
    if loss == "hinge" and mass is None and not avoid:
        raise _clash(env, given.place("loss"), "`loss = hinge` needs `mass`, the probability to reach")
    if loss in ("nll", "kl") and (avoid or mass is not None):
        other = "avoid" if avoid else "mass"
        raise _clash(
            env, given.place("loss"), f"`loss = {loss}` cannot stand with `{other}`, which is a bound (`hinge`)"
        )
    bounds = Bounds(low=0, high=1, low_open=not avoid, high_open=avoid)
    if mass is not None and not bounds.hold(mass):
        limits = f"{bounds} with `avoid`" if avoid else bounds
        message = f"`mass` must be {limits}, found `{shown(given.written['mass'].value)}`"
        raise env.fail(codes.OUT_OF_BOUNDS.at(given.place("mass"), message))
    if avoid:
        return "hinge", mass or 0.0
    return loss or ("nll" if mass is None else "hinge"), mass


def _clash(env: Env, place: Place, message: str) -> Reported:
    return env.fail(codes.ATTRIBUTES_CLASH.at(place, message))


# --- signal ----------------------------------------------------------------------------------------------------------


def _signal(env: Env, item: ast.Signal) -> c.Toward | c.Classify:
    given = read_block(env, "signal", item.block.attributes, head(item))
    spans = attempt(lambda: subject(env, item.subject, "signal"))
    kinds = [name for name in ("toward", "classify") if name in given]
    if given.later:
        raise Reported
    if not kinds:
        message = "this `signal` lacks its target, `toward` or `classify`"
        raise env.fail(name_codes.MISSING_ATTRIBUTE.at(head(item), message))
    if len(kinds) == 2:
        raise _clash(env, given.written["classify"].name_place, "`toward` and `classify` are two signals, not one")
    if spans is None:
        raise Reported
    if kinds == ["toward"]:
        return _toward(env, item, given, spans)
    return _classify(env, item, given, spans)


def _toward(env: Env, item: ast.Signal, given: Given, spans: c.SpanSet) -> c.Toward:
    target: c.Concept | c.FieldPath = given["toward"]
    anchored = isinstance(target, c.Concept)
    if anchored and given["loss"] == "mse":
        raise _clash(
            env,
            given.place("loss"),
            "`loss = mse` cannot stand with an anchor, whose length says nothing; take `cosine`",
        )
    return c.Toward(
        **_common(env, item, given),
        subject=spans,
        layers=given["layers"],
        pool=given["pool"] or "each",
        target=target,
        loss=given["loss"] or ("cosine" if anchored else "mse"),
        weight=given["weight"],
        per=given["per"],
    )


def _classify(env: Env, item: ast.Signal, given: Given, spans: c.SpanSet) -> c.Classify:
    if "classes" not in given:
        message = "this `signal` lacks `classes`, the number of classes or their labels"
        raise env.fail(name_codes.MISSING_ATTRIBUTE.at(head(item), message))
    label: c.FieldPath | str = given["classify"]
    if label in BUILT_INS and label != "index":
        message = f"a label is an attribute of the data, a field or `index`, found the built-in `{label}`"
        help = "write the labels into a field of the record, one per span"
        raise env.fail(codes.WRONG_TYPE.at(given.place("classify"), message, help=help))
    if isinstance(label, str) and label != "index" and not shape(env, spans).open:
        near = did_you_mean(label, ["index"]) or f"a field of the record is `.{label}`"
        raise env.fail(
            name_codes.NO_ATTRIBUTE.at(given.place("classify"), f"these spans have no attribute `{label}`", help=near)
        )
    return c.Classify(
        **_common(env, item, given),
        subject=spans,
        layers=given["layers"],
        pool=given["pool"] or "last",
        label=label,
        classes=given["classes"],
        weight=given["weight"],
        per=given["per"],
    )


@reads(Type.TARGET)
def _target(env: Env, expr: ast.Expr, entry: Entry) -> c.Concept | c.FieldPath:
    """`NAME.anchor`, or a field that holds vectors."""
    path = field_path(expr)
    if path is not None:
        check_field(env, path, expr)
        return path
    match expr:
        case ast.Member(ast.Name() | ast.Member() as base, "anchor"):
            return anchored(env, base)
        case ast.Name() if (found := env.lookup(expr)) is not None and found.noun == "concept":
            raise mismatch(env, expr, entry, help=f"write `{shown(expr)}.anchor`")
    raise mismatch(env, expr, entry)


def concept(env: Env, expr: ast.Expr) -> c.Concept:
    """The concept that `expr` names."""
    env, expr = env.unwrap(expr)
    if not isinstance(expr, ast.Name | ast.Member):
        raise env.fail(codes.WRONG_TYPE.at(expr.place, f"expected a concept, found `{shown(expr)}`"))
    found: Declaration = env.find(expr, "concept")
    known = env.state.concepts.get(found)
    if known is None:
        raise Reported
    return known


def anchored(env: Env, expr: ast.Expr) -> c.Concept:
    """The concept that `expr` names; fails on one without an anchor."""
    found = concept(env, expr)
    if found.anchor is None:
        raise env.fail(model_codes.NO_ANCHOR.at(expr.place, f"concept `{found.name}` has no anchor"))
    return found


@reads(Type.LABEL)
def _label(env: Env, expr: ast.Expr, entry: Entry) -> c.FieldPath | str:
    """A field, or the name of an attribute of the spans."""
    path = field_path(expr)
    if path is not None:
        check_field(env, path, expr)
        return path
    if not isinstance(expr, ast.Name) or expr.name in STEPS:
        raise mismatch(env, expr, entry)
    return expr.name


@reads(Type.CLASSES)
def _classes(env: Env, expr: ast.Expr, entry: Entry) -> int | tuple[str, ...]:
    """A count of at least 2, or distinct labels."""
    if not isinstance(expr, ast.List):
        count = number(env, expr, entry)
        within(env, expr, entry, count)
        if count != int(count):
            raise mismatch(env, expr, entry)
        return int(count)
    labels: list[str] = []
    for item in expr.items:
        view, label = env.unwrap(item)
        if not isinstance(label, ast.String):
            raise mismatch(view, label, entry, help='labels are strings: `["NOUN", "VERB"]`')
        listed_once(env, label, label.value, labels)
        labels.append(label.value)
    if len(labels) < 2:
        raise env.fail(codes.OUT_OF_BOUNDS.at(expr.place, f"`classes` needs at least 2 labels, found {len(labels)}"))
    return tuple(labels)


# --- relate ----------------------------------------------------------------------------------------------------------


def _relate(env: Env, item: ast.Relate) -> c.Relate:
    relation = item.relation
    if relation.name in LATER_RELATIONS:
        env.later(relation.place, f"`{relation.name}`")
        raise Reported
    given = read_block(env, "relate", item.block.attributes, head(item))
    source = attempt(lambda: concept(env, item.subject))
    target = attempt(lambda: anchored(env, item.object))
    match relation.name:
        case "is_a" | "opposes" | "distinct" as kind:
            pass
        case _:
            near = did_you_mean(relation.name, [*RELATIONS, *LATER_RELATIONS])
            raise env.fail(codes.UNKNOWN_WORD.at(relation.place, f"no relation `{relation.name}`", help=near))
    if source is None or target is None:
        raise Reported
    if source.spans is None:
        raise env.fail(model_codes.NO_ANCHOR.at(item.subject.place, f"concept `{source.name}` has no spans"))
    return c.Relate(
        **_common(env, item, given),
        subject=source,
        relation=kind,
        object=target,
        layers=given["layers"],
        pool=given["pool"] or "mean",
        margin=given["margin"],
        weight=given["weight"],
        per=given["per"],
    )


# --- weigh -----------------------------------------------------------------------------------------------------------


def _weigh(env: Env, item: ast.Weigh) -> c.Weigh:
    given = read_block(env, "weigh", item.block.attributes, head(item))
    spans = attempt(lambda: subject(env, item.subject, "weigh"))
    if "factor" not in given and not given["only"]:
        message = "this `weigh` lacks `factor`, a number or a field (or `only = true`)"
        raise env.fail(name_codes.MISSING_ATTRIBUTE.at(head(item), message))
    if spans is None:
        raise Reported
    factor = given["factor"]
    return c.Weigh(
        **_common(env, item, given), subject=spans, factor=1.0 if factor is None else factor, only=given["only"]
    )


@reads(Type.FACTOR)
def _factor(env: Env, expr: ast.Expr, entry: Entry) -> float | c.FieldPath:
    """A number of at least 0, or a field."""
    path = field_path(expr)
    if path is not None:
        check_field(env, path, expr)
        return path
    value = number(env, expr, entry)
    within(env, expr, entry, value)
    return float(value)
