"""Every code, declared once: one module per hundred."""

from __future__ import annotations

from ..diagnostics import Code
from . import model, names, project, runtime, shards, sources, syntax, values

MODULES = (syntax, names, project, values, model, sources, shards, runtime)

CODES: dict[str, Code] = {
    code.id: code for module in MODULES for code in vars(module).values() if isinstance(code, Code)
}


def named(word: str) -> list[Code]:
    """The codes that an id or a name stands for. Errors may share a name; a warning has its own."""
    return [CODES[word]] if word in CODES else [code for code in CODES.values() if code.name == word]
