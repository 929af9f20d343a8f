"""What a run logs, and where to: every sink is given the same entries.

An entry is a mapping: `step`, `time`, `loss`, `token`, `rules` (`loss`, `rows`, `multiplier` of each, and of those that were
inspected since the last entry `gradient`, `token_gradient` and `cosine`), `inspected` (the step that was), `stage` and `conflict`
where the plan has them, `lr`, `gradient_norm`, `tokens`, `tokens_per_second`, `seconds`. One of another split has `split` and its
losses alone.
"""

from __future__ import annotations

import json
import math
import os
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch

from ...dsl.codes.runtime import DIVERGED, LOG_PACKAGE
from ...dsl.diagnostics import Failure
from ..monitor import Pull
from ..run import plain
from ..schedule import multipliers
from ..supervised import Supervised
from ..train import Sums
from .loop import Taken
from .processes import ALONE, Place, summed

JSONL = "train.jsonl"


class Sink(Protocol):
    """Where entries go. A sink is made with the step that a run goes on from, 0 for a new one."""

    def write(self, entry: Mapping[str, Any]) -> None: ...

    def flush(self) -> None:
        """Have what was written outlast this process, as far as the sink can."""

    def close(self) -> None: ...


class JsonLines:
    """One JSON object per entry. A run that goes on keeps the lines up to its step."""

    def __init__(self, path: Path, done: int = 0) -> None:
        kept = [line for line in _lines(path) if _step_of(line) <= done] if done else []
        path.write_text("".join(kept), encoding="utf-8", newline="\n")
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(plain(dict(entry))) + "\n")
        self._file.flush()

    def flush(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if path.exists() else []


def _step_of(line: str) -> float:
    """The step of a line; infinity for one that was cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


PACKAGES = {"tensorboard": ".tensorboard", "wandb": ".wandb"}
"""Packages that a log may need, and the module here that imports each."""


def package(name: str) -> Any:
    """The module for a log. Fails with MCD758 where its package is not installed."""
    try:
        return import_module(PACKAGES[name], __package__)
    except ImportError:
        message = f"`--{name}` needs the package `{name}`, which is not installed"
        raise Failure(LOG_PACKAGE.at(None, message, help=f"pip install {name}")) from None


class Log:
    """Gives entries to sinks, every `every` steps, of the first step and of the last. Every rank has one; the sinks are those of
    the first. `total`: tokens trained on by all ranks up to the last entry; `first` and `last` loss of every rule in entries."""

    def __init__(self, sinks: Sequence[Sink], steps: int, every: int, place: Place = ALONE) -> None:
        self._sinks, self._steps, self._every, self._place = sinks, steps, every, place
        self._pulls: tuple[int, dict[str, Pull]] | None = None
        self._began = clock.monotonic()
        self._before = 0.0
        self._tokens = 0
        self._rate = (0, 0.0)
        self.total = 0
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Of training so far, those before a run was taken up again included."""
        return self._before + clock.monotonic() - self._began

    def due(self, step: int) -> bool:
        """Whether a step has an entry."""
        return step in (1, self._steps) or step % self._every == 0

    def __call__(self, taken: Taken, supervised: Supervised) -> None:
        """Log a step, where it is due. Every rank has to call this. Fails with MCD752 where the loss is no number."""
        self._tokens += taken.tokens
        if taken.pulls is not None:
            self._pulls = (taken.step, taken.pulls)
        if not self.due(taken.step):
            return
        sums, self.total = over_ranks(taken.sums, self._tokens, self._place)
        entry = {"step": taken.step, "time": taken.time, **summary(supervised, sums, taken.time)}
        self._add_pulls(entry)
        self._remember(entry)
        entry |= {**standing(supervised), "lr": taken.rate, "gradient_norm": float(taken.norm), "tokens": self.total}
        self.write(entry | {"tokens_per_second": round(self._speed(self.total), 1)})
        if not math.isfinite(entry["loss"]):
            message = f"the loss of step {taken.step} is {entry['loss']}"
            raise Failure(DIVERGED.at(None, message, help="try a lower `--lr`, or a longer `--warmup`"))

    def write(self, entry: dict[str, Any]) -> None:
        """Give an entry to the sinks, with the seconds since the start."""
        entry["seconds"] = round(self.seconds, 3)
        for sink in self._sinks:
            sink.write(entry)

    def state_dict(self) -> dict[str, Any]:
        """What the log of a run that is taken up again goes on with. Flushes the sinks. Every rank has to call this."""
        for sink in self._sinks:
            sink.flush()
        pulls = (
            None if self._pulls is None else [self._pulls[0], {rule: asdict(p) for rule, p in self._pulls[1].items()}]
        )
        counts = {
            "seconds": self.seconds,
            "tokens": int(summed(torch.tensor(self._tokens), self._place)),
            "total": self.total,
            "first": self.first,
            "last": self.last,
        }
        return {**counts, "pulls": pulls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`."""
        # What all ranks had is the first one's now.
        self._before, self.total = state["seconds"], state["total"]
        self._tokens = state["tokens"] if self._place.first else 0
        self._rate = (state["tokens"], self.seconds)
        self.first, self.last = dict(state["first"]), dict(state["last"])
        if state["pulls"] is not None:
            step, pulls = state["pulls"]
            self._pulls = (step, {rule: Pull(**pull) for rule, pull in pulls.items()})

    def close(self) -> None:
        """No more entries."""
        for sink in self._sinks:
            sink.close()

    def _add_pulls(self, entry: dict[str, Any]) -> None:
        if self._pulls is None:
            return
        entry["inspected"], pulls = self._pulls
        for rule, pull in pulls.items():
            found = {"gradient": pull.norm, "token_gradient": pull.token, "cosine": pull.cosine}
            entry["rules"][rule] |= found
        self._pulls = None

    def _remember(self, entry: Mapping[str, Any]) -> None:
        for rule, found in entry["rules"].items():
            if found["loss"] is not None and found["rows"]:
                self.first.setdefault(rule, found["loss"])
                self.last[rule] = found["loss"]

    def _speed(self, tokens: int) -> float:
        """Tokens a second since the last entry."""
        (before, then), now = self._rate, self.seconds
        self._rate = (tokens, now)
        return (tokens - before) / max(now - then, 1e-9)


def over_ranks(sums: Sums, tokens: int, place: Place) -> tuple[Sums, int]:
    """The losses of a step over all ranks, as one process would have them, and their tokens."""
    if place.ranks == 1:
        return sums, tokens
    names = ("loss", "token", "rules", "rows", "ranked", "kept")
    parts = [getattr(sums, name).double().view(-1) for name in names]
    sizes = [len(part) for part in parts]
    total = summed(torch.cat([*parts, parts[0].new_tensor([tokens])]), place)
    found = dict(zip(names, torch.split(total[:-1], sizes), strict=True))
    whole = {name: found[name].round().long() for name in ("rows", "ranked", "kept")}
    loss, token = found["loss"][0] / place.ranks, found["token"][0]
    return Sums(sums.ids, loss, token, found["rules"], **whole), int(total[-1])


def summary(supervised: Supervised, sums: Sums, time: float) -> dict[str, Any]:
    """The losses of a step for a log. `weigh` and `keep` rules have rows and no loss, the latter also tokens ranked and kept."""
    scale = multipliers(supervised.plan, time)
    losses, rows = sums.rules.tolist(), sums.rows.tolist()
    rules = {
        rule: {"loss": losses[i] if i < len(losses) else None, "rows": rows[i], "multiplier": scale.rules[rule]}
        for i, rule in enumerate(sums.ids)
    }
    ranked, kept = sums.ranked.tolist(), sums.kept.tolist()
    for i, rule in enumerate(sums.ids[len(sums.ids) - len(kept) :]):
        rules[rule] |= {"ranked": ranked[i], "kept": kept[i]}
    return {"loss": float(sums.loss), "token": float(sums.token), "rules": rules}


def standing(supervised: Supervised) -> dict[str, Any]:
    """The model as it stood in the last pass, for a log: its stage, and what `project` found, if its plan has them."""
    found = supervised.flow.receipt()
    entry: dict[str, Any] = {}
    if found.stage is not None:
        entry["stage"] = {"name": found.stage, "depth": found.depth, "train": found.train, "frozen": found.frozen}
    if found.conflict is not None:
        entry["conflict"] = asdict(found.conflict)
    return entry


def scalars(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an entry under flat names, for tools that draw curves: `loss`, `rule/NAME/cosine`, those of another split
    behind its name. What is missing or no number is left out."""
    prefix = f"{entry['split']}/" if "split" in entry else ""
    left_out = {"step", "seconds", "split", "rules", "stage", "conflict", "inspected"}
    found = {name: value for name, value in entry.items() if name not in left_out}
    for rule, values in entry["rules"].items():
        found |= {f"rule/{rule}/{name}": value for name, value in values.items()}
    found |= {f"conflict/{name}": value for name, value in entry.get("conflict", {}).items()}
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float) and math.isfinite(value)}
    return {prefix + name: float(value) for name, value in numbers.items()}
