"""Syntax tree -> checked program.

Passes, in this order; each takes what those before it established, collects what it finds and goes on:

1. `declare`: the names of each file, what stands twice, out of place, or has no meaning yet. `settings`: the constants that the
   command line sets.
2. `frames`: every use of a frame is expanded; all after it reads the files of the spec and the expansions alike.
3. `constants`: they end and keep to the limits, so that they can be written out wherever they stand, and have their types: those
   that are counted against the model after it, those that name spans and concepts among these.
4. `model`: the contract, against which everything after it is counted.
5. `teachers`: their contracts, against which layers of teachers are counted.
6. `sources`: templates and splits, since selectors name their slots.
7. `concepts`: spans and concepts, in the order of their references.
8. `rules`, `schedule`, `mix`, `claims`: rules, then the stages that name them, the order of the records, and what is claimed.
9. `gradient`; `contradictions` and `reach`: what cannot hold together.

A program is given where nothing was an error.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from .. import checked as c
from ..diagnostics import Findings
from ..load import Disk, load
from ..vocabulary import COUNTED_TYPES, PLAIN_TYPES, Type
from . import chat, layers, pairs, scores, template  # noqa: F401  (they register readers)
from .claims import Claims, check_claims
from .concepts import check_definitions
from .constants import check_lets, check_types
from .contradictions import check_contradictions
from .declare import declare, is_module
from .env import Declaration, Env, Reported, State, on_trial
from .frames import expand, merge_alike
from .gradient import check_gradient
from .mix import check_mix
from .model import check_model
from .reach import check_reach
from .rules import check_rules
from .schedule import check_stages
from .settings import Settings, apply_settings
from .sources import check_sources
from .teachers import check_teachers

D = TypeVar("D", c.Named, c.Concept)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check gave, also where it found errors.

    `state` is what the passes know, None where the root file cannot be read. `draft` is the program without what is wrong in it,
    None without a model; `program` is the same, None iff an error was found.
    """

    findings: Findings
    state: State | None
    draft: c.Program | None

    @property
    def program(self) -> c.Program | None:
        return None if self.findings.failed else self.draft


def check(path: Path, model: Path | None = None, settings: Sequence[str] = ()) -> tuple[c.Program | None, Findings]:
    """The program that the spec at `path` states, and all that was found; the program is None iff an error was.

    `model` is a config.json that replaces the numbers of the spec's own model; `settings` are `NAME=VALUE`, values that replace
    those of constants of the root file.
    """
    checked = examine(path, model, settings)
    return checked.program, checked.findings


def examine(
    path: Path,
    model: Path | None = None,
    settings: Sequence[str] = (),
    *,
    disk: Disk | None = None,
    base: Path | None = None,
    modules: bool = False,
) -> Checked:
    """A check with all that it knows. `disk` and `base` are as in `load`.

    With `modules`, a file that declares nothing of what counts in a root file alone is one that others import: it needs no model
    and no source, takes no settings, and gives no program.
    """
    with few_collections():
        findings = Findings()
        loaded = load(path, findings, disk=disk, base=base)
        if loaded is None:
            return Checked(findings, None, None)
        state = State(loaded, findings)
        state.module = modules and is_module(loaded.files[0])
        declare(state)
        given = apply_settings(state, () if state.module else settings)
        expand(state)
        draft = _check(state, model, given)
        merge_alike(findings)
        return Checked(findings, state, draft)


@contextmanager
def few_collections() -> Iterator[None]:
    """Look for garbage seldom meanwhile. What a check builds lives until its end and has no circles, so that each look walks all
    of it in vain: a third of the time of a large spec."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], 100_000), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _check(state: State, model: Path | None, settings: Settings) -> c.Program | None:
    """The passes over files and expansions that have their names."""
    env = Env(state, state.loaded.files[0])
    check_lets(state)
    check_types(state, PLAIN_TYPES)
    with suppress(Reported):
        check_model(env, model)
    check_teachers(state)
    check_types(state, COUNTED_TYPES)
    check_sources(env)
    check_definitions(state)
    check_types(state, (Type.RULE,))
    rules = check_rules(state)
    stages = check_stages(env)
    mix, order = check_mix(env)
    claims = check_claims(env, rules)
    gradient = check_gradient(env)
    check_contradictions(state, rules.values(), stages)
    check_reach(state, rules.values(), stages, gradient)
    if state.model is None:
        return None
    program = _program(state, state.model, rules.values(), stages, claims, settings)
    return replace(program, gradient=gradient, mix=mix, order=order, config=model)


def _program(
    state: State,
    model: c.Model,
    rules: Iterable[c.Rule],
    stages: tuple[c.Stage, ...],
    claims: Claims,
    settings: Settings,
) -> c.Program:
    """Everything together. `files` are the spec's own, then others whose content it depends on."""
    root = state.loaded.files[0]
    return c.Program(
        edition=root.spec.edition,
        path=root.source.path,
        root=state.loaded.root,
        files=(*(file.path for file in state.loaded.files), *sorted(state.read)),
        model=model,
        sources=tuple(replace(source, marked=_marked(state, source)) for source in state.sources.values()),
        spans=_kept(state.spans),
        concepts=_kept(state.concepts),
        rules=tuple(rules),
        stages=stages,
        expects=claims.data,
        claims=claims.trained,
        settings=settings,
    )


def _kept(definitions: Mapping[Declaration, D | None]) -> tuple[D, ...]:
    """What definitions gave, without those of frames on trial."""
    return tuple(given for found, given in definitions.items() if given is not None and not on_trial(found.file))


def _marked(state: State, source: c.Source) -> tuple[c.FieldPath, ...]:
    """The slots of a source that some `markup` reads."""
    read = {path for of, path in state.marked if of in (None, source.name)}
    return tuple(sorted(read & set(source.text.slots)))
