"""Runs at Weights & Biases. The module that imports the package `wandb`, which knows its own settings (`WANDB_MODE=offline`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from .logs import scalars

FILE = "wandb.json"
"""In the folder of a run: which run there it is, so that one that goes on is the same."""


class WeightsAndBiases:
    """Numbers of every entry, drawn over `step`: a run that goes on may say a step again."""

    def __init__(self, output: Path, project: str, config: Mapping[str, Any], done: int = 0) -> None:
        file = output / FILE
        known = json.loads(file.read_text(encoding="utf-8"))["id"] if done and file.exists() else None
        given = {"id": known, "resume": "allow"} if known else {}
        self._run: Any = wandb.init(project=project, name=output.name, dir=str(output), config=dict(config), **given)
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        file.write_text(json.dumps({"id": self._run.id}) + "\n", encoding="utf-8")

    def write(self, entry: Mapping[str, Any]) -> None:
        self._run.log({"step": entry["step"], **scalars(entry)})

    def flush(self) -> None:
        """The package sends and keeps entries by itself."""

    def close(self) -> None:
        self._run.finish()
