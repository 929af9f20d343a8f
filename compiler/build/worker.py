"""One process that runs tasks: the task in, what is known of it when it is done out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...dsl.check import check
from ...dsl.codes import shards as codes
from ...dsl.diagnostics import Failure
from ...dsl.source import DataPlace
from ..execute import Executor, Outcome
from ..plan import Digest
from ..prepare import prepare
from ..recipe import Recipe, label_key
from ..remote import looked_up
from ..tokens.tokenize import Encoder
from .finished import Finished, asked, fitted
from .stage import Stage
from .tasks import Unit, meaning_of


@dataclass(frozen=True, slots=True)
class Request:
    """How a process that is started to run tasks finds what they are tasks of: the spec, and what was said on the command line.

    `meaning`: of the shards, so that a spec that was edited meanwhile is noticed; `root`, `target`: of the stage; `remote`:
    whether sources lie at URLs that may be read.
    """

    spec: Path
    model: Path | None
    settings: tuple[str, ...]
    meaning: Digest
    root: Path
    target: Path
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """What tasks are run of, and where: `request` says the same in a form that another process can be given."""

    recipe: Recipe
    root: Path
    encoder: Encoder
    stage: Stage
    request: Request

    def worker(self) -> Worker:
        """A worker in this process."""
        return Worker(self.recipe, self.root, self.encoder, self.stage)


class Worker:
    """Runs tasks of one recipe, one after another."""

    def __init__(self, recipe: Recipe, root: Path, encoder: Encoder, stage: Stage) -> None:
        self._recipe, self._stage = recipe, stage
        self._executor = Executor(recipe, root, encoder)

    @classmethod
    def of_request(cls, request: Request) -> Worker:
        """A worker in a process of its own. Raises Failure where the spec is no longer what was asked for."""
        program, findings = check(request.spec, request.model, request.settings)
        if program is None:
            raise Failure(*findings.items)
        if request.remote:
            program = looked_up(program)
        lowered, encoder = prepare(program)
        if meaning_of(lowered.recipe, lowered.recipe.sources) != request.meaning:
            place = DataPlace(str(request.spec))
            raise Failure(codes.SPEC_CHANGED.at(place, f"`{request.spec.name}` changed while it was compiled"))
        return cls(lowered.recipe, program.root, encoder, Stage(request.root, request.target))

    def run(self, unit: Unit) -> Finished:
        """Run a task, and note that it is done. Raises Failure for what is wrong in the data, or with the disk."""
        with self._stage.refusals():
            outcome = self._executor.run(unit.task, unit.number, self._stage.root)
        done = self._finished(unit, outcome)
        self._stage.note(done)
        return done

    def _finished(self, unit: Unit, outcome: Outcome) -> Finished:
        source = unit.task.source
        done = Finished(
            number=unit.number,
            key=unit.key,
            source=source,
            shards=tuple(outcome.shards),
            sets=outcome.sets,
            labels={label_key(each): outcome.labels.get(each.rule, {}) for each in self._recipe.checks},
            counted=asked(self._recipe),
            causal=self._recipe.model.causal if self._recipe.edges else None,
            dropped={cause: count for cause, count in sorted(outcome.dropped.items()) if count},
            seen=tuple(sorted(path for _, path in outcome.seen)),
            chat={cause: count for cause, count in sorted(outcome.chat[source].items()) if count},
        )
        return fitted(done, self._recipe)
