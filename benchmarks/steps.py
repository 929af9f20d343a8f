"""What each step of a compile costs: CPU seconds between the functions where one step hands over to the next."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from mcd.compiler import execute
from mcd.compiler.evaluation.evaluate import Evaluation
from mcd.compiler.files.shards import ShardWriter
from mcd.compiler.sources import reader
from mcd.compiler.tokens.tokenize import Encoder

SEAMS: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("render", reader, ("render",)),
    ("tokenise", Encoder, ("encode",)),
    ("match", Evaluation, ("spans", "join")),
    ("align", execute, ("align", "field_columns", "count_labels", "count_rows", "count_together")),
    ("write", execute, ("shard_rows",)),
    ("write", ShardWriter, ("write", "close")),
)
"""The functions of each step. A function that another step calls counts for its own. Reading is what the reader does besides."""


class Steps:
    """CPU seconds by step."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._step, self._since = "other", time.process_time()

    def switch(self, step: str) -> str:
        """Count for `step` from now on; the step before."""
        now = time.process_time()
        self.seconds[self._step] += now - self._since
        before, self._step, self._since = self._step, step, now
        return before

    def timed(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            before = self.switch(step)
            try:
                return call(*args, **options)
            finally:
                self.switch(before)

        return counted

    def iterated(self, step: str, call: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def counted(*args: Any, **options: Any) -> Iterator[Any]:
            items = call(*args, **options)
            end = object()
            while (item := self.timed(step, next)(items, end)) is not end:
                yield item

        return counted


@contextmanager
def steps() -> Iterator[Steps]:
    """Counts while it is open. Looking at the clock costs about 0.1 ms a batch."""
    found = Steps()
    with ExitStack() as stack:
        for step, owner, names in SEAMS:
            for name in names:
                stack.enter_context(patch.object(owner, name, found.timed(step, getattr(owner, name))))
        stack.enter_context(patch.object(execute, "read_batches", found.iterated("read", execute.read_batches)))
        yield found
    found.switch("other")
