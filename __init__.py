"""mcd: a declarative language, compiler and runtime for datasets that supervise what happens inside a transformer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import VERSION as __version__

if TYPE_CHECKING:
    from .compiler.plan import Plan
    from .dsl.diagnostics import Failure
    from .runtime.batch import Batch
    from .runtime.collate import Collator
    from .runtime.dataset import Dataset, load
    from .runtime.loader import Loader
    from .runtime.masking import Masking
    from .runtime.order import Sampler
    from .runtime.supervise import supervise
    from .runtime.supervised import Supervised

__all__ = [
    "Batch",
    "Collator",
    "Dataset",
    "Failure",
    "Loader",
    "Masking",
    "Plan",
    "Sampler",
    "Supervised",
    "__version__",
    "load",
    "supervise",
]

_HOMES = {
    "Batch": ".runtime.batch",
    "Collator": ".runtime.collate",
    "Dataset": ".runtime.dataset",
    "Failure": ".dsl.diagnostics",
    "Loader": ".runtime.loader",
    "Masking": ".runtime.masking",
    "Plan": ".compiler.plan",
    "Sampler": ".runtime.order",
    "Supervised": ".runtime.supervised",
    "load": ".runtime.dataset",
    "supervise": ".runtime.supervise",
}
"""Public name -> its module, imported when it is asked for: the compiler works without torch."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
