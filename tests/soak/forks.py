"""Children that are forked off a process that has imported everything, so that a thousand of them take a minute.

The process that forks must have no threads, or a child would inherit their locks: it compiles nothing itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = Path("/dev/shm")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for a while, in memory where that is possible: nothing here is about the disk itself."""
    with tempfile.TemporaryDirectory(prefix="mcd-soak-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended. `killed`: by SIGKILL; `failed`: with this traceback; `result`: what it gave, through JSON."""

    killed: bool
    failed: str | None
    result: Any


def forked(action: Callable[[], Any], seconds: float | None = None) -> Ended:
    """Call `action` in a child, which is killed after `seconds`."""
    assert threading.active_count() == 1
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _end(writer, action)
    os.close(writer)
    signal.signal(signal.SIGALRM, lambda *_: _kill(child))
    signal.setitimer(signal.ITIMER_REAL, 0 if seconds is None else max(seconds, 1e-6))
    try:
        with os.fdopen(reader, "rb") as stream:
            told = stream.read()
        _, status = os.waitpid(child, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"a child ended by signal {os.WTERMSIG(status)}"
        return Ended(True, None, None)
    found = json.loads(told)
    return Ended(False, found.get("failed"), found.get("result"))


def _kill(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _end(writer: int, action: Callable[[], Any]) -> None:
    told: dict[str, Any] = {}
    try:
        told["result"] = action()
    except BaseException:
        told["failed"] = traceback.format_exc()
    with os.fdopen(writer, "wb") as stream:
        stream.write(json.dumps(told).encode())
    os._exit(0)
