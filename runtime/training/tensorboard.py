"""Event files for TensorBoard. The module that needs the package `tensorboard`, by way of torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from .logs import scalars


class TensorBoard:
    """Scalars of every entry in a folder of event files. A run that goes on takes away what came behind its step."""

    def __init__(self, folder: Path, done: int = 0) -> None:
        purge = done + 1 if done else None
        self._writer = SummaryWriter(str(folder), purge_step=purge)

    def write(self, entry: Mapping[str, Any]) -> None:
        for name, value in scalars(entry).items():
            self._writer.add_scalar(name, value, entry["step"])

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
