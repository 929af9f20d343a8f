"""`chat` of a model: the template that renders messages, checked as far as a template alone can be."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from .. import ast
from .. import checked as c
from ..chat.read import CONFIG, DEFAULT, TEMPLATE, Config, Unusable, read_config, read_template
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
    named_config = path.suffix == ".json"
    config_path = path if named_config else _beside(env, expr, path, CONFIG)
    config = _use(env, expr, config_path, read_config) if config_path is not None else Config(None, {})
    if not named_config:
        config, home = Config({DEFAULT: _use(env, expr, path, read_template)}, config.tokens), path
    elif config.templates is not None:
        home = path
    else:
        home = _beside(env, expr, path, TEMPLATE)
        if home is None:
            message = f"`{path.name}` has no `chat_template`, and no `{TEMPLATE}` stands beside it"
            raise env.fail(codes.CHAT_FILE.at(expr.place, message))
        config = Config({DEFAULT: _use(env, expr, home, read_template)}, config.tokens)
    return _checked(env, expr, home, config, config_path is not None)


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


def _checked(env: Env, expr: ast.String, home: Path, config: Config, has_config: bool) -> c.ChatTemplate:
    """The templates, with every construct known and every special token there."""
    shown = shown_path(home, env.state.loaded.root)
    in_json = home.suffix == ".json"
    named = Related(expr.place, "the template is named here")
    wrong = False
    variables: set[str] = set()
    # jinja2 takes a seventh of the time that a check may take: only a spec that names a template waits for it
    jinja = import_module("...chat.parse", __package__)
    for name, text in (config.templates or {}).items():
        where = f" (line {{line}} of the template{'' if name == DEFAULT else f' `{name}`'})" if in_json else ""

        def place(line: int) -> DataPlace:
            return DataPlace(shown, None if in_json else line)

        try:
            tree = jinja.parse_template(text)
        except jinja.Broken as broken:
            message = f"`{home.name}` is no chat template: {broken.fact}{where.format(line=broken.line)}"
            env.report(codes.CHAT_SYNTAX.at(place(broken.line), message, related=[named]))
            wrong = True
            continue
        for fault in jinja.faults(tree):
            message = f"a chat template cannot use {fault.fact}{where.format(line=fault.line)}"
            env.report(codes.CHAT_WORD.at(place(fault.line), message, help=fault.help, related=[named]))
            wrong = True
        variables.update(jinja.free_names(tree))
    if wrong:
        raise Reported
    tokens = {token for token in variables if token.endswith("_token")}
    if not has_config and tokens:
        message = f"the template reads `{min(tokens)}`, and no `{CONFIG}` beside it says what that is"
        raise env.fail(codes.CHAT_TOKENS.at(expr.place, message))
    return c.ChatTemplate(
        templates=tuple((config.templates or {}).items()),
        tokens=tuple(sorted((name, text) for name, text in config.tokens.items() if name in tokens)),
        fields=tuple(sorted(variables - tokens)),
        path=shown,
        place=expr.place,
    )
