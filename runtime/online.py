"""Teachers that run along with the model, in the steps in which a rule asks for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..compiler.manifest import Manifest
from ..compiler.plan import DistilPlan, HiddenRule, Plan, TowardPlan
from ..dsl.checked import Layer
from .adapters import Adapter
from .batch import Batch
from .capture import requests
from .teachers import GivenTeachers, TeacherModel, find_teacher, frozen_copy, given_teacher, load_teacher


@dataclass(frozen=True, slots=True)
class Known:
    """Where teachers are: those `given` by name; else below a folder that holds the dataset, `beside`. `manifest` has digests."""

    given: GivenTeachers
    beside: Path | None
    manifest: Manifest | None


def taught_by(rule: HiddenRule) -> tuple[str, Layer] | None:
    """The teacher that has to run for a rule, and the layer that is read of it."""
    if isinstance(rule, DistilPlan):
        return rule.teacher, "final"
    if isinstance(rule, TowardPlan) and rule.hidden is not None and rule.hidden.dtype is None:
        return rule.hidden.teacher, rule.hidden.layer
    return None


class Online:
    """The online teachers of a plan. `readers`: the rules of each group on hidden states, in the order of a batch's `hidden`."""

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        readers: Sequence[Sequence[HiddenRule]],
        adapter: Adapter | None,
        known: Known,
    ) -> None:
        """Fails with MCD702, MCD720, MCD721 or MCD722."""
        self._readers = [(taught_by(rules[0]), frozenset(rule.id for rule in rules)) for rules in readers]
        self._teachers: dict[str, TeacherModel] = {}
        for name in dict.fromkeys(read[0] for read, _ in self._readers if read is not None):
            layers = [read[1] for read, _ in self._readers if read is not None and read[0] == name]
            asked = plan.teachers[name]
            found = known.given.get(name)
            if isinstance(found, nn.Module) and found is not model:
                self._teachers[name] = given_teacher(name, asked, found, layers)
            elif asked.weights is None or isinstance(found, nn.Module):
                self._teachers[name] = frozen_copy(name, model, adapter, layers, plan.model.causal)
            else:
                head = any(isinstance(rule, DistilPlan) and rule.teacher == name for rule in plan.rules)
                folder, config = find_teacher(name, asked, found, known.beside, known.manifest)
                self._teachers[name] = load_teacher(name, asked, folder, config, layers, head)

    def __call__(self, batch: Batch, acting: Collection[str], device: torch.device) -> dict[int, Tensor]:
        """The states [N, d] of each reader whose teacher a rule in `acting` needs; a teacher that none needs does not run."""
        found: dict[int, Tensor] = {}
        for name, teacher in self._teachers.items():
            if not any(read is not None and read[0] == name and rules & set(acting) for read, rules in self._readers):
                continue
            layers = tuple(() if read is None or read[0] != name else (read[1],) for read, _ in self._readers)
            teacher.to(device)
            states = teacher.states(batch, requests(layers, batch.hidden))
            found |= {reader: state for (reader, _), state in states.items()}
        return found

    def heads(self) -> Mapping[str, nn.Module]:
        """The heads of the teachers that have one, by name."""
        heads = {name: teacher.parts.head for name, teacher in self._teachers.items()}
        return {name: head for name, head in heads.items() if head is not None}

    def close(self) -> None:
        """Takes every hook off."""
        for teacher in self._teachers.values():
            teacher.close()
