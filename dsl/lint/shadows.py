"""Names that hide others.

A file's names win over the prelude's, and a frame's over those of the file around it. Both are meant so, since an edition must be
able to add words; but where it happens to a set that every spec has, one is taken for the other in silence. A selector that is
hidden, or `final`, is an error where somebody writes it, and so no matter here.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import ast
from ..check.declare import ROOT_ONLY, name_of
from ..check.env import Declaration, Env, State
from ..codes import names as codes
from ..diagnostics import Related
from ..load import File
from ..vocabulary import PRELUDE_SETS


def check_shadows(state: State) -> None:
    """Report what hides a name, where it is declared."""
    for file in state.loaded.files:
        env = Env(state, file)
        for found in state.names[file].values():
            _check_prelude(env, found.ident, found.noun)
            if isinstance(found.item, ast.Frame):
                for ident, noun in _inside(found.item, file):
                    _check_prelude(env, ident, noun)
                    _check_file(env, ident, noun, state.names[file])


def _check_prelude(env: Env, ident: ast.Ident, noun: str) -> None:
    if ident.name in PRELUDE_SETS:
        message = f"the {noun} `{ident.name}` hides the set of spans that every spec has"
        env.report(codes.SHADOWS_PRELUDE.at(ident.place, message))


def _inside(frame: ast.Frame, file: File) -> Iterator[tuple[ast.Ident, str]]:
    """The names that a frame declares, and what each is."""
    for item in (*frame.parameters, *frame.items):
        ident = name_of(item)
        if ident is not None:
            yield ident, Declaration(ident, item, file).noun


def _check_file(env: Env, ident: ast.Ident, noun: str, names: dict[str, Declaration]) -> None:
    hidden = names.get(ident.name)
    if hidden is not None and not isinstance(hidden.item, ROOT_ONLY):  # which nothing in a frame can name
        message = f"the {noun} `{ident.name}` hides the {hidden.noun} of that name in this file"
        related = [Related(hidden.ident.place, "hidden in the frame")]
        env.report(codes.SHADOWS_FILE.at(ident.place, message, related=related))
