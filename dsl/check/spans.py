"""Span sets: expressions over selectors, names and the algebra -> `checked.SpanSet`.

Every name in an expression is checked before it (see `order`), so that a name stands for one finished object. A set may be
nested `MAX_NESTING` deep and have `MAX_SIZE` nodes once its names are written out: everything that reads one recurses over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from .. import ast
from .. import checked as c
from ..codes import model as model_codes
from ..codes import names as name_codes
from ..codes import values as codes
from ..diagnostics import Applicability, Edit, Fix, did_you_mean
from ..source import Place
from ..vocabulary import PRELUDE_SETS, SELECTORS, STEPS, Entry, Type
from .blocks import read_call
from .conditions import condition
from .env import Env, Reported, Shape, one_line, shown
from .selectors import BUILDERS
from .values import field_path, mismatch, reads, refuse_measures

ALGEBRA = ("|", "&", "-", "in")
MAX_NESTING = 100
MAX_SIZE = 50_000
NO_ATTRIBUTES = frozenset[str]()
SELECTED: Mapping[type, frozenset[str] | None] = {
    c.Offsets: None,
    c.Markup: frozenset({"label"}),
    c.Special: frozenset({"label"}),
}
"""The attributes that selectors give their spans, where they give any; None: those that the data has."""


def subject(env: Env, expr: ast.Expr, owner: str) -> c.SpanSet:
    """The span set that `expr` gives to `owner` (`"span"`, `"attend"`), within the limits."""
    found = span_set(env, expr, Entry(owner, Type.SPAN))
    bound(env, found, expr.place)
    return found


@reads(Type.SPAN)
def span_set(env: Env, expr: ast.Expr, entry: Entry) -> c.SpanSet:
    """The span set that `expr` gives where `entry` takes one."""
    known: c.SpanSet | None = env.known(expr, Type.SPAN)
    if known is not None:
        return known
    env, expr = env.unwrap(expr)
    refuse_measures(env, expr)
    match expr:
        case ast.Binary(op) if op in ALGEBRA:
            return _algebra(env, expr, entry)
        case ast.Where(base, filtered):
            spans = span_set(env, base, entry)
            return c.Filter(spans, condition(env, filtered, {"self": (spans, shape(env, spans))}), filtered.place)
        case ast.Call():
            return _selected(env, expr, entry)
        case ast.Name(name):
            if name in PRELUDE_SETS and env.lookup(expr) is None:
                return c.Tokens() if name == "tokens" else c.Record()
            return _declared(env, expr)
        case ast.Member(base, name) if field_path(expr) is None:
            if env.opened(base) is not None or env.silent(expr):
                return _declared(env, expr)
            return _step(env, expr, span_set(env, base, entry), name)
    raise mismatch(env, expr, entry)


def bound(env: Env, spans: c.SpanSet, place: Place) -> None:
    """Fail on a set beyond the limits."""
    found = shape(env, spans)
    if found.depth > MAX_NESTING:
        raise env.fail(
            codes.NESTED_TOO_DEEP.at(place, f"sets are nested {found.depth} deep here, the limit is {MAX_NESTING}")
        )
    if found.size > MAX_SIZE:
        message = f"written out, this set has {found.size} parts, the limit is {MAX_SIZE}"
        raise env.fail(codes.TOO_LARGE.at(place, message))


def shape(env: Env, spans: c.SpanSet) -> Shape:
    """The shape of a set, worked out once per object."""
    known = env.state.shapes.get(id(spans))
    if known is not None:
        return known[1]
    match spans:
        case c.Union(left, right) | c.Intersection(left, right) | c.Difference(left, right) | c.Within(left, right):
            parts = [shape(env, left), shape(env, right)]
            attributes = _either(*parts) if isinstance(spans, c.Union) else parts[0].attributes
        case c.Filter() | c.Take() | c.Edge() | c.Neighbour() | c.Predicting() | c.OfSource() | c.Named():
            parts = [shape(env, spans.base)]
            attributes = NO_ATTRIBUTES if isinstance(spans, c.Neighbour | c.Predicting) else parts[0].attributes
        case c.Slot(path):
            parts, attributes = [], None if _of_messages(env, path) else NO_ATTRIBUTES
        case _:
            parts, attributes = [], SELECTED.get(type(spans), NO_ATTRIBUTES)
    depth = 1 + max((part.depth for part in parts), default=0)
    found = Shape(depth, 1 + sum(part.size for part in parts), attributes)
    env.state.shapes[id(spans)] = (spans, found)
    return found


def _of_messages(env: Env, path: c.FieldPath) -> bool:
    """Whether a slot may hold messages, whose keys are attributes."""
    texts = [source.text for source in env.state.sources.values()]
    return env.state.sources_failed or any(isinstance(text, c.Chat) and text.path == path for text in texts)


def _either(left: Shape, right: Shape) -> frozenset[str] | None:
    """The attributes that spans of one of two sets can have."""
    if left.attributes is None or right.attributes is None:
        return None
    return left.attributes | right.attributes


# --- names -----------------------------------------------------------------------------------------------------------


def _declared(env: Env, expr: ast.Name | ast.Member) -> c.SpanSet:
    """The set of a declared span, or of the spans of a concept."""
    found = env.find(expr, "span", "concept", also=PRELUDE_SETS)
    if isinstance(found.item, ast.SpanDecl):
        spans = env.state.spans.get(found)
        if spans is None:
            raise Reported
        return spans
    concept = env.state.concepts.get(found)
    if concept is None:
        raise Reported
    if concept.spans is None:
        raise env.fail(model_codes.NO_ANCHOR.at(expr.place, f"concept `{shown(expr)}` has no spans"))
    return concept.spans


def _step(env: Env, expr: ast.Member, base: c.SpanSet, name: str) -> c.SpanSet:
    match name:
        case "first" | "last":
            return c.Edge(base, name)
        case "next" | "previous":
            return c.Neighbour(base, name)
    message = f"a span set has no `.{name}`"
    raise env.fail(name_codes.NO_ATTRIBUTE.at(expr.place, message, help=did_you_mean(name, STEPS)))


def _selected(env: Env, call: ast.Call, entry: Entry) -> c.SpanSet:
    """What a selector gives."""
    callee = call.callee
    if not isinstance(callee, ast.Name):
        raise mismatch(env, call, entry)
    declared = env.lookup(callee)
    if declared is not None:
        message = f"`{callee.name}` is a {declared.noun} here, and cannot be called"
        raise env.fail(codes.WRONG_TYPE.at(callee.place, message))
    if callee.name not in SELECTORS:
        near = did_you_mean(callee.name, SELECTORS)
        raise env.fail(name_codes.UNKNOWN_FUNCTION.at(callee.place, f"no selector `{callee.name}`", help=near))
    arguments = read_call(env, call, callee.name, SELECTORS[callee.name])
    return BUILDERS[callee.name](env, call, arguments)


# --- the algebra -----------------------------------------------------------------------------------------------------


def _algebra(env: Env, expr: ast.Binary, entry: Entry) -> c.SpanSet:
    """A chain of one operator."""
    operands: list[ast.Expr] = []
    left: ast.Expr = expr
    while isinstance(left, ast.Binary) and left.op == expr.op:
        _refuse_mixing(env, left)
        operands.append(left.right)
        left = left.left
    operands.append(left)
    found: list[c.SpanSet] = []
    for operand in reversed(operands):
        with suppress(Reported):
            found.append(span_set(env, operand, entry))
    if len(found) < len(operands):
        raise Reported
    return _joined(found) if expr.op == "|" else _folded(expr.op, found)


def _joined(sets: list[c.SpanSet]) -> c.SpanSet:
    """A union as a balanced tree, which means the same: a chain of hundreds is not nested hundreds deep."""
    if len(sets) == 1:
        return sets[0]
    middle = (len(sets) + 1) // 2
    return c.Union(_joined(sets[:middle]), _joined(sets[middle:]))


def _folded(op: str, sets: list[c.SpanSet]) -> c.SpanSet:
    found = sets[0]
    for other in sets[1:]:
        match op:
            case "&":
                found = c.Intersection(found, other)
            case "-":
                found = c.Difference(found, other)
            case _:
                found = c.Within(found, other)
    return found


def _refuse_mixing(env: Env, expr: ast.Binary) -> None:
    """Fail where an operand is another operator of the algebra without parentheses."""
    for side in (expr.left, expr.right):
        if not isinstance(side, ast.Binary) or side.op not in ALGEBRA or side.op == expr.op:
            continue
        a, b = shown(side.left), shown(side.right)
        if side is expr.left:
            ways = f"`({a} {side.op} {b}) {expr.op} {shown(expr.right)}` or `{a} {side.op} ({b} {expr.op} {shown(expr.right)})`"
            other = side.right.place.to(expr.right.place)
        else:
            ways = f"`{shown(expr.left)} {expr.op} ({a} {side.op} {b})` or `({shown(expr.left)} {expr.op} {a}) {side.op} {b}`"
            other = expr.left.place.to(side.left.place)
        message = f"`{side.op}` and `{expr.op}` are mixed without parentheses"
        fixes = [_parentheses(side.place, Applicability.CERTAIN), _parentheses(other, Applicability.MAYBE)]
        raise env.fail(codes.MIXED_ALGEBRA.at(expr.place, message, help=f"write {ways}", fixes=fixes))


def _parentheses(place: Place, applicability: Applicability) -> Fix:
    """Parentheses around a part; those around an operand say what the operators mean without them."""
    source = place.source
    edits = (Edit(Place(source, place.start, place.start), "("), Edit(Place(source, place.end, place.end), ")"))
    return Fix(f"write `({one_line(place.text)})`", edits, applicability)
