"""Ctrl-C and the signal with which schedulers end jobs: a step is finished, and a checkpoint written, before the run ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from .processes import Place, summed


class Interrupts:
    """Notes the first signal. A second one ends the process as it would have without this."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, signal.Handlers | int | None] = {}

    @contextmanager
    def noted(self, place: Place) -> Iterator[None]:
        """Within it, signals are noted. Where there are several ranks only Ctrl-C is, which all of them are sent: the other
        signal ends the ranks that are left when one has failed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        for number in [signal.SIGINT] if place.ranks > 1 else [signal.SIGINT, signal.SIGTERM]:
            self._before[number] = signal.signal(number, self._note)  # type: ignore[assignment]
        try:
            yield
        finally:
            self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def agreed(self, place: Place) -> int | None:
        """The signal that any rank was sent. Every rank has to ask."""
        if place.ranks == 1:
            return self.signal
        highest = int(summed(torch.tensor(float(self.signal or 0)), place))
        return signal.SIGINT if highest else None
