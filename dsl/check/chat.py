"""`chat` of a model: the template that renders messages, checked as far as a template alone can be."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from .. import ast
from .. import checked as c
from ..chat.read import CONFIG, DEFAULT, TEMPLATE, Unusable, read_config, read_template
from ..codes import values as codes
from ..diagnostics import Related
from ..load import shown_path
from ..source import DataPlace
from ..vocabulary import Entry, Type
from .env import Env, Reported
from .values import mismatch, reads

T = TypeVar("T")


@reads(Type.CHAT)
def _chat(env: Env, expr: ast.Expr, entry: Entry) -> c.ChatTemplate:
    """A `.jinja` file, or a config of transformers. What one of the two lacks is read from the other beside it."""
    if not isinstance(expr, ast.String):
        raise mismatch(env, expr, entry)
    path = env.locate(expr.value, expr.place)
    if path.suffix != ".json":
        beside = _beside(env, expr, path, CONFIG)
        tokens = None if beside is None else _use(env, expr, beside, read_config).tokens
        return _checked(env, expr, path, {DEFAULT: _use(env, expr, path, read_template)}, tokens)
    config = _use(env, expr, path, read_config)
    if config.templates is not None:
        return _checked(env, expr, path, config.templates, config.tokens)
    home = _beside(env, expr, path, TEMPLATE)
    if home is None:
        message = f"`{path.name}` has no `chat_template`, and no `{TEMPLATE}` stands beside it"
        raise env.fail(codes.CHAT_FILE.at(expr.place, message))
    return _checked(env, expr, home, {DEFAULT: _use(env, expr, home, read_template)}, config.tokens)


def _beside(env: Env, expr: ast.String, path: Path, name: str) -> Path | None:
    """The file `name` in the folder of the file that `expr` names, where there is one."""
    written = Path(expr.value).parent / name
    if not (env.file.path.parent / written).is_file():
        return None
    return env.locate(str(written), expr.place)


def _use(env: Env, expr: ast.String, path: Path, read: Callable[[Path], T]) -> T:
    env.state.read.add(path)
    try:
        return read(path)
    except Unusable as unusable:
        raise env.fail(codes.CHAT_FILE.at(expr.place, f"`{path.name}` {unusable}")) from None


def _checked(
    env: Env, expr: ast.String, home: Path, templates: dict[str, str], known: dict[str, str] | None
) -> c.ChatTemplate:
    """The templates of the file `home`, whose variables are special tokens, `known` where there is a config, or fields."""
    found = [_variables(env, expr, home, title, text) for title, text in templates.items()]
    if None in found:
        raise Reported
    variables = {name for names in found for name in names or ()}
    tokens = {name for name in variables if name.endswith("_token")}
    if known is None and tokens:
        message = f"the template reads `{min(tokens)}`, and no `{CONFIG}` beside it says what that is"
        raise env.fail(codes.CHAT_TOKENS.at(expr.place, message))
    return c.ChatTemplate(
        templates=tuple(templates.items()),
        tokens=tuple(sorted((name, text) for name, text in (known or {}).items() if name in tokens)),
        fields=tuple(sorted(variables - tokens)),
        path=shown_path(home, env.state.loaded.root),
        place=expr.place,
    )


def _variables(env: Env, expr: ast.String, home: Path, title: str, text: str) -> tuple[str, ...] | None:
    """The variables that a template reads. None after a report: it is broken, or uses what is not rendered here."""
    # jinja2 takes a seventh of the time that a check may take: only a spec that names a template waits for it
    jinja = import_module("..chat.parse", __package__)
    try:
        tree = jinja.parse_template(text)
    except jinja.Broken as broken:
        found = [(codes.CHAT_SYNTAX, broken.line, f"`{home.name}` is no chat template: {broken.fact}", None)]
    else:
        found = [
            (codes.CHAT_WORD, fault.line, f"a chat template cannot use {fault.fact}", fault.help)
            for fault in jinja.faults(tree)
        ]
    in_json = home.suffix == ".json"
    shown, related = shown_path(home, env.state.loaded.root), [Related(expr.place, "the template is named here")]
    for code, line, fact, help in found:
        which = "" if title == DEFAULT else f" `{title}`"
        where = f" (line {line} of the template{which})" if in_json else ""
        place = DataPlace(shown, None if in_json else line)
        env.report(code.at(place, fact + where, help=help, related=related))
    if found:
        return None
    names: tuple[str, ...] = jinja.free_names(tree)
    return names
