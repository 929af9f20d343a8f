"""Runs as `mcd train` left them, and models as they were before: supervised, to be evaluated."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..compiler.plan import HiddenRule, Plan
from ..dsl.codes.runtime import PROBES
from ..dsl.diagnostics import Failure
from ..dsl.source import DataPlace
from .dataset import Dataset
from .probes import Probes
from .run import PROBES_FILE, new_model, saved_model
from .supervise import supervise
from .supervised import Supervised


def trained(path: Path, dataset: Dataset, seed: int, device: torch.device | str) -> Supervised:
    """The model and the probes that a run left in `path`. Rules that read a probe, a map or a learned anchor which is not
    there are left out of its plan. A teacher that is the model before training is the one that `seed` starts with.

    Fails with MCD709 for probes of other sizes, and as `saved_model` and `supervise` do.
    """
    model = saved_model(path, dataset, device)
    file = path / PROBES_FILE
    unread = _unread(dataset.plan, _names(file))
    rules = tuple(rule for rule in dataset.plan.rules if rule.id not in unread)
    known = dataset.with_plan(
        dataset.plan.model_copy(update={"rules": rules, "learned": _learned(dataset.plan, rules)})
    )
    supervised = supervise(model, known, expected={}, teachers=_starts(path, known, seed, device))
    if file.exists():
        supervised.probes.load(file, partly=True)
    return supervised


def untrained(path: Path, dataset: Dataset, seed: int, device: torch.device | str) -> Supervised:
    """A model with the config of the one in `path`, and probes, as `mcd train --seed SEED` starts with them."""
    model = new_model(path / "config.json", dataset, seed, device)
    return supervise(model, dataset, expected={})


def _starts(path: Path, dataset: Dataset, seed: int, device: torch.device | str) -> dict[str, nn.Module]:
    """The teachers that are the model before training, by name."""
    names = [name for name, teacher in dataset.plan.teachers.items() if teacher.weights is None]
    return dict.fromkeys(names, new_model(path / "config.json", dataset, seed, device)) if names else {}


def _names(file: Path) -> frozenset[str]:
    """The tensors that a file of probes holds; none where there is no file."""
    if not file.exists():
        return frozenset()
    try:
        with safe_open(file, framework="pt") as found:
            return frozenset(found.keys())
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Failure(PROBES.at(DataPlace(str(file)), f"`{file.name}` cannot be read: {reason}")) from None


def _unread(plan: Plan, held: Collection[str]) -> tuple[str, ...]:
    """The rules that read a tensor which is not among those `held`."""
    rules = [rule for rule in plan.rules if isinstance(rule, HiddenRule)]
    probes = Probes(rules, plan.model.hidden, plan.learned)
    return tuple(rule.id for rule in rules if not probes.names_of(rule) <= set(held))


def _learned(plan: Plan, rules: Collection[object]) -> tuple[str, ...]:
    """The learned anchors that some of `rules` read."""
    read = {getattr(rule, name, None) for rule in rules for name in ("anchor", "anchor_to")}
    return tuple(name for name in plan.learned if name in read)
