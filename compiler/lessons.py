"""What teachers are asked for while compiling, and what of it an earlier compilation left.

Hidden states and means follow from the shards, the files of the teacher, its layer and its tokenizer. Each has the digest of
that, so that another layer is another file, and a file that is there already is linked and not computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..dsl import checked as c
from ..dsl.codes import model as model_codes
from ..dsl.codes import shards as codes
from ..dsl.diagnostics import Failure
from .alignment.retokenize import Reading, Retokenizer
from .files.output import link
from .files.targets import TARGET_FORMAT
from .lower import Lowered
from .manifest import ANCHORS_FILE, Manifest, TargetEntry, read_manifest, teacher_digest
from .plan import Digest, TeacherPlan, TowardPlan
from .sources.inventory import Inventory
from .teaching import Lesson, Mean, Target, Taught, Teach
from .tokens.tokenize import Encoder


def teacher_digests(program: c.Program, lowered: Lowered) -> dict[str, Digest]:
    """The digest of the files of each teacher of the plan: its config and its weights."""
    return {
        teacher.name: teacher_digest(teacher.weights, teacher.config)
        for teacher in teachers_of(program)
        if teacher.name in lowered.plan.teachers and teacher.weights is not None and teacher.config is not None
    }


def teachers_of(program: c.Program) -> Iterator[c.Teacher]:
    """The teachers that rules and anchors name, each once."""
    found: dict[str, c.Teacher] = {}
    for rule in program.rules:
        if isinstance(rule, c.Distil):
            found[rule.teacher.name] = rule.teacher
        elif isinstance(rule, c.Toward) and isinstance(rule.target, c.Hidden):
            found[rule.target.teacher.name] = rule.target.teacher
    for concept in program.concepts:
        if isinstance(concept.anchor, c.CentroidAnchor):
            found[concept.anchor.teacher.name] = concept.anchor.teacher
    yield from found.values()


def runs_while_compiling(program: c.Program) -> Iterator[c.Teacher]:
    """The teachers whose states are stored, or make an anchor."""
    for rule in program.rules:
        if isinstance(rule, c.Toward) and isinstance(rule.target, c.Hidden) and rule.target.teacher.run == "cached":
            yield rule.target.teacher
    for concept in program.concepts:
        if isinstance(concept.anchor, c.CentroidAnchor):
            yield concept.anchor.teacher


def lessons(
    program: c.Program,
    lowered: Lowered,
    encoder: Encoder,
    stock: tuple[Inventory, ...],
    key: Digest,
    made: dict[str, Digest],
) -> tuple[Lesson, ...]:
    """What each teacher is asked for. `key`: of the shards; `made`: the digests of the teachers' files.

    Raises Failure for a tokenizer that has more tokens than its teacher's vocabulary.
    """
    plan, found = lowered.plan, []
    tasks = tuple(task for held in stock for task in held.tasks)
    for teacher in teachers_of(program):
        if teacher.name not in plan.teachers or teacher.weights is None or teacher.config is None:
            continue
        asked = plan.teachers[teacher.name]
        reader = encoder if teacher.same_tokenizer else Encoder(teacher.tokenizer)
        if reader.size > teacher.vocab:
            message = (
                f"the tokenizer has {reader.size} tokens, teacher `{teacher.name}` a vocabulary of {teacher.vocab}"
            )
            raise Failure(model_codes.TEACHER_VOCABULARY.at(teacher.place, message))
        reading = Reading(reader, teacher.positions, last=teacher.causal and program.model.causal)
        origin = _Origin(key, made[teacher.name], asked, reading.last)
        targets, means = (
            tuple(_targets(teacher.name, lowered, origin)),
            tuple(_means(teacher.name, program, lowered, origin)),
        )
        if not targets and not means:
            continue
        tokens = None
        if not teacher.same_tokenizer:
            tokens = Retokenizer(lowered.recipe, program.root, encoder, tasks, reading)
        found.append(
            Lesson(teacher.name, asked, teacher.weights, teacher.config, teacher.place, targets, means, tokens)
        )
    return tuple(found)


def learn(
    asked: tuple[Lesson, ...], teach: Teach | None, old: Path, work: Path, lowered: Lowered, manifest: Manifest
) -> Taught:
    """Everything that is asked for, below `work`: what the dataset in `old` has is linked, the rest comes from `teach`.

    Raises Failure where there is something to compute, and nobody who does.
    """
    taught = Taught()
    rest = []
    before = _previous(old)
    for lesson in asked:
        for target in lesson.targets:
            if before is not None and (entry := _kept(target, before, old, work)) is not None:
                taught.targets[target.key] = entry
        if before is not None:
            taught.centroids.update(_kept_means(lesson.means, before, old))
        targets = tuple(target for target in lesson.targets if target.key not in taught.targets)
        means = tuple(mean for mean in lesson.means if mean.name not in taught.centroids)
        if targets or means:
            rest.append(replace(lesson, targets=targets, means=means))
    if not rest:
        return taught
    if teach is None:
        message = f"teacher `{rest[0].name}` has to be run over the shards, and nothing was given that runs it"
        raise Failure(
            codes.TEACHER_RUN.at(rest[0].place, message, help="pass `teach=Teaching()` of `mcd.runtime.teach`")
        )
    new = teach(work, lowered.plan, manifest, rest)
    return Taught({**taught.targets, **new.targets}, {**taught.centroids, **new.centroids})


# --- digests ---------------------------------------------------------------------------------------------------------


class _Origin:
    """What everything that is asked of one teacher follows from."""

    def __init__(self, key: Digest, made: Digest, teacher: TeacherPlan, last: bool) -> None:
        own = None if teacher.tokenizer is None else [teacher.tokenizer, teacher.positions, last]
        self._meaning = [TARGET_FORMAT, key, made, own]

    def digest(self, *more: object) -> Digest:
        text = json.dumps([*self._meaning, *more], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _targets(name: str, lowered: Lowered, origin: _Origin) -> Iterator[Target]:
    """The states to store: for each layer and type, at the tokens of every rule that reads it."""
    rules: dict[str, list[TowardPlan]] = {}
    for rule in lowered.plan.rules:
        if (
            isinstance(rule, TowardPlan)
            and rule.hidden is not None
            and rule.hidden.teacher == name
            and rule.hidden.dtype
        ):
            rules.setdefault(rule.hidden.key, []).append(rule)
    for key, mine in sorted(rules.items()):
        hidden = mine[0].hidden
        assert hidden is not None and hidden.dtype is not None
        digest = origin.digest(hidden.layer, hidden.dtype, sorted({rule.rows_key for rule in mine}))
        yield Target(key, digest, hidden.layer, hidden.dtype, tuple(mine))


def _means(name: str, program: c.Program, lowered: Lowered, origin: _Origin) -> Iterator[Mean]:
    places = {concept.name: concept.place for concept in program.concepts}
    for anchor, centroid in lowered.plan.centroids.items():
        if centroid.teacher == name:
            digest = origin.digest(centroid.layer, "mean", centroid.subject.set)
            yield Mean(anchor, digest, centroid.layer, centroid.subject, places[anchor])


# --- what is there ---------------------------------------------------------------------------------------------------


def _previous(old: Path) -> Manifest | None:
    try:
        return read_manifest(old)
    except (OSError, Failure):
        return None


def _kept(target: Target, before: Manifest, old: Path, work: Path) -> TargetEntry | None:
    """The entry of a target that is there and whole, its files linked."""
    for entry in before.targets.values():
        if entry.digest == target.digest and all(file.is_whole(old) for file in entry.files):
            for file in entry.files:
                link(old / file.path, work / file.path)
            return entry
    return None


def _kept_means(means: tuple[Mean, ...], before: Manifest, old: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The means that are there, by the name that they have now."""
    if not before.centroids.keys() & {mean.name for mean in means}:
        return {}
    anchors = next((entry for entry in before.files if entry.path == ANCHORS_FILE), None)
    try:
        if anchors is None or not anchors.is_whole(old):
            return {}
        vectors = load_file(old / ANCHORS_FILE)
    except (OSError, SafetensorError, ValueError):
        return {}
    return {
        mean.name: vectors[mean.name]
        for mean in means
        if before.centroids.get(mean.name) == mean.digest and mean.name in vectors
    }
