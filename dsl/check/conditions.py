"""Conditions: what a `where` says about a span, or about a query and a key -> `checked.Scalar`.

Expressions are typed from the leaves. A built-in attribute has its type; what an attribute of the data holds is known only to
the data, so that it may stand for any value and is compared with one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from .. import ast
from .. import checked as c
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import did_you_mean
from ..vocabulary import BUILT_INS, CONDITIONS, STEPS
from .env import Env, Reported, Shape, shown
from .values import OPERATORS, check_field, choice, describe, field_path, refuse_measures

Roles = Mapping[c.Role, tuple[c.SpanSet, Shape]]
"""The spans that a condition is about, and what they are like: `self`, or `query` and `key`."""

ORDER = ("<", ">", "<=", ">=")
COMPARISONS = ("==", "!=", *ORDER)


class Kind(Enum):
    """The type of a scalar, in the words of a message."""

    NUMBER = "a number"
    STRING = "a string"
    TRUTH = "`true` or `false`"
    SPAN = "a span"
    CONDITION = "a condition"
    ATTRIBUTE = "an attribute of the data"


BUILT_IN_KINDS = {"text": Kind.STRING, "start": Kind.NUMBER, "end": Kind.NUMBER, "index": Kind.NUMBER}


@dataclass(frozen=True, slots=True)
class Typed:
    """A scalar, its type, and what was typed for it."""

    node: c.Scalar
    kind: Kind
    expr: ast.Expr


def condition(env: Env, expr: ast.Expr, roles: Roles) -> c.Scalar:
    """The condition that `expr` states about the spans of `roles`."""
    found = _scalar(env, expr, roles)
    if found.kind is not Kind.CONDITION:
        help = f"compare it: `{shown(expr)} == ...`" if found.kind is Kind.ATTRIBUTE else None
        raise _fail(
            env,
            expr,
            f"expected a condition because `where` takes one, found `{shown(expr)}`, {found.kind.value}",
            help,
        )
    return found.node


def _fail(env: Env, expr: ast.Expr, message: str, help: str | None = None) -> Reported:
    return env.fail(codes.WRONG_TYPE.at(expr.place, message, help=help))


def _scalar(env: Env, expr: ast.Expr, roles: Roles) -> Typed:
    env, expr = env.unwrap(expr)
    refuse_measures(env, expr)
    match expr:
        case ast.Number(value):
            return Typed(c.Literal_(value), Kind.NUMBER, expr)
        case ast.String(value):
            return Typed(c.Literal_(value), Kind.STRING, expr)
        case ast.Name("true" | "false" as word):
            return Typed(c.Literal_(word == "true"), Kind.TRUTH, expr)
        case ast.Name():
            return _name(env, expr, roles)
        case ast.Member(base, name) if not isinstance(base, ast.Field):
            return _member(env, expr, _scalar(env, base, roles), name, roles)
        case ast.Call():
            return _call(env, expr, roles)
        case ast.Unary("not", operand):
            return Typed(c.Not(condition(env, operand, roles)), Kind.CONDITION, expr)
        case ast.Unary(_, operand):
            return _negative(env, expr, operand, roles)
        case ast.Binary(op):
            return _binary(env, expr, op, roles)
    help = "name an attribute without the dot" if isinstance(expr, ast.Field) else None
    raise _fail(
        env, expr, f"expected a value or a condition because `where` takes them, found {describe(env, expr)}", help
    )


# --- spans and their attributes --------------------------------------------------------------------------------------


def _name(env: Env, expr: ast.Name, roles: Roles) -> Typed:
    name = expr.name
    if "self" in roles:
        if name in STEPS:
            return Typed(c.SpanRef("self", (name,)), Kind.SPAN, expr)
        return _attribute(env, expr, c.SpanRef("self"), name, roles)
    match name:
        case "query" | "key":
            return Typed(c.SpanRef(name), Kind.SPAN, expr)
    message = f"expected `query` or `key` because a join is about both, found `{name}`"
    raise _fail(env, expr, message, f"write `query.{name}` or `key.{name}`")


def _member(env: Env, expr: ast.Member, base: Typed, name: str, roles: Roles) -> Typed:
    if not isinstance(base.node, c.SpanRef):
        raise _fail(env, expr, f"expected a span before `.{name}`, found `{shown(base.expr)}`, {base.kind.value}")
    if name in STEPS:
        return Typed(c.SpanRef(base.node.role, (*base.node.steps, name)), Kind.SPAN, expr)
    return _attribute(env, expr, base.node, name, roles)


def _attribute(env: Env, expr: ast.Expr, span: c.SpanRef, name: str, roles: Roles) -> Typed:
    kind = BUILT_IN_KINDS.get(name)
    if kind is None:
        spans, shape = roles[span.role]
        if span.steps or not shape.has(name):
            whose = f"`{spans.name}`" if isinstance(spans, c.Named) and not span.steps else "these spans"
            own = frozenset[str]() if span.steps else shape.attributes or frozenset()
            near = did_you_mean(name, [*BUILT_INS, *STEPS, *own]) or _whence(own)
            message = (
                f"spans of {whose} have no attribute `{name}`"
                if whose[0] == "`"
                else f"{whose} have no attribute `{name}`"
            )
            raise env.fail(name_codes.NO_ATTRIBUTE.at(expr.place, message, help=near))
    return Typed(c.Attr(span, name), kind or Kind.ATTRIBUTE, expr)


def _whence(own: Collection[str]) -> str:
    """Where attributes come from, for a set that can have those alone."""
    if own:
        return f"its spans have {choice(sorted(own))} besides the built-in ones"
    return "only `offsets`, `markup` and `special` give spans attributes of the data"


def _call(env: Env, expr: ast.Call, roles: Roles) -> Typed:
    callee = expr.callee
    if isinstance(callee, ast.Name) and callee.name == "linked":
        return Typed(_linked(env, expr, roles), Kind.CONDITION, expr)
    if not isinstance(callee, ast.Name) or callee.name != "length":
        near = did_you_mean(shown(callee), CONDITIONS)
        raise env.fail(
            name_codes.UNKNOWN_FUNCTION.at(callee.place, f"a condition has no function `{shown(callee)}`", help=near)
        )
    if len(expr.arguments) != 1 or expr.arguments[0].label is not None:
        raise env.fail(name_codes.MISSING_ARGUMENT.at(expr.place, "`length` takes one string: `length(text)`"))
    operand = _scalar(env, expr.arguments[0].value, roles)
    _need(env, operand, Kind.STRING, "`length` takes strings")
    return Typed(c.Length(operand.node), Kind.NUMBER, expr)


def _linked(env: Env, expr: ast.Call, roles: Roles) -> c.Linked:
    """`linked(.path, query.index, key.index)`, or the indices the other way round."""
    how = "`linked(.align, query.index, key.index)`"
    if "self" in roles:
        raise _fail(env, expr, "`linked` joins a query and a key, and this condition is about one span")
    if len(expr.arguments) != 3 or any(argument.label is not None for argument in expr.arguments):
        message = f"`linked` takes a field and the index of each side: {how}"
        raise env.fail(name_codes.MISSING_ARGUMENT.at(expr.place, message))
    view, field = env.unwrap(expr.arguments[0].value)
    path = field_path(field)
    if path is None:
        message = f"expected a field because `linked` reads one, found {describe(view, field)}"
        raise _fail(view, field, message, f"write {how}")
    check_field(view, path, field)
    sides: list[c.Role] = []
    for argument in expr.arguments[1:]:
        match _scalar(env, argument.value, roles).node:
            case c.Attr(c.SpanRef(role, ()), "index") if role not in sides:
                sides.append(role)
            case _:
                message = f"`linked` takes the index of each side, found `{shown(argument.value)}`"
                raise _fail(env, argument.value, message, f"write {how}")
    return c.Linked(path, "query" if sides[0] == "query" else "key")


# --- operators -------------------------------------------------------------------------------------------------------


def _need(env: Env, found: Typed, kind: Kind, reason: str) -> None:
    """Fail where a scalar is not of `kind` and cannot turn out to be."""
    if found.kind not in (kind, Kind.ATTRIBUTE):
        message = f"expected {kind.value} because {reason}, found `{shown(found.expr)}`, {found.kind.value}"
        raise _fail(env, found.expr, message)


def _negative(env: Env, expr: ast.Unary, operand: ast.Expr, roles: Roles) -> Typed:
    found = _scalar(env, operand, roles)
    _need(env, found, Kind.NUMBER, "`-` takes numbers")
    if isinstance(found.node, c.Literal_) and isinstance(found.node.value, int | float):
        return Typed(c.Literal_(-found.node.value), Kind.NUMBER, expr)
    return Typed(c.Arithmetic("-", c.Literal_(0), found.node), Kind.NUMBER, expr)


def _binary(env: Env, expr: ast.Binary, op: str, roles: Roles) -> Typed:
    if op in ("and", "or"):
        return _connected(env, expr, roles)
    if op == "in":
        return _membership(env, expr, roles)
    if op not in (*COMPARISONS, *OPERATORS, "before", "after"):
        help = "`where` takes all to its right; parentheses around a filtered set end it" if op in ("|", "&") else None
        raise _fail(env, expr, f"`{op}` joins no values of a condition", help)
    left, right = _scalar(env, expr.left, roles), _scalar(env, expr.right, roles)
    if op in OPERATORS:
        for side in (left, right):
            _need(env, side, Kind.NUMBER, f"`{op}` takes numbers")
        return Typed(c.Arithmetic(op, left.node, right.node), Kind.NUMBER, expr)
    if op in ("before", "after"):
        return _order(env, expr, op, left, right)
    if op in ORDER:
        for side in (left, right):
            _need(env, side, Kind.NUMBER, f"`{op}` takes numbers")
    elif Kind.CONDITION in (left.kind, right.kind):
        side = left if left.kind is Kind.CONDITION else right
        raise _fail(env, side.expr, f"expected a value because `{op}` compares values, found a condition")
    elif len(kinds := {left.kind, right.kind}) == 2 and (Kind.ATTRIBUTE not in kinds or Kind.SPAN in kinds):
        raise _unlike(env, expr, left, right)
    return Typed(c.Compare(op, left.node, right.node), Kind.CONDITION, expr)


def _unlike(env: Env, expr: ast.Expr, left: Typed, right: Typed) -> Reported:
    kinds = " and ".join(f"`{shown(side.expr)}` is {side.kind.value}" for side in (left, right))
    return _fail(env, expr, f"values of two types are never equal: {kinds}")


def _order(env: Env, expr: ast.Binary, op: str, left: Typed, right: Typed) -> Typed:
    spans: list[c.SpanRef] = []
    for side in (left, right):
        if not isinstance(side.node, c.SpanRef):
            message = f"expected a span because `{op}` compares spans, found `{shown(side.expr)}`, {side.kind.value}"
            raise _fail(env, side.expr, message)
        spans.append(side.node)
    first, second = spans if op == "before" else reversed(spans)
    return Typed(c.Before(first, second), Kind.CONDITION, expr)


def _connected(env: Env, expr: ast.Binary, roles: Roles) -> Typed:
    """A chain of one connective, flattened also through parentheses."""
    node = c.And if expr.op == "and" else c.Or
    chain: list[ast.Expr] = []
    left: ast.Expr = expr
    while isinstance(left, ast.Binary) and left.op == expr.op:
        chain.append(left.right)
        left = left.left
    operands: list[c.Scalar] = []
    for side in (left, *reversed(chain)):
        found = condition(env, side, roles)
        operands.extend(found.operands if isinstance(found, node) else (found,))
    return Typed(node(tuple(operands)), Kind.CONDITION, expr)


def _membership(env: Env, expr: ast.Binary, roles: Roles) -> Typed:
    """`x in [..]`: the values are of one type, sorted, each once."""
    item = _scalar(env, expr.left, roles)
    view, listed = env.unwrap(expr.right)
    if not isinstance(listed, ast.List) or not listed.items:
        raise _fail(view, listed, f"expected a list because `in` takes one in a condition, found `{shown(listed)}`")
    values: set[str | float] = set()
    kinds: set[Kind] = set() if item.kind is Kind.ATTRIBUTE else {item.kind}
    for entry in listed.items:
        kind, value = _constant(*view.unwrap(entry))
        kinds.add(kind)
        values.add(value)
        if len(kinds) > 1:
            known = item.kind is not Kind.ATTRIBUTE
            reason = f"`{shown(expr.left)}` is {item.kind.value}" if known else "a list holds values of one type"
            raise _fail(view, entry, f"`{shown(entry)}` is {kind.value}, but {reason}")
    return Typed(c.Member(item.node, tuple(sorted(values))), Kind.CONDITION, expr)


def _constant(env: Env, expr: ast.Expr) -> tuple[Kind, str | float]:
    """The type and the value of an entry of a list."""
    match expr:
        case ast.String(value):
            return Kind.STRING, value
        case ast.Number(value):
            return Kind.NUMBER, value
        case ast.Unary("-", ast.Number(value)):
            return Kind.NUMBER, -value
    help = f'write `"{expr.name}"`' if isinstance(expr, ast.Name) else None
    raise _fail(env, expr, f"expected a string or a number in the list, found `{shown(expr)}`", help)
