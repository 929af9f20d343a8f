"""Signals -> `checked.Toward`, `Classify`, `Contrast`, `Predict` or `Distil`: what the hidden state of spans should encode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypedDict

from .. import ast
from .. import checked as c
from ..codes import model as model_codes
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import did_you_mean
from ..vocabulary import BUILT_INS, MAPS, NEXT, STEPS, Entry, Type
from .blocks import Given, read_block, read_call
from .common import anchored, attempt, clash, common, head
from .env import Env, Reported, shown
from .spans import shape, subject
from .teachers import hidden, logits, named
from .values import check_field, choice, field_path, listed_once, mismatch, number, reads, within

LABELS: Mapping[str, tuple[str, ...]] = {"classify": ("index",), "contrast": ("index", "text")}
"""The built-in attributes that a signal can read as a label."""


MEMBERS = {"concept": "anchor", "teacher": "hidden(layer: 4)"}
"""What a signal can be pulled toward, of what has a name."""


class _Shared(TypedDict):
    """What every signal has beside what every rule has."""

    subject: c.SpanSet
    layers: c.Layers
    weight: float
    per: c.Per
    through: c.Through | None


def signal(env: Env, item: ast.Signal) -> c.Signal:
    """The signal of one block, which has one target."""
    given = read_block(env, "signal", item.block.attributes, head(item))
    spans = attempt(lambda: subject(env, item.subject, "signal"))
    kinds = [name for name in TARGETS if name in given]
    if not kinds:
        message = f"this `signal` lacks its target, {choice(tuple(TARGETS))}"
        raise env.fail(name_codes.MISSING_ATTRIBUTE.at(head(item), message))
    if len(kinds) > 1:
        message = f"`{kinds[0]}` and `{kinds[1]}` are two signals, not one"
        raise clash(env, given.written[kinds[1]].name_place, message)
    if spans is None:
        raise Reported
    shared: _Shared = {
        "subject": spans,
        "layers": given["layers"],
        "weight": given["weight"],
        "per": given["per"],
        "through": _through(env, given),
    }
    return TARGETS[kinds[0]](env, item, given, shared)


def _toward(env: Env, item: ast.Signal, given: Given, shared: _Shared) -> c.Toward:
    target: c.Concept | c.FieldPath | c.Hidden = given["toward"]
    has_anchor = isinstance(target, c.Concept)
    if has_anchor and given["loss"] == "mse":
        reason = "`loss = mse` cannot stand with an anchor, whose length says nothing; take `cosine`"
        raise clash(env, given.place("loss"), reason)
    if has_anchor:
        _check_width(env, given, shared["through"], "an anchor has")
    if isinstance(target, c.Hidden):
        _check_teacher(env, given, shared["through"], target.teacher)
    _check_stored(env, given, target)
    dtype: c.Dtype | None = given["dtype"]
    return c.Toward(
        **common(env, item, given),
        **shared,
        pool=given["pool"] or "each",
        target=target,
        loss=given["loss"] or ("cosine" if has_anchor else "mse"),
        dtype=dtype or "float16",
    )


def _check_teacher(env: Env, given: Given, through: c.Through | None, teacher: c.Teacher) -> None:
    """Fail where the model's states, or what a map makes of them, do not have the width of the teacher's."""
    contract = env.state.contract
    if contract is None:
        return
    if through is not None and through.width != teacher.hidden:
        message = (
            f"`through` gives {through.width} numbers, and teacher `{teacher.name}` has a width of {teacher.hidden}"
        )
        raise env.fail(model_codes.VECTOR_WIDTH.at(given.place("through"), message))
    if through is None and contract.hidden != teacher.hidden:
        message = f"teacher `{teacher.name}` has a width of {teacher.hidden}, model `{env.state.model_name}` of {contract.hidden}"
        help = "`through = linear` maps one to the other"
        raise env.fail(model_codes.TEACHER_WIDTH.at(given.place("toward"), message, help=help))


def _check_stored(env: Env, given: Given, target: c.Concept | c.FieldPath | c.Hidden) -> None:
    """Fail where `dtype` stands with a target that is not stored."""
    if "dtype" in given and not isinstance(target, tuple):
        if isinstance(target, c.Concept):
            raise clash(env, given.place("dtype"), "`dtype` cannot stand with an anchor, which is float32 always")
        if target.teacher.run == "online":
            name = target.teacher.name
            raise clash(
                env,
                given.place("dtype"),
                f"`dtype` cannot stand with teacher `{name}`, whose states are not stored (`run = online`)",
            )


def _classify(env: Env, item: ast.Signal, given: Given, shared: _Shared) -> c.Classify:
    if "classes" not in given:
        message = "this `signal` lacks `classes`, the number of classes or their labels"
        raise env.fail(name_codes.MISSING_ATTRIBUTE.at(head(item), message))
    return c.Classify(
        **common(env, item, given),
        **shared,
        pool=given["pool"] or "last",
        label=_label_of(env, given, "classify", shared["subject"]),
        classes=given["classes"],
    )


def _contrast(env: Env, item: ast.Signal, given: Given, shared: _Shared) -> c.Contrast:
    return c.Contrast(
        **common(env, item, given),
        **shared,
        pool=given["pool"] or "mean",
        label=_label_of(env, given, "contrast", shared["subject"]),
        temperature=0.1 if given["temperature"] is None else given["temperature"],
        scope=given["scope"],
    )


def _predict(env: Env, item: ast.Signal, given: Given, shared: _Shared) -> c.Predict | c.Distil:
    target = given["predict"]
    _check_width(env, given, shared["through"], "the final norm takes")
    if isinstance(target, c.Teacher):
        temperature = 1.0 if given["temperature"] is None else given["temperature"]
        return c.Distil(
            **common(env, item, given), **shared, pool=given["pool"] or "each", teacher=target, temperature=temperature
        )
    if "temperature" in given:
        raise clash(
            env, given.place("temperature"), "`temperature` cannot stand with a token, which is no distribution"
        )
    return c.Predict(**common(env, item, given), **shared, pool=given["pool"] or "each", target=target)


TARGETS: Mapping[str, Callable[[Env, ast.Signal, Given, _Shared], c.Signal]] = {
    "toward": _toward,
    "classify": _classify,
    "contrast": _contrast,
    "predict": _predict,
}


# --- targets ---------------------------------------------------------------------------------------------------------


@reads(Type.TARGET)
def _target(env: Env, expr: ast.Expr, entry: Entry) -> c.Concept | c.FieldPath | c.Hidden:
    """`NAME.anchor`, a field that holds vectors, or `NAME.hidden(layer: k)` of a teacher."""
    path = field_path(expr)
    if path is not None:
        check_field(env, path, expr)
        return path
    if (teacher := named(env, expr)) is not None:
        return hidden(env, expr, teacher)
    match expr:
        case ast.Member(ast.Name() | ast.Param() | ast.Member() as base, "anchor"):
            return anchored(env, base)
        case ast.Name() if (found := env.lookup(expr)) is not None and found.noun in MEMBERS:
            raise mismatch(env, expr, entry, help=f"write `{shown(expr)}.{MEMBERS[found.noun]}`")
    raise mismatch(env, expr, entry)


@reads(Type.TOKEN)
def _token(env: Env, expr: ast.Expr, entry: Entry) -> int | c.FieldPath | c.Teacher:
    """`next(n)`, a field that holds a token, or `NAME.logits` of a teacher."""
    path = field_path(expr)
    if path is not None:
        check_field(env, path, expr)
        return path
    if (teacher := named(env, expr)) is not None:
        return logits(env, expr, teacher)
    match expr:
        case ast.Call(callee=ast.Name("next")):
            count: int = read_call(env, expr, "next", NEXT)["count"]
            return count
    raise mismatch(env, expr, entry)


# --- labels ----------------------------------------------------------------------------------------------------------


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


def _label_of(env: Env, given: Given, name: str, spans: c.SpanSet) -> c.FieldPath | str:
    """The label that attribute `name` of the block gives; fails on one that the spans cannot have."""
    label: c.FieldPath | str = given[name]
    if isinstance(label, tuple):
        return label
    place, known = given.place(name), LABELS[name]
    plain = spans.base if isinstance(spans, c.Named) else spans
    if isinstance(plain, c.Record):
        message = f"the whole record has no attribute that `{name}` can read"
        raise env.fail(name_codes.NO_ATTRIBUTE.at(place, message, help=f"read a field: `.{label}`"))
    if label in BUILT_INS and label not in known:
        message = f"`{name}` reads an attribute of the data, a field or {choice(known)}, found the built-in `{label}`"
        help = "write the labels into a field of the record, one per span"
        raise env.fail(codes.WRONG_TYPE.at(place, message, help=help))
    if label not in known and not shape(env, spans).has(label):
        near = did_you_mean(label, known) or f"a field of the record is `.{label}`"
        raise env.fail(name_codes.NO_ATTRIBUTE.at(place, f"these spans have no attribute `{label}`", help=near))
    return label


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


# --- maps ------------------------------------------------------------------------------------------------------------


class _Map(NamedTuple):
    """A map as written; without a width, it is that of what it is compared with."""

    kind: Literal["linear", "mlp"]
    hidden: int | None
    width: int | None


@reads(Type.MAP)
def _map(env: Env, expr: ast.Expr, entry: Entry) -> _Map:
    """`linear`, `linear(width: n)` or `mlp(hidden: n, width: n)`."""
    word = expr.callee if isinstance(expr, ast.Call) else expr
    if not isinstance(word, ast.Name):
        raise mismatch(env, expr, entry)
    values: dict[str, Any] = {}
    if isinstance(expr, ast.Call) and word.name in MAPS:
        values = read_call(env, expr, word.name, MAPS[word.name])
    match word.name:
        case "linear":
            return _Map("linear", None, values.get("width"))
        case "mlp" if values:
            return _Map("mlp", values["hidden"], values["width"])
        case "mlp":
            raise mismatch(env, expr, entry, help="write `mlp(hidden: 1024)`")
    near = did_you_mean(word.name, MAPS)
    raise env.fail(name_codes.UNKNOWN_FUNCTION.at(word.place, f"no map `{word.name}`", help=near))


def _through(env: Env, given: Given) -> c.Through | None:
    """The map of a signal: as wide as the teacher whose state is its target, else as the model."""
    written: _Map | None = given["through"]
    contract = env.state.contract
    if written is None:
        return None
    if contract is None:
        raise Reported
    target = given["toward"]
    width = target.teacher.hidden if isinstance(target, c.Hidden) else contract.hidden
    return c.Through(written.kind, written.hidden, written.width or width)


def _check_width(env: Env, given: Given, through: c.Through | None, taker: str) -> None:
    """Fail where a map gives vectors of another width than the model's, which `taker` needs."""
    contract = env.state.contract
    if through is not None and contract is not None and through.width != contract.hidden:
        wants = f"{taker} {contract.hidden}, the width of model `{env.state.model_name}`"
        message = f"`through` gives {through.width} numbers, and {wants}"
        raise env.fail(model_codes.VECTOR_WIDTH.at(given.place("through"), message))
