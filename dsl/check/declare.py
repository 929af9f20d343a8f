"""Who declares what: one name space per file, and what may stand once.

First pass of the check, one walk over the items of each file. Establishes the table of names, the first of duplicates winning,
and that every construct without a meaning yet, or out of its place, is reported once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .. import ast
from ..codes import names as codes
from ..diagnostics import Related
from ..load import File
from ..source import Place
from .env import Declaration, Env, State, one_line

RULES = (ast.Relate, ast.Attend, ast.Signal, ast.Weigh, ast.Keep)
ROOT_ONLY = (ast.Model, ast.Source, ast.Gradient, ast.Curriculum, ast.Expect)
ONCE = (ast.Model, ast.Gradient, ast.Curriculum)

_COMMENT = re.compile(r'r?"(?:[^"\\\n]|\\.)*"|#[^\n]*')


def is_module(file: File) -> bool:
    """Whether a file declares nothing of what counts in a root file alone."""
    return not any(isinstance(item, ROOT_ONLY) for item in file.spec.items)


def declare(state: State) -> None:
    """Fill the state's tables of names, those of expansions aside."""
    for file in state.loaded.files:
        declare_file(state, file)


def declare_file(state: State, file: File, parameters: tuple[ast.Parameter, ...] = ()) -> None:
    """Fill the table of names of one file, or of an expansion with its parameters."""
    names = state.names[file] = {}
    env = Env(state, file)
    for item in (*parameters, *file.spec.items):
        _declare_name(env, item)
        kind = type(item).__name__.lower()
        if file.prefix and isinstance(item, ROOT_ONLY):
            message = f"`{kind}` counts in the root file alone, and is ignored here"
            env.report(codes.ROOT_ONLY.at(keyword_place(item), message))
    opened = {
        names[alias]: target for alias, target in file.imports.items() if isinstance(names[alias].item, ast.Import)
    }
    state.opened.update(opened)
    _check_unnamed(env)
    if not file.prefix:
        _check_once(env)


def _declare_name(env: Env, item: ast.Item | ast.Parameter) -> None:
    ident = name_of(item)
    if ident is None:
        return
    names = env.state.names[env.file]
    first = names.setdefault(ident.name, Declaration(ident, item, env.file))
    if first.item is not item:
        related = Related(first.ident.place, f"first declared here, as a {first.noun}")
        env.report(codes.DUPLICATE_NAME.at(ident.place, f"`{ident.name}` is declared twice", related=[related]))


def name_of(item: ast.Item | ast.Parameter) -> ast.Ident | None:
    """The name that an item declares, if any."""
    match item:
        case ast.Import() | ast.Use():
            return item.alias
        case ast.Relate() | ast.Attend() | ast.Signal() | ast.Weigh() | ast.Keep():
            return item.label
        case ast.Gradient() | ast.Curriculum() | ast.Expect():
            return None
    return item.name


def curriculum_of(env: Env) -> ast.Curriculum | None:
    """The curriculum of a file, if it has one."""
    return next((item for item in env.file.spec.items if isinstance(item, ast.Curriculum)), None)


def keyword_place(item: ast.Item | ast.Parameter) -> Place:
    """The keyword that an item starts with."""
    word = re.match(r"\w+", item.place.text)
    return Place(item.place.source, item.place.start, item.place.start + (word.end() if word else 0))


def _check_unnamed(env: Env) -> None:
    """Report rules without a name that their kind and subject do not tell apart."""
    seen: dict[str, ast.Item] = {}
    for item in env.file.spec.items:
        if not isinstance(item, RULES) or item.label is not None:
            continue
        known = rule_id(env.file, item)
        if known in seen:
            related = Related(keyword_place(seen[known]), "the other one")
            kind = type(item).__name__.lower()
            message = f"two rules are known as `{known}`"
            help = f"name it: `{kind} NAME: ...`"
            env.report(codes.UNNAMED_TWINS.at(keyword_place(item), message, help=help, related=[related]))
        seen.setdefault(known, item)


def _check_once(env: Env) -> None:
    for kind in ONCE:
        items = [item for item in env.file.spec.items if isinstance(item, kind)]
        for item in items[1:]:
            word = kind.__name__.lower()
            related = Related(keyword_place(items[0]), "the first one")
            message = f"a spec has one `{word}`, this is another"
            env.report(codes.DECLARED_TWICE.at(keyword_place(item), message, related=[related]))


def rule_id(file: File, rule: ast.Rule) -> str:
    """What a rule is known as: its name, or its kind and subject as written."""
    if rule.label is not None:
        return file.prefix + rule.label.name
    words = " ".join(_subject(rule))
    return f"{file.prefix}{type(rule).__name__.lower()} {words}"


def _subject(rule: ast.Rule) -> Iterator[str]:
    match rule:
        case ast.Attend(query=query, key=key):
            yield from (as_written(query), "->", as_written(key))
        case ast.Relate(subject=subject, relation=relation, object=target):
            yield from (_side(subject, rule.subject_to), relation.name, _side(target, rule.object_to))
        case _:
            yield as_written(rule.subject)


def _side(expr: ast.Expr, to: ast.Expr | None) -> str:
    """One side of a relation: a concept, or an offset between two."""
    return as_written(expr) if to is None else f"{as_written(expr)} -> {as_written(to)}"


def as_written(expr: ast.Expr) -> str:
    """An expression as typed, on one line, without comments."""
    text = _COMMENT.sub(lambda match: "" if match[0][0] == "#" else match[0], expr.place.text)
    return one_line(text, limit=200)
