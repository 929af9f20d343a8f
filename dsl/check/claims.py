"""What a spec expects: of its data while compiling, and of the model after training. In the root file alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .. import ast
from .. import checked as c
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import did_you_mean
from ..vocabulary import COVERAGE, GAIN, LOSS, METRICS, NOT_NEGATIVE, OF_RULE, Entry, Type
from .blocks import read_call
from .conditions import COMPARISONS
from .env import Env, Reported, shown
from .spans import bound
from .values import choice, mismatch, number, reads, within

Rules = Mapping[str, c.Rule]


@dataclass(slots=True)
class _Found:
    """Claims as they are found."""

    data: list[c.Coverage] = field(default_factory=list)
    trained: list[c.Trained] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Claims:
    """Every claim of a spec: those that compiling decides, and those about a trained model."""

    data: tuple[c.Coverage, ...]
    trained: tuple[c.Trained, ...]


def check_claims(env: Env, rules: Rules) -> Claims:
    """The claims of the root file. `rules`: those that are good, by id."""
    found = _Found()
    for item in env.file.spec.items:
        if isinstance(item, ast.Expect):
            with suppress(Reported):
                _claim(env, item, rules, found)
    return Claims(tuple(found.data), tuple(found.trained))


def _claim(env: Env, item: ast.Expect, rules: Rules, found: _Found) -> None:
    claim = item.claim
    subject = _about(claim.left) if isinstance(claim, ast.Binary) and claim.op in COMPARISONS else None
    if not isinstance(claim, ast.Binary) or subject is None:
        message = f"expected a comparison because `expect` takes a claim, found `{shown(claim)}`"
        example = "expect trained mass(NAME) >= 0.5" if item.trained else "expect coverage(NAME) >= 100"
        raise env.fail(codes.WRONG_TYPE.at(claim.place, message, help=f"write `{example}`"))
    name = shown(subject.callee)
    if name not in ("coverage", "gain", *METRICS):
        near = did_you_mean(name, ["gain", *METRICS] if item.trained else ["coverage"])
        raise env.fail(name_codes.UNKNOWN_FUNCTION.at(subject.callee.place, f"no claim about `{name}`", help=near))
    _check_time(env, item, subject, name)
    if name == "coverage":
        found.data.append(_coverage(env, item, claim, subject))
    elif name == "gain":
        given = read_call(env, subject, name, GAIN)
        metric = _metric(env, given["metric"], rules)
        number = _bound(env, claim.right, Entry("gain", Type.NUMBER))
        found.trained.append(c.Trained(metric, given["over"], claim.op, number, item.place))
    else:
        metric = _metric(env, subject, rules)
        number = _bound(env, claim.right, Entry(name, Type.NUMBER, bounds=METRICS[name].bounds))
        found.trained.append(c.Trained(metric, None, claim.op, number, item.place))


def _about(expr: ast.Expr) -> ast.Call | None:
    """`NAME(...)`; a name alone is a call without arguments."""
    match expr:
        case ast.Call():
            return expr
        case ast.Name():
            return ast.Call(expr, (), expr.place)
    return None


def _check_time(env: Env, item: ast.Expect, subject: ast.Call, name: str) -> None:
    """Fail on a claim that is decided at another time than it says."""
    data = name == "coverage"
    if item.trained != data:
        return
    if data:
        message, written = f"`{name}` is known while compiling, and not of a trained model", "expect"
    else:
        message, written = f"`{name}` is known of a trained model alone", "expect trained"
    help = f"write `{written} {shown(item.claim)}`"
    raise env.fail(codes.CLAIM_TIME.at(subject.callee.place, message, help=help))


def _bound(env: Env, expr: ast.Expr, entry: Entry) -> float:
    value = number(env, expr, entry)
    within(env, expr, entry, value)
    return float(value)


# --- of the data -----------------------------------------------------------------------------------------------------


def _coverage(env: Env, item: ast.Expect, claim: ast.Binary, call: ast.Call) -> c.Coverage:
    """`coverage(SPANS, of: SPLIT) >= NUMBER`."""
    given = read_call(env, call, "coverage", COVERAGE)
    bound(env, given["spans"], call.place)
    _check_split(env, call, given["of"])
    count = _bound(env, claim.right, Entry("coverage", Type.NUMBER, bounds=NOT_NEGATIVE))
    return c.Coverage(given["spans"], shown(call.arguments[0].value), claim.op, count, given["of"], item.place)


def _check_split(env: Env, call: ast.Call, split: str) -> None:
    """Fail on a split that no source has, where every source states its splits."""
    known: set[str] = set()
    for source in env.state.sources.values():
        match source.split:
            case c.HashSplit(shares):
                known.update(name for name, _ in shares)
            case c.ConstantSplit(name):
                known.add(name)
            case c.FieldSplit():
                return
    if split not in known and not env.state.sources_failed:
        message = f"no source has a split `{split}`"
        near = did_you_mean(split, known) or f"name one of them: `of: {min(known, default=split)}`"
        raise env.fail(name_codes.UNKNOWN_SPLIT.at(call.place, message, help=near))


# --- of the trained model --------------------------------------------------------------------------------------------


@reads(Type.METRIC)
def _asked(env: Env, expr: ast.Expr, entry: Entry) -> ast.Call:
    """The expression of a metric: what it may be is seen where it is used."""
    found = _about(expr)
    if found is None or shown(found.callee) not in METRICS:
        raise mismatch(env, expr, entry, help=f"a metric is {choice(list(METRICS))}")
    return found


def _metric(env: Env, call: ast.Call, rules: Rules) -> c.Metric:
    """`mass(RULE, of: SPLIT)`, or `loss` without a rule."""
    name = shown(call.callee)
    given: dict[str, Any] = read_call(env, call, name, LOSS if name == "loss" else OF_RULE)
    _check_split(env, call, given["of"])
    rule: str | None = given["rule"]
    if rule is not None:
        if rule not in rules:
            raise Reported  # where the rule is declared
        _check_kind(env, call, name, rules[rule])
    return c.Metric(name, rule, given["of"])


def _check_kind(env: Env, call: ast.Call, name: str, rule: c.Rule) -> None:
    """Fail where rules of the kind do not have the metric."""
    place = next(a.value.place for a in call.arguments if a.label in (None, "rule"))
    kind = type(rule).__name__.lower()
    has = [metric for metric, entry in METRICS.items() if kind in entry.kinds]
    unbound = isinstance(rule, c.Attend) and rule.mass is None
    if unbound:
        has.remove("satisfied")
    if name in has:
        return
    if unbound and name == "satisfied":
        message = f"`{rule.id}` has no `mass`, and so no bound that its rows could satisfy"
    else:
        message = f"`{name}` is a number of {choice(METRICS[name].kinds)} rules, found `{rule.id}`, a `{kind}`"
    help = f"`{rule.id}` has {_all(has)}" if has else None
    raise env.fail(codes.NO_METRIC.at(place, message, help=help))


def _all(words: list[str]) -> str:
    """`a`, `b` and `c`."""
    return choice(words).replace(" or ", " and ")
