"""Who names what: from the items of a file to the declarations that they refer to.

A walk over the tree that knows where a bare name is a reference and where it is a word, an attribute or one of the two spans of a
join. It follows nothing: what a constant stands for is a reference of the constant. Needs the tables of names alone, so that it
works on a spec with errors, where a name that nothing declares is no reference.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import ast
from ..vocabulary import BLOCKS, Type
from .env import Declaration, Env

WORDS = (Type.WORD, Type.BOOL, Type.HEADS, Type.LAYERS, Type.LABEL, Type.ATTRIBUTE, Type.ORDER)
"""Types of attributes whose bare names are no references."""


def references(env: Env, item: ast.Item | ast.Parameter) -> Iterator[Declaration]:
    """The declarations that an item names, those on the way (`logic` in `logic.cause`) included; some more than once."""
    for node in _naming(item):
        match node:
            case ast.Attribute(path):
                steps: ast.Name | ast.Member = ast.Name(path[0], node.name_place)
                yield from _looked_up(env, steps)
                for step in path[1:-1]:
                    steps = ast.Member(steps, step, node.name_place)
                    yield from _looked_up(env, steps)
            case ast.Name() | ast.Param() | ast.Member():
                yield from _looked_up(env, node)


def _looked_up(env: Env, expr: ast.Expr) -> Iterator[Declaration]:
    found = env.lookup(expr)
    if found is not None:
        yield found


def _naming(item: ast.Item | ast.Parameter) -> Iterator[object]:
    """The nodes of an item that may be references: names, members, and the attributes of a stage that schedule a rule."""
    kind = type(item).__name__.lower()
    pending: list[tuple[object, bool]] = [(part, True) for part in reversed(_parts(item))]
    while pending:
        node, bare = pending.pop()
        match node:
            case ast.Attribute(path, value):
                entry = BLOCKS[kind].entries.get(path[0]) if kind in BLOCKS and len(path) == 1 else None
                if len(path) > 1:
                    yield node
                pending.append((value, entry is None or entry.type not in WORDS))
            case ast.Stage(block=block):
                pending.append((block, True))
            case ast.Where(base, condition):
                pending += [(condition, False), (base, bare)]
            case ast.Name():
                if bare:
                    yield node
            case ast.Member(base):
                if bare or isinstance(_first(node), ast.Param):
                    yield node
                pending.append((base, bare))
            case _:
                if isinstance(node, ast.Param):
                    yield node
                pending += [(child, bare) for child in reversed(_children(node))]


def _parts(item: ast.Item | ast.Parameter) -> list[object]:
    """What an item consists of, its condition in the form that a filter has."""
    match item:
        case ast.Attend(query=query, key=key, where=where, block=block):
            return [query, key if where is None else ast.Where(key, where, key.place), block]
        case ast.Let(value=value):
            return [value]
        case ast.Source(value=value, block=block):
            return [value, *([block] if block else [])]
        case ast.SpanDecl(of=of, value=value):
            return [*([ast.Name(of.name, of.place)] if of else []), value]
        case ast.Relate():
            ends = (item.subject, item.subject_to, item.object, item.object_to)
            return [*(end for end in ends if end is not None), item.block]
        case (
            ast.Signal(subject=subject, block=block)
            | ast.Weigh(subject=subject, block=block)
            | ast.Keep(subject=subject, block=block)
        ):
            return [subject, block]
        case ast.Model(block=block) | ast.Teacher(block=block) | ast.Concept(block=block) | ast.Gradient(block=block):
            return [block]
        case ast.Curriculum(attributes=attributes, stages=stages):
            return [*attributes, *stages]
        case ast.Parameter(default=default):
            return [] if default is None else [default]
        case ast.Use(target=target):
            return [target]
        case ast.Expect(claim=claim):
            return [claim]
    return []


def _first(expr: ast.Expr) -> ast.Expr:
    """`a` of `a.b.c`."""
    while isinstance(expr, ast.Member):
        expr = expr.base
    return expr


def _children(node: object) -> list[object]:
    match node:
        case ast.Block(attributes):
            return list(attributes)
        case ast.List(items):
            return list(items)
        case ast.Map(entries):
            return [part for entry in entries for part in entry]
        case ast.Call(callee, arguments):
            return [callee, *(argument.value for argument in arguments)]
        case ast.Unary(operand=operand):
            return [operand]
        case ast.Binary(left=left, right=right):
            return [left, right]
        case ast.Paren(inner):
            return [inner]
    return []
