"""Checked sets and conditions in the words of the language, for the plan and for people."""

from __future__ import annotations

import json
from functools import singledispatch

from ..dsl import checked as c


def field_text(path: c.FieldPath) -> str:
    """`.a."odd name"` for `("a", "odd name")`."""
    return "".join(f".{name}" if name.isidentifier() else f".{json.dumps(name, ensure_ascii=False)}" for name in path)


def template_text(template: c.Template) -> str:
    """The text with its slots as the template writes them: `{.name}`."""
    return "".join(part if isinstance(part, str) else f"{{{field_text(part)}}}" for part in template.parts)


@singledispatch
def written(node: object) -> str:
    """`node` as the language would write it; names stand for the sets that bear them."""
    raise TypeError(f"{type(node).__name__} has no written form")


@written.register
def _(node: c.Tokens) -> str:
    return "tokens"


@written.register
def _(node: c.Record) -> str:
    return "record"


@written.register
def _(node: c.Phrases) -> str:
    shown = [json.dumps(phrase, ensure_ascii=False) for phrase in node.phrases[:3]]
    if len(node.phrases) > 3:
        shown.append(f"... {len(node.phrases) - 3} more")
    return f"phrases({', '.join(shown)})"


@written.register
def _(node: c.Regex) -> str:
    return f"regex(r{json.dumps(node.pattern, ensure_ascii=False)})" if '"' not in node.pattern else "regex(...)"


@written.register
def _(node: c.Offsets) -> str:
    of = f", of: {field_text(node.of)}" if node.of else ""
    return f"offsets({field_text(node.path)}{of})"


@written.register
def _(node: c.Slot) -> str:
    return f"slot({field_text(node.path)})"


@written.register
def _(node: c.Markup) -> str:
    return f"markup({field_text(node.path)})"


@written.register
def _(node: c.Special) -> str:
    return f"special({', '.join(json.dumps(name, ensure_ascii=False) for name in node.names)})"


@written.register
def _(node: c.Union) -> str:
    return f"{_inner(node.left)} | {_inner(node.right)}"


@written.register
def _(node: c.Intersection) -> str:
    return f"{_inner(node.left)} & {_inner(node.right)}"


@written.register
def _(node: c.Difference) -> str:
    return f"{_inner(node.left)} - {_inner(node.right)}"


@written.register
def _(node: c.Within) -> str:
    return f"{_inner(node.inner)} in {_inner(node.outer)}"


@written.register
def _(node: c.Filter) -> str:
    return f"{_inner(node.base)} where {written(node.condition)}"


@written.register
def _(node: c.Take) -> str:
    return f"{node.end}({written(node.base)}, {node.count})"


@written.register
def _(node: c.Edge) -> str:
    return f"{_inner(node.base)}.{node.end}"


@written.register
def _(node: c.Neighbour) -> str:
    return f"{_inner(node.base)}.{node.side}"


@written.register
def _(node: c.Predicting) -> str:
    return f"predicting({written(node.base)})"


@written.register
def _(node: c.OfSource) -> str:
    return f"{_inner(node.base)} of {node.source}"


@written.register
def _(node: c.Named) -> str:
    return node.name


@written.register
def _(node: c.Literal_) -> str:
    return json.dumps(node.value, ensure_ascii=False)


@written.register
def _(node: c.SpanRef) -> str:
    steps = node.steps if node.role == "self" else (node.role, *node.steps)
    return ".".join(steps)


@written.register
def _(node: c.Attr) -> str:
    span = written(node.span)
    return f"{span}.{node.name}" if span else node.name


@written.register
def _(node: c.Length) -> str:
    return f"length({written(node.operand)})"


@written.register
def _(node: c.Compare) -> str:
    return f"{_inner(node.left)} {node.op} {_inner(node.right)}"


@written.register
def _(node: c.Before) -> str:
    return f"{written(node.left)} before {written(node.right)}"


@written.register
def _(node: c.Member) -> str:
    return f"{_inner(node.item)} in {json.dumps(list(node.values), ensure_ascii=False)}"


@written.register
def _(node: c.Arithmetic) -> str:
    return f"{_inner(node.left)} {node.op} {_inner(node.right)}"


@written.register
def _(node: c.Linked) -> str:
    sides = ("query", "key") if node.first == "query" else ("key", "query")
    return f"linked({field_text(node.path)}, {sides[0]}.index, {sides[1]}.index)"


@written.register
def _(node: c.Not) -> str:
    return f"not {_inner(node.operand)}"


@written.register
def _(node: c.And) -> str:
    return " and ".join(_clause(operand) for operand in node.operands)


@written.register
def _(node: c.Or) -> str:
    return " or ".join(_clause(operand) for operand in node.operands)


@written.register
def _(node: c.Join) -> str:
    where = f" where {written(node.condition)}" if node.condition is not None else ""
    return f"{_inner(node.query)} -> {_inner(node.key)}{where}"


def _clause(node: object) -> str:
    """An operand of `and` or `or`: comparisons bind tighter and need no parentheses."""
    return f"({written(node)})" if isinstance(node, c.And | c.Or) else written(node)


_COMPOUND = (
    c.Union,
    c.Intersection,
    c.Difference,
    c.Within,
    c.Filter,
    c.OfSource,
    c.And,
    c.Or,
    c.Not,
    c.Compare,
    c.Arithmetic,
    c.Member,
)


def _inner(node: object) -> str:
    text = written(node)
    return f"({text})" if isinstance(node, _COMPOUND) else text


def written_anchor(anchor: c.Anchor | None) -> str:
    """An anchor's definition in words; a file by its name alone, since paths carry no meaning."""
    match anchor:
        case c.Orthonormal():
            return "orthonormal"
        case c.VectorAnchor(file, key):
            return f'vector("{file.name}", "{key}")'
        case c.EmbeddingAnchor(text):
            return f'embedding("{text}")'
        case c.LearnedAnchor():
            return "learned"
        case c.CentroidAnchor(teacher, layer):
            return f"centroid({teacher.name}, layer: {layer})"
        case None:
            raise ValueError("the checker requires an anchor of every concept that a rule is pulled toward")
