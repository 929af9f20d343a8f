"""Every code, declared once: one module per hundred."""

from __future__ import annotations

from ..diagnostics import Code
from . import model, names, runtime, shards, sources, syntax, values

MODULES = (syntax, names, values, model, sources, shards, runtime)

CODES: dict[str, Code] = {
    code.id: code for module in MODULES for code in vars(module).values() if isinstance(code, Code)
}
