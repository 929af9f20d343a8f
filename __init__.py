"""mcd: a declarative language, compiler and runtime for datasets that supervise what happens inside a transformer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import VERSION as __version__

if TYPE_CHECKING:
    from .compiler.plan import Plan
    from .dsl.diagnostics import Failure
    from .runtime.accelerated import accelerated_totals
    from .runtime.batch import Batch
    from .runtime.collate import Collator
    from .runtime.dataset import Dataset, load
    from .runtime.loader import Loader
    from .runtime.masking import Masking
    from .runtime.order import Sampler
    from .runtime.supervise import supervise
    from .runtime.supervised import Supervised
    from .runtime.trainer.mixin import SupervisedMixin, SupervisedTrainer

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
    "SupervisedMixin",
    "SupervisedTrainer",
    "__version__",
    "accelerated_totals",
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
    "SupervisedMixin": ".runtime.trainer.mixin",
    "SupervisedTrainer": ".runtime.trainer.mixin",
    "accelerated_totals": ".runtime.accelerated",
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
