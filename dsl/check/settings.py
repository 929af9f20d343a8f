"""`--set NAME=VALUE`: a value for a constant of the root file, in place of the one it has there.

The value is an expression of the language, in the view of the root file. Its places lie in a source text of its own, so that a
finding underlines what was typed on the command line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

from .. import ast
from ..codes import names as codes
from ..codes import values as value_codes
from ..diagnostics import Related, did_you_mean
from ..parse import parse_setting
from ..source import Place, SourceText
from .env import Env, Reported, State, Value, one_line

Settings: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values as typed, sorted."""

_SETTING = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)[ \t]*=(?!=)\s*(.*?)\s*", re.DOTALL)


def apply_settings(state: State, settings: Sequence[str]) -> Settings:
    """Give constants the values that `settings` set; gives what was set."""
    env = Env(state, state.loaded.files[0])
    given: dict[str, tuple[str, Place]] = {}
    for text in settings:
        with suppress(Reported):
            name, value, place = _parts(env, text)
            if name in given:
                first = Related(given[name][1], "first set here")
                raise env.fail(codes.BAD_SETTING.at(place, f"`{name}` is set twice", related=[first]))
            given[name] = value, place
            _set(env, name, place)
    return tuple(sorted((name, value) for name, (value, _) in given.items()))


def _parts(env: Env, text: str) -> tuple[str, str, Place]:
    """The name and the value of a setting, and where the name stands."""
    match = _SETTING.fullmatch(text)
    if match is None:
        source = SourceText("--set", text)
        message = f"expected `NAME=VALUE`, found `{one_line(text)}`"
        raise env.fail(codes.BAD_SETTING.at(Place(source, 0, len(text)), message))
    return match[1], match[2], Place(SourceText(f"--set {match[1]}", text), *match.span(1))


def _set(env: Env, name: str, place: Place) -> None:
    """Give the constant `name` the value that stands behind `place`."""
    names = env.state.names[env.file]
    found = names.get(name)
    if found is None:
        if env.file.broken:
            return
        near = did_you_mean(name, (known for known, found in names.items() if isinstance(found.item, ast.Let)))
        message = f"no constant `{name}` in `{env.file.source.path}`"
        raise env.fail(codes.UNKNOWN_NAME.at(place, message, help=near or "a setting replaces a `let` of that file"))
    if not isinstance(found.item, ast.Let):
        declared = Related(found.ident.place, "declared here")
        message = f"expected a constant, found `{name}`, a {found.noun}"
        raise env.fail(value_codes.WRONG_TYPE.at(place, message, related=[declared]))
    let = parse_setting(place.source, env.state.findings)
    if let is not None:
        env.state.given[found] = Value(env.file, let.value)
