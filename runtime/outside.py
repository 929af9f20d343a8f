"""What stays outside of code that `torch.compile` makes: everything of ours.

Hooks, and all that is computed of what they left, read tensors whose sizes are other ones in every batch, and Python
objects that are new in every pass. Inside of a compiled graph each would be guarded, and compiled again when it
changes. Outside of it the model's own code is compiled as it would be without us, but for a break where something is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Generic, TypeVar, cast

import torch
from torch import nn
from torch._dynamo import OptimizedModule
from torch._dynamo.exc import Unsupported

from ..dsl.codes.runtime import FULL_GRAPH
from ..dsl.diagnostics import Failure

Function = TypeVar("Function", bound=Callable[..., object])
T = TypeVar("T")


def outside(function: Function) -> Function:
    """The function, and all that it calls, runs as it is written, whoever compiles its caller."""
    return cast(Function, torch.compiler.disable(function))  # type: ignore[no-untyped-call]


def around(function: Function) -> Function:
    """The function runs as it is written; what it calls may be compiled."""
    return cast(Function, torch.compiler.disable(function, recursive=False))  # type: ignore[no-untyped-call]


class Entered(AbstractContextManager[T], Generic[T]):
    """A context that is entered and left outside of compiled code."""

    def __init__(self, context: AbstractContextManager[T]) -> None:
        self._context = context

    @outside
    def __enter__(self) -> T:
        return self._context.__enter__()

    @outside
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> bool | None:
        return self._context.__exit__(kind, error, at)


def forget(model: nn.Module) -> None:
    """Drops the graphs of `torch.compile`, of a model that has any: those that were made before hooks came, or while
    they were there, do not see that hooks change, and leave them out or keep them."""
    if any(isinstance(each, OptimizedModule) or each._compiled_call_impl is not None for each in model.modules()):
        torch.compiler.reset()


@contextmanager
def broken() -> Iterator[None]:
    """Within it, fails with MCD723 where code that was compiled as one whole graph comes to what stays outside of it."""
    try:
        yield
    except Unsupported as error:
        message = "the model is compiled with `fullgraph=True`, and what rules read is taken out between two graphs"
        raise Failure(FULL_GRAPH.at(None, message, help="compile it without `fullgraph`")) from error
